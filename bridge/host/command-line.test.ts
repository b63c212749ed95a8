import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Finding, FindingId } from '#bridge/doctor-findings.ts';
import { EXTENSION_ID, GECKO_ID } from '#bridge/native/callers.ts';
import { udevRules } from '#bridge/udev-rules.ts';
import productPackage from '../../package.json' with { type: 'json' };
import { runHostCommand } from './command-line.ts';
import { findRegistrationTroubles } from './doctor/registration-findings.ts';
import hostPackage from './npm/package.json' with { type: 'json' };
import { thisPlatform, type Platform } from './platform.ts';
import { HOST_VERSION } from './version.ts';

// The real host, built and installed into a home of its own, whose name a careless launcher would break on.
const folder = mkdtempSync(join(tmpdir(), "kessai it's $HOME "));
const home = join(folder, 'home');
const programs = join(folder, 'bin');
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const platform: Platform = {
  ...thisPlatform(),
  home,
  // Two browsers that only say their version, and no PC/SC service.
  environment: { PATH: programs, PCSCLITE_CSOCK_NAME: join(folder, 'no-service') },
};
const MANIFEST = join(home, '.config/chromium/NativeMessagingHosts/dev.kessai.host.json');
const LAUNCHER = join(home, `.local/share/kessai/host/${HOST_VERSION}/kessai-host.sh`);

async function run(...parameters: string[]): Promise<{ exitCode: number; out: string; err: string }> {
  let [out, err] = ['', ''];
  const exitCode = await runHostCommand(parameters, platform, { out: (text) => (out += text), err: (text) => (err += text) });
  return { exitCode, out, err };
}
const files = (): string[] => readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name)).sort();
const expected = { version: HOST_VERSION, extensionId: EXTENSION_ID, addOnId: GECKO_ID };
const registration = (version: string = HOST_VERSION) => findRegistrationTroubles(platform, { ...expected, version });
const stateOf = (findings: readonly Finding[], id: FindingId) => findings.find((finding) => finding.id === id)?.state;

beforeAll(() => {
  mkdirSync(programs);
  for (const [name, version] of [['chromium', 'Chromium 156.0.1 built on Debian'], ['firefox', 'Mozilla Firefox 153.0']] as const) {
    writeFileSync(join(programs, name), `#!/bin/sh\necho '${version}'\n`);
    chmodSync(join(programs, name), 0o755);
  }
});

describe('kessai-host', () => {
  test('has the version of the product, as a package too', () => {
    expect(hostPackage.version).toBe(productPackage.version);
    expect(hostPackage.dependencies.koffi).toBe(productPackage.dependencies.koffi);
    expect(hostPackage.engines).toEqual(productPackage.engines);
  });

  test.each([
    [['--help'], 0],
    [['install', '--help'], 0],
    [['--version'], 0],
    [['reinstall'], 2],
    [['install', '--browser', 'lynx'], 2],
    [['install', '--extension-id', 'abc'], 2],
    [['install', '--user', '--system'], 2],
    [['doctor', 'card'], 2],
  ])('%j ends with %i', async (parameters, exitCode) => {
    expect((await run(...parameters)).exitCode).toBe(exitCode);
  });

  test('prints the udev rules alone, ready to be written', async () => {
    expect(await run('doctor', '--udev-rules')).toEqual({ exitCode: 0, out: udevRules(), err: '' });
  });

  test('before anything is installed, the doctor says so and what to do', async () => {
    const { exitCode, out } = await run('doctor');
    expect(exitCode).toBe(1);
    expect(out).toContain('ok       Browser [Chromium]: 156.0.1,');
    expect(out).toContain('PROBLEM  Reader program registered [Chromium]: no dev.kessai.host.json where Chromium looks\n         -> Run `npx kessai-host install`');
    expect(await run('uninstall')).toMatchObject({ exitCode: 0, out: 'Nothing is installed here.\n' });
  });

  test('installs for the browsers that are there, the doctor hears it answer, and uninstall leaves no trace', async () => {
    const before = files();
    const rehearsed = await run('install', '--dry-run');
    expect(rehearsed.out).toContain(`would write ${LAUNCHER}\n`);
    expect(files()).toEqual(before);

    const installed = await run('install', '--json');
    const { browsers, changes } = JSON.parse(installed.out) as { browsers: string[]; changes: { path: string }[] };
    expect(installed.exitCode).toBe(0);
    expect(browsers).toEqual(['chromium', 'firefox']);
    expect([...before, ...changes.map(({ path }) => path)].sort()).toEqual(files());

    const { findings } = JSON.parse((await run('doctor', '--json')).out) as { findings: Finding[] };
    for (const about of ['Chromium', 'Firefox']) {
      const ofBrowser = findings.filter((finding) => finding.about === about);
      expect(ofBrowser.map(({ id, state }) => `${id} ${state}`)).toEqual(['browser-found ok', 'host-registered ok', 'extension-allowed ok', 'host-answers ok', 'host-version ok']);
    }
    expect(JSON.parse(readFileSync(MANIFEST, 'utf8'))).toMatchObject({ path: LAUNCHER });

    expect((await run('uninstall')).exitCode).toBe(0);
    expect(files()).toEqual(before);
  });

  test('names one more extension that may call', async () => {
    await run('install', '--browser', 'chromium', '--extension-id', 'abcdefghijklmnopabcdefghijklmnop', '--extension-id', 'x@example.org');
    expect(JSON.parse(readFileSync(MANIFEST, 'utf8'))).toMatchObject({ allowed_origins: [`chrome-extension://${EXTENSION_ID}/`, 'chrome-extension://abcdefghijklmnopabcdefghijklmnop/'] });
    expect(stateOf(await findRegistrationTroubles(platform, { ...expected, extensionId: 'ponmlkjihgfedcbaponmlkjihgfedcba' }), 'extension-allowed')).toBe('problem');
  });
});

