/**
 * Issuing: a factory Light or a blank EV2 or EV3 becomes one of ours, one network round a turn, and a torn issuing goes on where it stopped.
 * Under the factory's zero keys the line to the card hides nothing: whoever listens learns the card's keys, so cards are issued at a trusted place.
 */
import { concatBytes, encodeHex, equalBytes, type Bytes } from '#protocol/bytes.ts';
import { Failure } from '#protocol/failure.ts';
import { prepareBlankCard } from './blank-card.ts';
import { ask, authenticate, change, type CardTalk, type CardTurns } from './card-dialog.ts';
import { deriveCardKeys, notOurs, requestFileState, requestKeyState, type CardKeys } from './card-state.ts';
import { getValue, readNewestRecords, readTransactionMac } from '../desfire/commands.ts';
import { parseOpenKeyVersion, requestOpenKeyVersion } from '../desfire/select.ts';
import { commandsOf, type CardSession } from '../desfire/session.ts';
import { getValueInput, readRecordsInput } from '../desfire/transaction-mac.ts';
import { configureCard, FACTORY_LIMIT_MINOR, verifyConfiguredCard } from './issue-state.ts';
import { FACTORY_KEY_VERSION, type CardKeyStore } from '../key-store/key-store.ts';
import { openWallet, parseOpening, WALLET, WALLET_KEYS } from '../layout.ts';
import { LOG_RECORD_BYTES, parseLogRecord, type LogRecord } from '../log-record.ts';
import { prepareTransfer } from '../transfer.ts';

export interface IssueOrder {
  /** 7 bytes, as the card says outside any session; the card must say the same inside. */
  readonly uid: Bytes;
  readonly keyStore: CardKeyStore;
  /** The most that the card may hold; 1 to 2^31 - 2. */
  readonly limitMinor: bigint;
  /** 8 bytes; the same again when a torn issuing is taken up. */
  readonly operationId: Bytes;
  readonly timeSeconds: number;
  /** It is known as one of ours: then nothing is changed any more, and only its own issuing can be concluded. */
  readonly isRecorded: boolean;
  readonly random: (length: number) => Bytes;
}

export interface IssuedCard {
  readonly uid: Bytes;
  readonly keyVersion: number;
  readonly limitMinor: bigint;
  readonly newestRecord: LogRecord;
  readonly transactionCounter: number;
}

/** `challenge`: the card's 16 bytes for key 0 (the answer to `openWallet(0)`); null for a card that has no application yet. */
export async function* issueCard(order: IssueOrder, challenge: Bytes | null): CardTalk<IssuedCard> {
  const { uid, limitMinor, random, isRecorded } = order;
  if (limitMinor < 1n || limitMinor >= FACTORY_LIMIT_MINOR) throw new Failure('card/limit', { detail: 'no limit of a card' });
  if (challenge === null && isRecorded) throw new Failure('card/already-issued', { detail: 'a card of ours without its application' });
  const factory = yield* authenticate(new Uint8Array(16), challenge ?? (yield* prepareBlankCard(order)), random);
  const configured = factory === undefined ? yield* openConfigured(order) : yield* configure(order, factory);

  const { keys } = configured;
  const session = yield* authenticate(keys.cardKeys[WALLET_KEYS.master], configured.challenge, random);
  if (session === undefined) throw new Failure('card/already-issued', { detail: 'key 0 is neither the factory\'s nor ours' });
  const keyRequest = requestKeyState(session, uid);
  const keyState = keyRequest.parse(yield ask(keyRequest.commands));
  const fileRequest = requestFileState(session, keyState.fileIds);
  const answers = yield ask([...fileRequest.commands, ...openWallet(WALLET_KEYS.pay)]);
  const fileState = fileRequest.parse(answers.slice(0, fileRequest.commands.length));
  session.end();
  const { logFile } = verifyConfiguredCard(keyState, fileState, keys, limitMinor);
  const wallet = yield* authenticate(keys.cardKeys[WALLET_KEYS.pay], parseOpening(answers.slice(fileRequest.commands.length)), random);
  if (wallet === undefined) throw new Failure('card/not-genuine', { detail: 'key 1 is not ours' });
  return yield* writeFirstRecord(order, wallet, keys, logFile.records > 0);
}

/** What a card is opened with once all its keys are ours. */
interface Configured {
  readonly keys: CardKeys;
  /** Under key 0. */
  readonly challenge: Bytes;
}

