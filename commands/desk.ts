/** What the commands of an operator's desk share: their common options, the desk itself, failures in an operator's words, and how amounts are typed and printed. */
import { Command, InvalidArgumentError } from 'commander';
import * as v from 'valibot';
import { createPcscBackend } from '#bridge/host/pcsc/backend.ts';
import { createSimBackend } from '#bridge/host/sim/backend.ts';
import { amountSchema, isCurrency, type Currency } from '#protocol/amount.ts';
import { asFailure, FAILURES, type Failure, type FailureCode } from '#protocol/failure.ts';
import { encodeStrictJson } from '#protocol/json.ts';
import type { CardAccount } from '#protocol/messages/card-account.ts';
import { cardIdSchema, paymentIdSchema } from '#protocol/messages/fields.ts';
import { readDeskSettings } from '#world/desk-settings.ts';
import { CARD_WAIT_MS, openOperatorDesk, type OperatorDesk } from '#world/operator-desk.ts';

export interface DeskCommandOptions {
  readonly folder: string;
  readonly reader?: string;
  readonly simPort?: number;
  readonly json?: true;
}

/** What an operator is told where the text for customers does not help. */
type Texts = Partial<Record<FailureCode, string>>;

const CARD_WAIT_SECONDS = CARD_WAIT_MS / 1000;

const FOR_OPERATORS: Texts = {
  'card/absent': `No card was put on the reader within ${CARD_WAIT_SECONDS} seconds. Give the command again and put the card there.`,
  'reader/none': 'The reader is not connected. Connect it, or name another one with --reader.',
  'card/not-issued': 'This settlement institution has issued no such card.',
  'card/unsupported': 'This is no card of ours, or one of another currency.',
  'card/limit': 'The card may not hold that much: npm run card-show shows its limit.',
  'card/blocked': 'This card is blocked for good. What it is worth by the books goes to another card: npm run card-load -- --from-lost NUMBER.',
  'customer/unknown': 'There is no such customer: npm run card-show -- --card NUMBER shows whose a card is.',
  'customer/card-not-linked': 'This card has a customer already: npm run card-show -- --card NUMBER shows whose it is.',
  'payment/unknown': 'There is no proof of such an operation: the number is wrong, or it is not decided yet, or the card has not carried it out.',
  'settlement/unreachable': 'The servers do not answer. Start them (npm start).',
  'message/malformed': 'The servers and this command do not understand each other: start the servers again, so that both are of one version.',
};

/** After one of these it is open how far the card has come. */
const CUT_SHORT: readonly FailureCode[] = ['card/removed', 'card/silent', 'card/answer', 'card/refused', 'reader/failed', 'settlement/unreachable', 'settlement/session'];

/** A command that needs the servers, and no card. */
export function serverCommand(name: string, description: string): Command {
  return new Command(name)
    .description(`${description} The servers must run (npm start).`)
    .option('--folder <folder>', 'of the running world', 'var')
    .option('--json', 'print one JSON object');
}

/** A command with a card on a reader. */
export function deskCommand(name: string, description: string): Command {
  return serverCommand(name, description)
    .option('--reader <name>', 'the reader to use, by its name or a part of it; default: any with a card on it')
    .option('--sim-port <port>', 'reach a simulated card without PC/SC: listen for it on this port', parsePort);
}

/** Asks for a card, and says how long it is waited for. */
export function askForCard(which: string): void {
  say(`Put ${which} on the reader and leave it there (waiting ${CARD_WAIT_SECONDS} s).`);
}

/** Progress goes to standard error, so that standard output is the result alone. */
export function say(line: string): void {
  process.stderr.write(`${line}\n`);
}

/** `texts`: what this command says otherwise than the others; `whenCutShort`: what to do after a contact that broke off. */
export async function atDesk<T>({ folder, reader, simPort }: DeskCommandOptions, act: (desk: OperatorDesk) => Promise<T>, texts: Texts = {}, whenCutShort?: string): Promise<T> {
  const settings = await readDeskSettings(folder);
  const backend = simPort === undefined ? createPcscBackend() : createSimBackend(simPort);
  const desk = await openOperatorDesk(settings, backend, { readerName: reader, onTurn: (turn) => say(`  round ${turn}`) });
  try {
    return await act(desk).catch((thrown: unknown) => {
      throw forOperator(asFailure(thrown), texts, whenCutShort);
    });
  } finally {
    await desk.close();
  }
}

function forOperator(failure: Failure, texts: Texts, whenCutShort: string | undefined): unknown {
  if (failure.code === 'internal/bug') return failure.cause;
  return new Error(describeFailure(failure, texts, whenCutShort), { cause: failure });
}

/** A failure in an operator's words, with its code. */
export function describeFailure(failure: Failure, texts: Texts = {}, whenCutShort?: string): string {
  const text = texts[failure.code] ?? FOR_OPERATORS[failure.code] ?? FAILURES[failure.code].text;
  return `${text}${whenCutShort !== undefined && CUT_SHORT.includes(failure.code) ? ` ${whenCutShort}` : ''} (${failure.message})`;
}

/** One JSON object with decimal strings for amounts, or lines for people. */
export function print(result: unknown, { json }: Pick<DeskCommandOptions, 'json'>, lines: () => readonly string[]): void {
  process.stdout.write(json === true ? `${encodeStrictJson(result)}\n` : `${lines().join('\n')}\n`);
}

export function parseAmount(text: string): bigint {
  const parsed = v.safeParse(amountSchema, text);
  if (!parsed.success) throw new InvalidArgumentError('It is a whole number of minor units.');
  return parsed.output;
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
  if (!v.is(cardIdSchema, cardId)) throw new InvalidArgumentError('A card number is 14 hex digits, beginning with 04.');
  return cardId;
}

export function parsePaymentId(text: string): string {
  return parseUuid(text, 'a payment\'s number');
}

export function parseCustomerId(text: string): string {
  return parseUuid(text, 'a customer\'s number');
}

function parseUuid(text: string, what: string): string {
  if (!v.is(paymentIdSchema, text)) throw new InvalidArgumentError(`It is ${what}, a UUID in lower case.`);
  return text;
}

function parsePort(text: string): number {
  if (!/^[1-9]\d{0,4}$/.test(text) || Number(text) > 0xffff) throw new InvalidArgumentError('It is a port number.');
  return Number(text);
}

export function describeAccount(account: CardAccount): string[] {
  const { cardId, state, blockedAt, currency, limitMinor, customerId, ledgerMinor, movableMinor, open } = account;
  return [
    `Card ${cardId} is ${state}${blockedAt === null ? '' : ` since ${new Date(blockedAt).toISOString()}`}; ${customerId === null ? 'nobody has linked it yet' : `customer ${customerId}`}.`,
    `By the books it holds ${ledgerMinor} ${currency} (minor units), and may hold ${limitMinor}.`,
    ...open.map(({ paymentId, kind, amountMinor, shopId, expired }) => `Open: ${kind} of ${amountMinor}${shopId === null ? '' : ` at ${shopId}`}, ${paymentId}${expired ? ', told to the shop as not paid' : ''}.`),
    ...(state === 'blocked' ? [`${movableMinor} may be moved to another card: npm run card-load -- --from-lost ${cardId} --amount ${movableMinor}`] : []),
  ];
}
