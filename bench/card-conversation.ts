/** One payment's part at the card between the security server's own code and the simulated chip; recorded once, and then either side can be run again without the other. */
import { randomBytes } from 'node:crypto';
import { Chip } from '#card-firmware-sim/chip.ts';
import { createFactoryImage } from '#card-firmware-sim/factory-image.ts';
import { VolatileCardMemory } from '#card-firmware-sim/card-memory.ts';
import { walletApplication, withApplication, withFile, withKey, type CardImage } from '#card-firmware-sim/card-image.ts';
import { statusWord, wrapNative, type CardCommand } from '#protocol/apdu.ts';
import { encodeHex, equalBytes, parseHex, type Bytes } from '#protocol/bytes.ts';
import { diversifyKey } from '#servers/security/desfire/diversification.ts';
import { parseChallenge } from '#servers/security/desfire/authentication.ts';
import { diversificationInput, type CardKeyPurpose } from '#servers/security/key-store/key-store.ts';
import { openWallet } from '#servers/security/layout.ts';
import { CardSessions } from '#servers/security/sessions.ts';
import type { TransferOrder, TransferVerdict } from '#servers/security/transfer.ts';

/** What the PC and the server send one after the other, each in one go. */
export const BATCHES = ['identify', 'authenticate', 'read', 'debit'] as const;
export type BatchName = (typeof BATCHES)[number];

export interface RecordedBatch {
  readonly name: BatchName;
  readonly commands: readonly CardCommand[];
  readonly answers: readonly Bytes[];
}

export interface RecordedPayment {
  readonly batches: readonly RecordedBatch[];
  /** The pages that the memory wrote during each command, in the order of all commands. */
  readonly pageWrites: readonly number[];
}

const UID = parseHex('04C1C2C3C4C5C6');
const KEY_VERSION = 1;
const MASTER_KEYS = { pay: new Uint8Array(16).fill(0x31), transactionMac: new Uint8Array(16).fill(0x32) };
const HOST_RANDOM = new Uint8Array(16).fill(0x41);
const BALANCE = 50_000;
const ORDER: TransferOrder = { kind: 'debit', operationId: parseHex('1112131415161718'), amountMinor: 480n, timeSeconds: 1_800_000_000, readBalanceAfter: true };
/** Frames of GetVersion, which the PC asks for before it has a server. */
const GET_VERSION: readonly CardCommand[] = [[0x60, 0x91af], [0xaf, 0x91af], [0xaf, 0x9100]].map(([instruction = 0, expectedStatus = 0]) => ({ apdu: wrapNative(instruction), expectedStatus }));
const [SELECT, ...CHALLENGE] = openWallet(1);
const IDENTIFY: readonly CardCommand[] = [...(SELECT === undefined ? [] : [SELECT]), ...GET_VERSION, ...CHALLENGE];

function cardKey(masterKey: Bytes, purpose: CardKeyPurpose): Bytes {
  return diversifyKey(masterKey, diversificationInput(UID, purpose));
}

export type BenchedSessions = CardSessions<null>;

/** A server's sessions as in the product, but for RndA: it is drawn as always, and then left aside, so that recorded answers fit. */
export function createBenchedSessions(): BenchedSessions {
  const random = (length: number): Bytes => {
    randomBytes(length);
    return HOST_RANDOM;
  };
  return new CardSessions<null>({ random });
}

/**
 * The security server's part of one payment, ST11 to ST19, from the keys of the card to the verdict on its notice: yields what the card
 * gets, takes what it answers. The first batch is the PC's own.
 */
export function* servePayment(sessions: BenchedSessions): Generator<readonly CardCommand[], TransferVerdict, readonly Bytes[]> {
  const identified = yield IDENTIFY;
  const keys = { authenticationKey: cardKey(MASTER_KEYS.pay, 1), transactionMacKey: cardKey(MASTER_KEYS.transactionMac, 'transaction-mac'), keyVersion: KEY_VERSION };
  const session = sessions.begin(UID, null);
  session.takeAuthentication(yield [session.authenticate(parseChallenge(identified.at(-1) ?? new Uint8Array()), keys)]);
  const reading = session.takeReading(yield session.requestReading('balance'));
  if (reading.balanceMinor !== BigInt(BALANCE)) throw new Error('the card does not hold what it was given');
  const transfer = session.prepareTransfer(ORDER);
  const verdict = sessions.verifyTransfer(session.id, yield transfer.commands);
  sessions.forget(session.id);
  return verdict;
}

