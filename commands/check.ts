/** check: types of every folder, lint, import rules and unused code; each a tool of its own, two at a time. */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import { Command } from 'commander';
import { EXIT, runCommand } from './run-command.ts';

export interface Check {
  readonly name: string;
  readonly command: readonly string[];
}

/** Each folder is compiled with only the platform that it may use. */
const FOLDERS = ['protocol', 'bridge', 'bridge/host', 'extension', 'servers', 'servers/shop/pages/browser', 'card-firmware-sim'];

export const CHECKS: readonly Check[] = [
  { name: 'lint', command: ['eslint', '--max-warnings', '0', '.'] },
  { name: 'types: everything', command: ['tsc', '-p', 'tsconfig.json'] },
  ...FOLDERS.filter((folder) => existsSync(`${folder}/tsconfig.json`)).map((folder) => ({ name: `types: ${folder}`, command: ['tsc', '-p', `${folder}/tsconfig.json`] })),
  { name: 'import rules', command: ['depcruise', '--config', '.dependency-cruiser.cjs', 'protocol', 'bridge', 'extension', 'servers', 'card-firmware-sim', 'world', 'commands', 'e2e', 'bench'] },
  { name: 'unused code', command: ['knip'] },
];

export interface CheckResult {
  readonly name: string;
  readonly passed: boolean;
  readonly ms: number;
  readonly output: string;
}

const AT_ONCE = 2;

/** Runs every check; `onResult` hears of each as it ends. */
export async function runChecks(onResult: (result: CheckResult) => void): Promise<readonly CheckResult[]> {
  const waiting = [...CHECKS];
  const results: CheckResult[] = [];
  const work = async (): Promise<void> => {
    for (let check = waiting.shift(); check !== undefined; check = waiting.shift()) {
      const result = await runOne(check);
      results.push(result);
      onResult(result);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  return results;
}

function runOne({ name, command: [tool = '', ...rest] }: Check): Promise<CheckResult> {
  const startedAt = performance.now();
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [`node_modules/.bin/${tool}`, ...rest], { stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (output += chunk.toString()));
    const end = (passed: boolean): void => resolve({ name, passed, ms: performance.now() - startedAt, output });
    child.once('error', (error) => {
      output += error.message;
      end(false);
    });
    child.once('close', (code) => end(code === 0));
  });
}

export function describeResult({ name, passed, ms, output }: CheckResult): string {
  return `${passed ? 'passed' : 'FAILED'}  ${name} (${(ms / 1000).toFixed(1)} s)${passed ? '' : `\n${output.trimEnd()}`}`;
}

async function run({ json }: { json?: true }): Promise<number> {
  const results = await runChecks((result) => {
    if (json !== true) process.stdout.write(`${describeResult(result)}\n`);
  });
  if (json === true) process.stdout.write(`${JSON.stringify(results)}\n`);
  return results.every(({ passed }) => passed) ? EXIT.done : EXIT.failed;
}

function commandLine(): Command {
  return new Command('check').description('Types, lint, import rules, unused code. Exit code 1 if any of them fails.').option('--json', 'print JSON');
}

if (process.argv[1] !== undefined && pathToFileURL(process.argv[1]).href === import.meta.url) process.exitCode = await runCommand(commandLine(), run);
