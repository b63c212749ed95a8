import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync } from 'node:fs';
import { rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, describe, expect, test } from 'vitest';
import { startVirtualDisplay } from './virtual-display.ts';

const run = promisify(execFile);
const reason = process.platform === 'linux' && existsSync('/usr/bin/Xvfb') && existsSync('/usr/bin/xdotool') ? null : 'this needs the packages xvfb and xdotool (npm run prepare-machine)';
if (reason !== null) console.warn(`the virtual display is not tested: ${reason}`);

describe.skipIf(reason !== null)(`a virtual display${reason === null ? '' : ` (skipped: ${reason})`}`, () => {
  const folder = mkdtempSync(join(tmpdir(), 'kessai-display-'));
  afterAll(() => rm(folder, { recursive: true, force: true }));

  const geometry = (environment: Readonly<Record<string, string>>) => run('xdotool', ['getdisplaygeometry'], { env: { PATH: process.env['PATH'], ...environment } });

  test('serves whoever has its key, and nobody else', async () => {
    const display = await startVirtualDisplay({ folder });
    try {
      expect((await geometry(display.environment)).stdout).toBe('1280 1024\n');
      expect((await stat(display.environment.XAUTHORITY)).mode & 0o777).toBe(0o600);
      await expect(geometry({ DISPLAY: display.environment.DISPLAY })).rejects.toThrow(/display/);
      await display.pressKeys(['Tab', 'Return']);
    } finally {
      await display.stop();
    }
    await expect(geometry(display.environment)).rejects.toThrow(/display/);
    await display.stop();
  });

  test('two at once are two', async () => {
    const displays = await Promise.all(['one', 'other'].map((name) => startVirtualDisplay({ folder: join(folder, name) })));
    expect(new Set(displays.map(({ environment }) => environment.DISPLAY)).size).toBe(2);
    for (const display of displays) await display.stop();
  });

  test('it ends when the process that started it is killed', async () => {
    const script = `const { startVirtualDisplay } = await import('#world/virtual-display.ts'); console.log(JSON.stringify((await startVirtualDisplay({ folder: ${JSON.stringify(folder)} })).environment));`;
    const starter = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script], { cwd: join(import.meta.dirname, '..'), stdio: ['ignore', 'pipe', 'inherit'] });
    const [told] = (await once(starter.stdout, 'data')) as [Buffer];
    const environment = JSON.parse(told.toString()) as Record<string, string>;
    expect((await geometry(environment)).stdout).toBe('1280 1024\n');
    starter.kill('SIGKILL');
    await expect.poll(() => geometry(environment).then(() => 'there', () => 'gone')).toBe('gone');
  });

  test('a machine without the packages is told what to install', async () => {
    const path = process.env['PATH'];
    process.env['PATH'] = join(folder, 'nothing');
    try {
      await expect(startVirtualDisplay({ folder })).rejects.toThrow('The virtual display needs the packages xvfb and xdotool: run `npm run prepare-machine`.');
    } finally {
      process.env['PATH'] = path;
    }
  });
});
