import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';

const run = promisify(execFile);
const { scripts } = JSON.parse(readFileSync('package.json', 'utf8')) as { scripts: Record<string, string> };
const commands = Object.entries(scripts).map(([name, script]) => [name, script.split(' ').slice(1)] as const);

describe('every command of package.json', () => {
  it.each(commands)('%s has --help, exit code 0, and refuses a wrong option with 2', async (_name, command) => {
    const [help, wrong] = await Promise.all([
      run(process.execPath, [...command, '--help']),
      run(process.execPath, [...command, '--no-such-option']).then(
        () => ({ code: 0, stderr: '' }),
        (error: unknown) => error as { code: number; stderr: string },
      ),
    ]);
    expect(help.stdout).toMatch(/^Usage: .+\n/);
    expect(help.stdout).toContain('--help');
    expect(wrong.code).toBe(2);
    expect(wrong.stderr).toMatch(/^error: .*option/m);
  });
});