/** Key 0 is the factory's: files, rights and keys, key 0 last; what a torn issuing has done already is repeated without harm, or left out. */
async function* configure({ uid, keyStore, limitMinor, isRecorded }: IssueOrder, session: CardSession): CardTalk<Configured> {
  if (isRecorded) throw new Failure('card/already-issued', { detail: 'a card of ours with the factory\'s key' });
  const keyRequest = requestKeyState(session, uid);
  const keyState = keyRequest.parse(yield ask(keyRequest.commands));
  const fileRequest = requestFileState(session, keyState.fileIds);
  // A blank card has no file to ask for.
  const fileState = fileRequest.parse(fileRequest.commands.length === 0 ? [] : yield ask(fileRequest.commands));
  const keys = await deriveCardKeys(keyStore, uid);
  const batch = (await configureCard({ keyState, fileState, keys, uid, keyStore, limitMinor })).map((command) => session.seal(command));
  const answers = yield change([...commandsOf(batch), ...openWallet(WALLET_KEYS.master)]);
  session.openBatch(batch, answers.slice(0, batch.length));
  session.end();
  return { keys, challenge: parseOpening(answers.slice(batch.length)) };
}

/** Key 0 is not the factory's: perhaps an issuing of ours that was torn after its last key, and the store has newer ones by now. */
async function* openConfigured({ uid, keyStore }: IssueOrder): CardTalk<Configured> {
  const [selection, authentication] = openWallet(WALLET_KEYS.master);
  if (selection === undefined || authentication === undefined) throw new Failure('internal/bug', { detail: 'a wallet is opened with two commands' });
  const [selected, answeredVersion, ...challenged] = yield ask([selection, requestOpenKeyVersion(WALLET_KEYS.master), authentication]);
  if (selected === undefined || answeredVersion === undefined) throw new Failure('card/removed', { detail: 'no key version' });
  const version = parseOpenKeyVersion(answeredVersion);
  if (version === FACTORY_KEY_VERSION) throw new Failure('card/already-issued', { detail: 'key 0 is neither the factory\'s nor ours' });
  const keys = await deriveCardKeys(keyStore, uid, version).catch((cause: unknown) => {
    throw notOurs(cause, `key 0 has version ${version}`);
  });
  return { keys, challenge: parseOpening([selected, ...challenged]) };
}

/** An empty log cannot be read (the error would end the session), so its record is asked for only when there is one. */
function* writeFirstRecord(order: IssueOrder, session: CardSession, keys: CardKeys, hasRecord: boolean): CardTurns<IssuedCard> {
  const { uid, limitMinor, operationId, timeSeconds } = order;
  const balance = session.seal(getValue(WALLET.valueFile));
  const records = hasRecord ? [session.seal(readNewestRecords(WALLET.logFile, 1, LOG_RECORD_BYTES))] : [];
  const proof = session.seal(readTransactionMac(WALLET.transactionMacFile));
  const responses = yield ask(commandsOf([balance, ...records, proof]));
  const [balanceMinor] = session.openBatch([balance], responses.slice(0, 1));
  const record = session.openBatch(records, responses.slice(1, 1 + records.length))[0]?.[0];
  const [{ transactionCounter }] = session.openBatch([proof], responses.slice(1 + records.length));
  const issued = { uid, keyVersion: keys.version, limitMinor };
  if (transactionCounter > 0 || order.isRecorded) {
    // Something was committed under our transaction MAC key already: our own first record, or the card is in use.
    const newestRecord = record === undefined ? undefined : parseLogRecord(record);
    if (newestRecord === undefined || !equalBytes(newestRecord.operationId, operationId)) throw new Failure('card/already-issued', { detail: `the card has been used${record === undefined ? '' : `: ${encodeHex(record)}`}` });
    return { ...issued, newestRecord, transactionCounter };
  }
  // A value that was put on the card before us would be money out of nothing.
  if (balanceMinor !== 0n) throw new Failure('card/not-genuine', { detail: 'the card holds a value before its first load' });
  const transactionMacInput = concatBytes(getValueInput(WALLET.valueFile, balanceMinor), record === undefined ? new Uint8Array() : readRecordsInput(WALLET.logFile, 0, 1, record));
  const newestRecord: LogRecord = { operationId, amountMinor: 0n, timeSeconds };
  const card = { uid, transactionMacKey: keys.transactionMacKey, keyVersion: keys.version };
  const transfer = prepareTransfer(session, card, { ...newestRecord, kind: 'record', readBalanceAfter: false }, { transactionMacInput, transactionCounter: 0 });
  const verdict = transfer.verify(yield change(transfer.commands));
  if (verdict.outcome === 'unproven') throw new Failure('card/unresolved', { detail: `first record ${verdict.reason}: ${verdict.detail}` });
  return { ...issued, newestRecord, transactionCounter: verdict.transactionCounter };
}
