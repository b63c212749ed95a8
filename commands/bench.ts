/** bench: measures what customers wait for, as ratios within one run on this machine; the world it measures is new and goes away afterwards. */
import { mkdtemp, rm } from 'node:fs/promises';
import { cpus, release, tmpdir, totalmem } from 'node:os';
import { join } from 'node:path';
import { Argument, Command, InvalidArgumentError } from 'commander';
import { openStage, type Stage } from '#world/stage.ts';
import { measureCard } from '../bench/card.ts';
import { describeCard } from '../bench/card-figures.ts';
import { measureChain, type ChainFigures } from '../bench/chain.ts';
import { MAX_RUNS, measurePayments, OPENING_BALANCE_MINOR, type PaymentFigures, type PaymentReport } from '../bench/payment.ts';
import { measureReaders } from '../bench/readers.ts';
import { describeReaders } from '../bench/readers-figures.ts';
import type { Summary } from '../bench/statistics.ts';
import { prepareMachine } from './prepare.ts';
import { EXIT, runCommand } from './run-command.ts';

const KINDS = ['chain', 'payment', 'readers', 'card'] as const;
type Kind = (typeof KINDS)[number];
const DEFAULT_RUNS: Record<Kind, number> = { chain: 800, payment: 10, readers: 400, card: 400 };
/** Has no browser, no reader and no server: nothing has to be installed for it. */
const IN_PROCESS: Kind = 'card';

interface BenchOptions {
  readonly runs?: number;
  readonly json?: true;
}

function commandLine(): Command {
  return new Command('bench')
    .description('Measures on this machine. chain: a command from the extension to the card over real PC/SC, beside libpcsclite alone. payment: machine time from consent (ST7) to outcome (ST20). readers: every reader kind side by side, a command and the card\'s part of a payment, with what goes over USB and through the air. card: the card\'s part of a payment in this process: CPU of the security server beside the bare calls of its cryptography, payments a second on the simulated chip, and modelled card-field time.')
    .addArgument(new Argument('<kind>', 'what to measure').choices(KINDS))
    .option('--runs <count>', `commands (chain, readers) or payments (default: chain ${DEFAULT_RUNS.chain}, readers ${DEFAULT_RUNS.readers}, card ${DEFAULT_RUNS.card}, payment ${DEFAULT_RUNS.payment}, at most ${Math.floor(MAX_RUNS)})`, parseRuns)
    .option('--json', 'print one JSON object')
    .addHelpText('after', '\nProgress goes to standard error. What is measured and how: docs/figures.md. Exit code 1: failure, 2: wrong usage or missing packages.');
}

function parseRuns(text: string): number {
  if (!/^[1-9][0-9]{0,4}$/.test(text)) throw new InvalidArgumentError('It is a whole number from 1 to 99999.');
  return Number(text);
}

