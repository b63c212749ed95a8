/** test: everything that must hold, in one run: machine, checks, unit tests, real browser; ends with `N passed, N failed`. */
import { spawn } from 'node:child_process';
import { mkdir, readFile, rm } from 'node:fs/promises';
import { Command } from 'commander';
import { describeResult, runChecks } from './check.ts';
import { runE2e } from './e2e.ts';
import { NEEDS, prepareMachine } from './prepare.ts';
import { EXIT, runCommand } from './run-command.ts';

interface Counted {
  readonly passed: number;
  readonly failed: number;
}

const UNIT_RESULT = 'var/test/unit.json';

/** Runs a tool with its output passed through; its verdict is its result file, and a run without one is a failure. */
function runTool(command: readonly string[], environment: Readonly<Record<string, string>> = {}): Promise<number> {
  const [tool = '', ...rest] = command;
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [`node_modules/.bin/${tool}`, ...rest], { stdio: ['ignore', 'inherit', 'inherit'], env: { ...process.env, ...environment } });
    child.once('error', () => resolve(1));
    child.once('close', (code) => resolve(code ?? 1));
  });
}

async function check(): Promise<Counted> {
  const results = await runChecks((result) => process.stdout.write(`${describeResult(result)}\n`));
  const passed = results.filter((result) => result.passed).length;
  return { passed, failed: results.length - passed };
}

async function unitTests(): Promise<Counted> {
  const code = await runTool(['vitest', 'run', '--reporter=default', '--reporter=json', `--outputFile.json=${UNIT_RESULT}`]);
  const result = await readResult(UNIT_RESULT);
  return counted(Number(result['numPassedTests']), Number(result['numFailedTests']), code);
}

async function e2eTests(): Promise<Counted> {
  return runE2e({ specs: [], onOutput: (text) => process.stdout.write(text) });
}

async function readResult(file: string): Promise<Record<string, unknown>> {
  try {
    return JSON.parse(await readFile(file, 'utf8')) as Record<string, unknown>;
  } catch {
    return {}; // the tool died before it could write one: counted() makes that a failure
  }
}

/** A tool that failed, or left no counts, has failed at least once, whatever it counted. */
function counted(passed: number, failed: number, exitCode: number): Counted {
  if (!Number.isInteger(passed) || !Number.isInteger(failed)) return { passed: 0, failed: 1 };
  return { passed, failed: exitCode !== 0 && failed === 0 ? 1 : failed };
}

async function run(): Promise<number> {
  const preparation = await prepareMachine({ needs: NEEDS, log: (line) => process.stderr.write(`${line}\n`) });
  if (preparation.missing.length > 0) {
    process.stderr.write(`Some packages are missing. Install them with:\n  ${preparation.command ?? ''}\n`);
    return EXIT.usage;
  }
  await rm('var/test', { recursive: true, force: true });
  await mkdir('var/test', { recursive: true });
  const total = { passed: 0, failed: 0 };
  const stages: readonly (readonly [string, () => Promise<Counted>])[] = [['checks', check], ['unit tests', unitTests], ['end-to-end tests', e2eTests]];
  for (const [name, stage] of stages) {
    const startedAt = performance.now();
    process.stdout.write(`\n== ${name}\n`);
    const { passed, failed } = await stage();
    total.passed += passed;
    total.failed += failed;
    process.stdout.write(`== ${name}: ${passed} passed, ${failed} failed (${((performance.now() - startedAt) / 1000).toFixed(0)} s)\n`);
  }
  process.stdout.write(`\n${total.passed} passed, ${total.failed} failed\n`);
  return total.failed === 0 ? EXIT.done : EXIT.failed;
}

function commandLine(): Command {
  return new Command('test')
    .description('Installs what is missing, then checks, unit tests and end-to-end tests. Ends with the line "N passed, N failed".')
    .addHelpText('after', '\nExit code 0: all passed; 1: something failed; 2: wrong usage or missing packages.');
}

process.exit(await runCommand(commandLine(), run));
