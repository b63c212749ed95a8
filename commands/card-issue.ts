/** card-issue: turns a factory card on a reader into a new customer's card, and loads its opening balance. */
import { Command, InvalidArgumentError } from 'commander';
import { createPcscBackend } from '#bridge/host/pcsc/backend.ts';
import { createSimBackend } from '#bridge/host/sim/backend.ts';
import type { ReaderBackend } from '#bridge/host/backend.ts';
import { isCurrency, MAX_AMOUNT_MINOR, type Currency } from '#protocol/amount.ts';
import { readDeskSettings } from '#world/desk-settings.ts';
import { issueCard } from '#world/card-issue.ts';
import { openOperatorDesk } from '#world/operator-desk.ts';
import { EXIT, runCommand } from './run-command.ts';

const DEFAULT_LIMIT_MINOR = 50_000n;

interface IssueOptions {
  readonly balance: bigint;
  readonly currency: Currency;
  readonly limit?: bigint;
  readonly name?: string;
  readonly folder: string;
  readonly simPort?: number;
  readonly json?: true;
}

function commandLine(): Command {
  return new Command('card-issue')
    .description("Issues the factory-fresh MIFARE DESFire Light on the reader to a new customer: keys, rights, limits, opening balance. The servers must run (npm start).")
    .requiredOption('--balance <amount>', 'opening balance in minor units, for example 10000 for JPY 10,000; 0 for none', parseAmount)
    .option('--currency <code>', 'currency of the card', parseCurrency, 'JPY')
    .option('--limit <amount>', 'the most that the card may ever hold, in minor units; default: 50000', parseAmount)
    .option('--name <name>', "the customer's name; it stays in the information server")
    .option('--folder <folder>', 'of the running world', 'var')
    .option('--sim-port <port>', 'reach a simulated card without PC/SC: listen for it on this port', (text) => Number(parseAmount(text)))
    .option('--json', 'print one JSON object')
    .addHelpText('after', '\nTorn in the middle, run it again with the card back on the reader. Exit code 1: failure, 2: wrong usage.');
}

function parseAmount(text: string): bigint {
  if (!/^(0|[1-9][0-9]{0,9})$/.test(text) || BigInt(text) > MAX_AMOUNT_MINOR) throw new InvalidArgumentError('It is a whole number of minor units.');
  return BigInt(text);
}

function parseCurrency(text: string): Currency {
  if (!isCurrency(text)) throw new InvalidArgumentError('It is a currency code like JPY.');
  return text;
}

async function run({ balance, currency, limit = DEFAULT_LIMIT_MINOR, name, folder, simPort, json }: IssueOptions): Promise<number> {
  const backend: ReaderBackend = simPort === undefined ? createPcscBackend() : createSimBackend(simPort);
  const say = (line: string): void => void process.stderr.write(`${line}\n`);
  const desk = await openOperatorDesk(await readDeskSettings(folder), backend, (turn) => say(`  round ${turn}`));
  try {
    say('Put a factory-fresh card on the reader.');
    const issued = await issueCard(desk, { currency, limitMinor: limit, customerName: name ?? null, balanceMinor: balance }, say);
    if (json === true) process.stdout.write(`${JSON.stringify({ ...issued, balanceMinor: issued.balanceMinor.toString(), currency })}\n`);
    else process.stdout.write(`Card ${issued.cardId} is issued and holds ${issued.balanceMinor} ${currency} (minor units).\nOne-time enrolment code of the customer: ${issued.enrolmentCode}\n`);
    return EXIT.done;
  } finally {
    await desk.close();
  }
}

// A reader that does not answer keeps a native call open: the process ends all the same.
process.exit(await runCommand(commandLine(), run));