async function measure(kind: Kind, runs: number, isJson: boolean): Promise<void> {
  const say = (line: string): void => void process.stderr.write(`${line}\n`);
  const print = ({ figures, text }: Report): void => void process.stdout.write(isJson ? `${JSON.stringify({ bench: kind, ...machine(), ...figures })}\n` : `${text}\n`);
  if (kind === IN_PROCESS) {
    print(await cardReport(runs, say));
    return;
  }
  const folder = await mkdtemp(join(tmpdir(), 'kessai-bench-'));
  try {
    // The readers need no servers: the payment's other parties are in this process.
    if (kind === 'readers') {
      print(await readersReport(folder, runs, say));
      return;
    }
    const stage = await openStage({ folder, reader: 'pcsc', openingBalanceMinor: OPENING_BALANCE_MINOR, log: say });
    try {
      print(await (kind === 'chain' ? chainReport : paymentReport)(stage, runs, say));
    } finally {
      await stage.close();
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function machine(): object {
  const [first] = cpus();
  return { at: new Date().toISOString(), machine: { processor: first?.model ?? '', cores: cpus().length, memoryGiB: Math.round(totalmem() / 2 ** 30), system: `${process.platform} ${release()}`, node: process.version } };
}

interface Report {
  readonly figures: object;
  readonly text: string;
}

async function chainReport(stage: Stage, runs: number, say: (line: string) => void): Promise<Report> {
  const figures: ChainFigures = await measureChain(stage, runs, say);
  const { pageToCard, direct, ratio, ratioOfEachBlock, windowToShopPage, sumOfMediansMs } = figures;
  const text = [
    `Command ${figures.command} (GetVersion), in milliseconds:`,
    row('extension page to card and back', pageToCard),
    row('libpcsclite alone, this process', direct),
    `  ratio of the medians ${ratio.toFixed(2)} (blocks ${ratioOfEachBlock.map((value) => value.toFixed(2)).join(', ')})`,
    row("payment window to shop's page and back", windowToShopPage),
    `  sum of the first and the last median ${sumOfMediansMs.toFixed(2)}`,
  ].join('\n');
  return { figures, text };
}

async function paymentReport(stage: Stage, runs: number, say: (line: string) => void): Promise<Report> {
  const figures: PaymentReport = await measurePayments(stage, runs, say);
  const describe = ({ roundTripMs, payments, rounds, machine: whole, connect, connectAfterConsent, inRounds, shareOfConnectAfterConsent, shareOfRounds }: PaymentFigures): string[] => [
    `${roundTripMs} ms round trip, ${payments} payments, ${rounds} rounds each:`,
    row('consent (ST7) to outcome (ST20)', whole),
    row('  TCP and TLS, while the bill is read', connect),
    row('  of the connection, after the consent', connectAfterConsent),
    row('  in the rounds: network and servers', inRounds),
    `  waiting for the connection is ${(100 * shareOfConnectAfterConsent).toFixed(0)} % of it, the rounds ${(100 * shareOfRounds).toFixed(0)} %`,
  ];
  const text = [
    ...describe(figures.near),
    ...describe(figures.far),
    `Ratio of the medians ${figures.ratio.toFixed(2)}; the distance adds ${figures.addedMs.toFixed(0)} ms, where ${figures.leastAddedMs} ms is the least.`,
  ].join('\n');
  return { figures, text };
}

async function readersReport(folder: string, runs: number, say: (line: string) => void): Promise<Report> {
  const figures = await measureReaders(folder, runs, say);
  return { figures, text: describeReaders(figures.readers) };
}

async function cardReport(runs: number, say: (line: string) => void): Promise<Report> {
  const figures = await measureCard(runs, say);
  return { figures, text: describeCard(figures) };
}

function row(name: string, { medianMs, p99Ms, quartilesMs: [low, high], minMs, maxMs }: Summary): string {
  const [middle, tail, ...spread] = [medianMs, p99Ms, low, high, minMs, maxMs].map((ms) => ms.toFixed(2));
  return `  ${name.padEnd(40)} median ${middle ?? ''}, p99 ${tail ?? ''}, half of them ${spread.slice(0, 2).join(' to ')}, all ${spread.slice(2).join(' to ')}`;
}

async function run(kind: Kind, { runs = DEFAULT_RUNS[kind], json }: BenchOptions): Promise<number> {
  if (kind === 'payment' && runs > MAX_RUNS) {
    process.stderr.write(`bench: the card's money is enough for ${Math.floor(MAX_RUNS)} payments at each distance.\n`);
    return EXIT.usage;
  }
  if (kind === IN_PROCESS) {
    await measure(kind, runs, json === true);
    return EXIT.done;
  }
  const preparation = await prepareMachine({ needs: kind === 'readers' ? ['browser', 'pcsc', 'usb'] : ['browser', 'pcsc'], log: (line) => process.stderr.write(`${line}\n`) });
  if (preparation.command !== null) {
    process.stderr.write(`Some packages are missing. Install them with:\n  ${preparation.command}\n`);
    return EXIT.usage;
  }
  await measure(kind, runs, json === true);
  return EXIT.done;
}

const program = commandLine();
// A browser or native library may keep a handle: everything is closed by now.
process.exit(await runCommand<BenchOptions>(program, (options) => run(program.processedArgs[0] as Kind, options)));
