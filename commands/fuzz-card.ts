/** fuzz-card: sends a simulated card malformed commands by the million and watches that it neither throws nor hangs nor changes what it keeps. */
import { Command, InvalidArgumentError } from 'commander';
import { fuzzChip, type FuzzReport } from '#card-firmware-sim/fuzz.ts';
import { EXIT, runCommand } from './run-command.ts';

const DEFAULT_COUNT = 1_000_000;
const MAX_COUNT = 1_000_000_000;
const MAX_SEED = 0xffffffff;
const PROGRESS_EVERY = 50_000;

interface FuzzCardOptions {
  readonly count: number;
  readonly seed?: number;
  readonly json?: true;
}

function commandLine(): Command {
  return new Command('fuzz-card')
    .description('Sends the simulated card malformed commands, alone and in the middle of live sessions. It must answer each, fail inside at none, and keep what it keeps.')
    .option('--count <number>', 'malformed commands', parseCount, DEFAULT_COUNT)
    .option('--seed <number>', 'the same seed sends the same bytes (default: another one each time)', parseSeed)
    .option('--json', 'print one JSON object')
    .addHelpText('after', '\nProgress goes to standard error. Exit code 1: a finding, printed with its seed and command; 2: wrong usage.');
}

function parseCount(text: string): number {
  if (!/^[1-9][0-9]{0,9}$/.test(text) || Number(text) > MAX_COUNT) throw new InvalidArgumentError(`It is a whole number from 1 to ${MAX_COUNT}.`);
  return Number(text);
}

function parseSeed(text: string): number {
  if (!/^[0-9]{1,10}$/.test(text) || Number(text) > MAX_SEED) throw new InvalidArgumentError(`It is a whole number from 0 to ${MAX_SEED}.`);
  return Number(text);
}

function describeReport({ count, seed, answers, finding }: FuzzReport, seconds: number): string {
  if (finding !== undefined) return `Seed ${seed}, command ${finding.at}: ${finding.what}\n  ${finding.apdu}`;
  const mostOften = Object.entries(answers).sort(([, a], [, b]) => b - a);
  return `${count} malformed commands, seed ${seed}, ${seconds.toFixed(1)} s: every one answered, nothing changed.\n  ${mostOften.map(([status, times]) => `${status} ${times}`).join(', ')}`;
}

process.exitCode = await runCommand(commandLine(), async ({ count, seed = Math.floor(Math.random() * MAX_SEED), json }: FuzzCardOptions) => {
  const startedAt = performance.now();
  const report = await fuzzChip({
    count,
    seed,
    onProgress: (done) => {
      if (done % PROGRESS_EVERY === 0 && done > 0) process.stderr.write(`fuzz-card: ${done} of ${count}, seed ${seed}\n`);
    },
  });
  const seconds = (performance.now() - startedAt) / 1000;
  process.stdout.write(json === true ? `${JSON.stringify({ ...report, finding: report.finding ?? null, seconds })}\n` : `${describeReport(report, seconds)}\n`);
  return report.finding === undefined ? EXIT.done : EXIT.failed;
});