describe('the doctor, about a registration', () => {
  test('of another version says which two', async () => {
    await run('install');
    const findings = await registration('9.9.9');
    expect(stateOf(findings, 'host-answers')).toBe('ok');
    expect(findings).toContainEqual({ id: 'host-version', state: 'problem', about: 'Chromium', seen: `host ${HOST_VERSION}, extension 9.9.9` });
  });

  test('whose launcher is missing says where it was', async () => {
    await run('install');
    rmSync(LAUNCHER);
    expect(await registration()).toContainEqual({ id: 'host-launcher', state: 'problem', about: 'Chromium', seen: `${LAUNCHER} is not there` });
  });

  test.each([
    ['ends at once', '#!/bin/sh\necho broken >&2\nexit 1\n', 'host/failed, it says "broken"'],
    ['speaks before it is asked', '#!/bin/sh\necho hello from a shell profile\ncat\n', 'host/failed'],
    ['cannot be run', 'not a program', 'host/failed'],
  ])('whose launcher %s says so', async (_, text, seen) => {
    await run('install');
    writeFileSync(LAUNCHER, text);
    const found = (await registration()).find(({ id }) => id === 'host-answers');
    expect(found).toMatchObject({ state: 'problem', seen: expect.stringContaining(seen) as string });
  });

  test('that is damaged, or somebody else\'s, says so', async () => {
    await run('install');
    writeFileSync(MANIFEST, '{"na');
    expect(await registration()).toContainEqual({ id: 'host-registered', state: 'problem', about: 'Chromium', seen: `${MANIFEST} is damaged` });
    const other = join(folder, 'other.sh');
    writeFileSync(MANIFEST, JSON.stringify({ name: 'dev.kessai.host', type: 'stdio', path: other, allowed_origins: [] }));
    const findings = await registration();
    expect(findings).toContainEqual({ id: 'host-foreign', state: 'unknown', about: 'Chromium', seen: `${MANIFEST} names ${other}` });
    expect(findings).toContainEqual({ id: 'host-launcher', state: 'problem', about: 'Chromium', seen: `${other} is not there` });
    rmSync(MANIFEST);
    await run('uninstall');
  });

  test('of a Snap says that it cannot work, and install does not try', async () => {
    const snapHome = join(folder, 'snap-home');
    const put = (path: string) => {
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(path, '');
    };
    put(join(folder, 'root/snap/bin/chromium'));
    const snap: Platform = { ...platform, home: snapHome, environment: { PATH: '/none' }, locate: (path) => (path.startsWith('/snap') ? join(folder, 'root', path) : path) };
    expect(await findRegistrationTroubles(snap, expected)).toContainEqual({ id: 'browser-sandboxed', state: 'problem', about: 'Chromium', seen: '/snap/bin/chromium is a Snap: it cannot start the reader program' });
    let err = '';
    const exitCode = await runHostCommand(['install'], snap, { out: () => undefined, err: (text) => (err += text) });
    expect(exitCode).toBe(1);
    expect(err).toContain('Chromium is here as a Snap, which cannot start the reader program.');
  });
});