/** An issued card with money on it, the same every time, its random bytes too. */
export function createBenchedCard(onWrite?: () => void): Chip {
  let filling = 0;
  return new Chip({ memory: new VolatileCardMemory(IMAGE, onWrite), random: (length) => new Uint8Array(length).fill(++filling & 0xff) });
}

/** What issuing leaves behind, by the rights that layout.ts names. */
function issuedImage(): CardImage {
  const factory = createFactoryImage({ uid: UID, random: (length) => new Uint8Array(length) });
  const wallet = walletApplication(factory);
  if (wallet === undefined) throw new Error('a factory card without its application');
  let issued = withKey(wallet, 1, { value: cardKey(MASTER_KEYS.pay, 1), version: KEY_VERSION, failures: 0, failuresInARow: 0 });
  for (const file of wallet.files) {
    if (file.type === 'value') issued = withFile(issued, { ...file, rights: { readWrite: 3, change: 0, read: 1, write: 15 }, value: BALANCE, limitedCreditEnabled: false, freeGetValue: false });
    if (file.type === 'cyclic') issued = withFile(issued, { ...file, rights: { readWrite: 3, change: 0, read: 1, write: 1 }, records: [new Uint8Array(file.recordBytes)] });
    if (file.type === 'transaction-mac') issued = withFile(issued, { ...file, rights: { readWrite: 15, change: 0, read: 1, write: 15 }, appTmKey: cardKey(MASTER_KEYS.transactionMac, 'transaction-mac'), keyVersion: KEY_VERSION, counter: 1 });
  }
  return withApplication(factory, factory.applications.indexOf(wallet), issued);
}

const IMAGE = issuedImage();

/** One payment with both sides live. Throws unless it was paid. */
export async function recordPayment(): Promise<RecordedPayment> {
  let writes = 0;
  const chip = createBenchedCard(() => writes++);
  const serving = servePayment(createBenchedSessions());
  const batches: RecordedBatch[] = [];
  const pageWrites: number[] = [];
  let turn = serving.next();
  for (const name of BATCHES) {
    if (turn.done === true) break;
    const answers: Bytes[] = [];
    for (const { apdu, expectedStatus } of turn.value) {
      const before = writes;
      const answer = await chip.process(apdu);
      if (statusWord(answer) !== expectedStatus) throw new Error(`the card answered ${encodeHex(answer)} to ${encodeHex(apdu)}`);
      answers.push(answer);
      pageWrites.push(writes - before);
    }
    batches.push({ name, commands: turn.value, answers });
    turn = serving.next(answers);
  }
  requireCommitted(turn);
  return { batches, pageWrites };
}

/** The server's side alone. Throws unless it finds the payment committed: only then has it done all its work. */
export function replayServer({ batches }: RecordedPayment, sessions: BenchedSessions): void {
  const serving = servePayment(sessions);
  let turn = serving.next();
  // Fresh copies, as they come from the network: a cipher takes an array that it has seen before in half the time.
  for (const { answers } of batches) turn = serving.next(answers.map((answer) => answer.slice()));
  requireCommitted(turn);
}

function requireCommitted(turn: IteratorResult<readonly CardCommand[], TransferVerdict>): void {
  if (turn.done !== true || turn.value.outcome !== 'committed' || turn.value.balanceAfterMinor !== BigInt(BALANCE) - ORDER.amountMinor) throw new Error('the payment was not proved');
}

/** The chip's side alone, on a card as it was before. Throws unless its answers are the recorded ones. */
export async function replayChip({ batches }: RecordedPayment): Promise<void> {
  const chip = createBenchedCard();
  for (const { commands, answers } of batches) {
    for (const [place, { apdu }] of commands.entries()) {
      if (!equalBytes(await chip.process(apdu), answers[place] ?? new Uint8Array())) throw new Error('the card answered otherwise than before');
    }
  }
}
