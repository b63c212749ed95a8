/** What the commands of an operator's desk share: their common options, the desk itself, and how amounts are typed and printed. */
import { Command, InvalidArgumentError } from 'commander';
import { createPcscBackend } from '#bridge/host/pcsc/backend.ts';
import { createSimBackend } from '#bridge/host/sim/backend.ts';
import { isCurrency, MAX_AMOUNT_MINOR, type Currency } from '#protocol/amount.ts';
import { encodeStrictJson } from '#protocol/json.ts';
import type { CardAccount } from '#protocol/messages/card-account.ts';
import { readDeskSettings } from '#world/desk-settings.ts';
import { openOperatorDesk, type OperatorDesk } from '#world/operator-desk.ts';

export interface DeskCommandOptions {
  readonly folder: string;
  readonly reader?: string;
  readonly simPort?: number;
  readonly json?: true;
}

/** A command with the options that every desk has. */
export function deskCommand(name: string, description: string): Command {
  return new Command(name)
    .description(`${description} The servers must run (npm start).`)
    .option('--reader <name>', 'the reader to use, by its name or a part of it; default: any with a card on it')
    .option('--folder <folder>', 'of the running world', 'var')
    .option('--sim-port <port>', 'reach a simulated card without PC/SC: listen for it on this port', parsePort)
    .option('--json', 'print one JSON object');
}

/** Progress goes to standard error, so that standard output is the result alone. */
export function say(line: string): void {
  process.stderr.write(`${line}\n`);
}

export async function atDesk<T>({ folder, reader, simPort }: DeskCommandOptions, act: (desk: OperatorDesk) => Promise<T>): Promise<T> {
  const settings = await readDeskSettings(folder);
  const backend = simPort === undefined ? createPcscBackend() : createSimBackend(simPort);
  const desk = await openOperatorDesk(settings, backend, { readerName: reader, onTurn: (turn) => say(`  round ${turn}`) });
  try {
    return await act(desk);
  } finally {
    await desk.close();
  }
}

/** One JSON object with decimal strings for amounts, or lines for people. */
export function print(result: unknown, { json }: Pick<DeskCommandOptions, 'json'>, lines: () => readonly string[]): void {
  process.stdout.write(json === true ? `${encodeStrictJson(result)}\n` : `${lines().join('\n')}\n`);
}

export function parseAmount(text: string): bigint {
  if (!/^(0|[1-9][0-9]{0,9})$/.test(text) || BigInt(text) > MAX_AMOUNT_MINOR) throw new InvalidArgumentError('It is a whole number of minor units.');
  return BigInt(text);
}

export function parsePositiveAmount(text: string): bigint {
  const amountMinor = parseAmount(text);
  if (amountMinor === 0n) throw new InvalidArgumentError('It is at least 1.');
  return amountMinor;
}

export function parseCurrency(text: string): Currency {
  if (!isCurrency(text)) throw new InvalidArgumentError('It is a currency code like JPY.');
  return text;
}

export function parseCardId(text: string): string {
  const cardId = text.replaceAll(/[\s:-]/g, '').toUpperCase();
  if (!/^04[0-9A-F]{12}$/.test(cardId)) throw new InvalidArgumentError('A card number is 14 hex digits, beginning with 04.');
  return cardId;
}

export function parsePaymentId(text: string): string {
  if (!/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(text)) throw new InvalidArgumentError('It is a payment\'s number, a UUID in lower case.');
  return text;
}

function parsePort(text: string): number {
  if (!/^[1-9]\d{0,4}$/.test(text) || Number(text) > 0xffff) throw new InvalidArgumentError('It is a port number.');
  return Number(text);
}

export function describeAccount(account: CardAccount): string[] {
  const { cardId, state, blockedAt, currency, limitMinor, customerId, ledgerMinor, movableMinor, open } = account;
  return [
    `Card ${cardId} is ${state}${blockedAt === null ? '' : ` since ${new Date(blockedAt).toISOString()}`}; ${customerId === null ? 'no customer has activated it' : `customer ${customerId}`}.`,
    `By the books it holds ${ledgerMinor} ${currency} (minor units), and may hold ${limitMinor}.`,
    ...open.map(({ paymentId, kind, amountMinor, shopId, expired }) => `Open: ${kind} of ${amountMinor}${shopId === null ? '' : ` at ${shopId}`}, ${paymentId}${expired ? ', told to the shop as not paid' : ''}.`),
    ...(state === 'blocked' ? [`${movableMinor} may be moved to another card: npm run card-load -- --from-lost ${cardId} --amount ${movableMinor}`] : []),
  ];
}
