/** e2e: the end-to-end suite in real Chromium over real PC/SC; screenshots of what failed, and the servers' logs, stay below var/e2e/. */
import { spawn } from 'node:child_process';
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { Command } from 'commander';
import * as v from 'valibot';
import { NEEDS, prepareMachine } from './prepare.ts';
import { EXIT, runCommand } from './run-command.ts';

export interface E2eResult {
  readonly passed: number;
  readonly failed: number;
  /** What the runner said, test by test. */
  readonly output: string;
}

const RESULT_FILE = join('var', 'e2e-result.json');
const resultSchema = v.object({ stats: v.object({ expected: v.number(), unexpected: v.number(), flaky: v.number() }) });

/** Runs the suite, or only the spec files whose path contains one of `specs`; `onOutput` hears the runner while it works. */
export async function runE2e({ specs = [], onOutput = () => undefined }: { readonly specs?: readonly string[]; readonly onOutput?: (text: string) => void } = {}): Promise<E2eResult> {
  await rm(RESULT_FILE, { force: true });
  let output = '';
  const exitCode = await new Promise<number>((resolve) => {
    const child = spawn(process.execPath, ['node_modules/.bin/playwright', 'test', '--reporter=list,json', ...specs], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, PLAYWRIGHT_JSON_OUTPUT_FILE: RESULT_FILE },
    });
    const hear = (chunk: Buffer): void => {
      output += chunk.toString();
      onOutput(chunk.toString());
    };
    for (const stream of [child.stdout, child.stderr]) stream.on('data', hear);
    child.once('error', (error) => {
      output += error.message;
      resolve(EXIT.failed);
    });
    child.once('close', (code) => resolve(code ?? EXIT.failed));
  });
  return { ...(await readCounts(exitCode)), output };
}

/** A runner that failed, or left no counts, has failed at least once, whatever it counted. */
async function readCounts(exitCode: number): Promise<Omit<E2eResult, 'output'>> {
  const text = await readFile(RESULT_FILE, 'utf8').catch(() => 'null'); // it died before it could write one
  const result = v.safeParse(resultSchema, JSON.parse(text));
  if (!result.success) return { passed: 0, failed: 1 };
  const { expected, unexpected, flaky } = result.output.stats;
  // A test that passes only the second time has failed once.
  const failed = unexpected + flaky;
  return { passed: expected, failed: exitCode !== 0 && failed === 0 ? 1 : failed };
}

async function run({ json }: { readonly json?: true }): Promise<number> {
  const preparation = await prepareMachine({ needs: NEEDS, log: (line) => process.stderr.write(`${line}\n`) });
  if (preparation.missing.length > 0) {
    process.stderr.write(`Some packages are missing. Install them with:\n  ${preparation.command ?? ''}\n`);
    return EXIT.usage;
  }
  const result = await runE2e({ specs: program.args, onOutput: (text) => (json === true ? undefined : process.stdout.write(text)) });
  process.stdout.write(json === true ? `${JSON.stringify(result)}\n` : `\n${result.passed} passed, ${result.failed} failed\n`);
  return result.failed === 0 ? EXIT.done : EXIT.failed;
}

const program = new Command('e2e')
  .description('Plays the end-to-end suite: shop page, extension, native host, PC/SC, simulated card, servers over mutual TLS, PostgreSQL.')
  .argument('[specs...]', 'only spec files whose path contains one of these')
  .option('--json', 'print one JSON object {passed, failed, output} instead of the progress')
  .addHelpText('after', '\nAfter a failure: screenshots below var/e2e/failures/, logs of the servers below var/e2e/stage-*/log/.\nExit code 0: all passed; 1: something failed; 2: wrong usage or missing packages.');

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) process.exitCode = await runCommand(program, run);
