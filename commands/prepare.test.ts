import { describe, expect, test } from 'vitest';
import { NEEDS, PACKAGES, prepareMachine, type Machine } from './prepare.ts';

interface Trial {
  readonly machine: Machine;
  readonly calls: string[];
}

/** A machine where apt-get fails as often as told before it works. */
function trial({ root = true, debian = true, has = [] as readonly string[], failures = [] as readonly string[] } = {}): Trial {
  const installed = new Set(has);
  const calls: string[] = [];
  const failing = [...failures];
  const machine: Machine = {
    isRoot: root,
    installedOf: (packages) => Promise.resolve(debian ? packages.filter((name) => installed.has(name)) : null),
    aptGet(given) {
      const verb = given.includes('update') ? 'update' : 'install';
      calls.push(given.join(' '));
      if (failing[0] === verb) {
        failing.shift();
        return Promise.resolve(100);
      }
      if (verb === 'install') for (const name of given.slice(given.indexOf('--no-install-recommends') + 1)) installed.add(name);
      return Promise.resolve(0);
    },
  };
  return { machine, calls };
}

const log = () => undefined;
const pcsc = [...PACKAGES.pcsc];
const verbs = (calls: readonly string[]) => calls.map((call) => (call.includes(' update') ? 'update' : 'install'));

describe('preparing a machine', () => {
  test('does nothing where nothing is missing', async () => {
    const { machine, calls } = trial({ has: pcsc });
    expect(await prepareMachine({ needs: ['pcsc'], log, machine })).toEqual({ installed: [], missing: [], command: null });
    expect(calls).toEqual([]);
  });

  test('installs only what is missing, waiting for another apt, without recommended packages', async () => {
    const { machine, calls } = trial({ has: pcsc.slice(1) });
    expect(await prepareMachine({ needs: ['pcsc'], log, machine })).toEqual({ installed: ['pcscd'], missing: [], command: null });
    expect(calls).toEqual(['-o DPkg::Lock::Timeout=600 install --yes --no-install-recommends pcscd']);
  });

  test('updates the package lists where the first attempt fails, and once more', async () => {
    const { machine, calls } = trial({ failures: ['install', 'update'] });
    expect((await prepareMachine({ needs: ['pcsc'], log, machine })).missing).toEqual([]);
    expect(verbs(calls)).toEqual(['install', 'update', 'update', 'install']);
  });

  test('takes no kernel and no emulator where nobody asks for them', async () => {
    const { machine, calls } = trial();
    await prepareMachine({ needs: NEEDS, log, machine });
    for (const name of PACKAGES.kernel) expect(calls.join(' ')).not.toContain(name);
    expect((await prepareMachine({ needs: ['kernel'], log, machine })).installed).toEqual([...PACKAGES.kernel]);
  });

  test('gives up then, and names the command', async () => {
    const { machine, calls } = trial({ failures: ['install', 'install', 'install'] });
    const result = await prepareMachine({ needs: ['pcsc'], log, machine });
    expect(result.missing).toEqual(pcsc);
    expect(result.command).toContain(`apt-get install --yes --no-install-recommends ${pcsc.join(' ')}`);
    expect(verbs(calls)).toEqual(['install', 'update', 'install', 'update', 'install']);
  });

  test.each([
    ['without root', { root: false }, false],
    ['on another system', { debian: false }, false],
    ['when only asked to check', {}, true],
  ] as const)('changes nothing %s, and names the command', async (_, given, check) => {
    const { machine, calls } = trial(given);
    const result = await prepareMachine({ needs: NEEDS, log, machine, check });
    expect(result.installed).toEqual([]);
    expect(result.missing).toEqual([...new Set(NEEDS.flatMap((need) => PACKAGES[need]))]);
    expect(result.command).toMatch(/^(sudo )?apt-get update && (sudo )?apt-get install /);
    expect(calls).toEqual([]);
  });
});
