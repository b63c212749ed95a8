/** What a card says about its own set-up under key 0, whether it can become or already is one of ours, and the commands that make it so. */
import { encodeHex, equalBytes, parseUintLE, type Bytes } from '#protocol/bytes.ts';
import { Failure } from '#protocol/failure.ts';
import { KEY_NUMBERS, type KeyNumber } from './desfire/authentication.ts';
import {
  changeFileSettings, changeOtherKey, changeSessionKey, configureValueFile, createTransactionMacFile, deleteFile, encodeAccessRights,
  getCardUid, getFileIds, getFileSettings, getKeyVersion, parseInt32LE,
} from './desfire/commands.ts';
import { commandsOf, type CardSession, type SealedCommand, type TypedCommand } from './desfire/session.ts';
import { FACTORY_KEY_VERSION, type CardKeyStore } from './key-store.ts';
import { FULL_MODE, WALLET, WALLET_KEYS, WALLET_RIGHTS } from './layout.ts';
import { LOG_RECORD_BYTES } from './log-record.ts';

/** The upper limit that the factory sets; a card of ours has a smaller one, so that it can be told whether ours is set. */
export const FACTORY_LIMIT_MINOR = 0x7fffffffn;

/** All keys of a card to be issued. */
export interface IssueKeys {
  readonly version: number;
  readonly cardKeys: Readonly<Record<KeyNumber, Bytes>>;
  /** AppTMKey. */
  readonly transactionMacKey: Bytes;
}

/** `version`: the store's newest unless named. Throws KeyStoreError. */
export async function deriveIssueKeys(store: CardKeyStore, uid: Bytes, version?: number): Promise<IssueKeys> {
  const keyVersion = version ?? (await store.currentVersion());
  const derive = (keyNumber: KeyNumber | 'transaction-mac'): Promise<Bytes> => store.deriveCardKey(uid, keyNumber, keyVersion);
  const [k0, k1, k2, k3, k4, transactionMacKey] = await Promise.all([derive(0), derive(1), derive(2), derive(3), derive(4), derive('transaction-mac')]);
  return { version: keyVersion, cardKeys: { 0: k0, 1: k1, 2: k2, 3: k3, 4: k4 }, transactionMacKey };
}

export interface CardState {
  readonly uid: Bytes;
  readonly fileIds: Bytes;
  readonly keyVersions: readonly number[];
  readonly logFile: { readonly option: number; readonly accessRights: Bytes; readonly records: number };
  readonly valueFile: { readonly option: number; readonly accessRights: Bytes; readonly lower: bigint; readonly upper: bigint; readonly valueOption: number };
}

/** Asks an authenticated card for its state: commands, and how to read their answers. */
export function requestCardState(session: CardSession) {
  const head = [session.seal(getCardUid()), session.seal(getFileIds()), session.seal(getFileSettings(WALLET.logFile)), session.seal(getFileSettings(WALLET.valueFile))] as const;
  const versions = KEY_NUMBERS.map((keyNumber) => session.seal(getKeyVersion(keyNumber)));
  return {
    commands: commandsOf([...head, ...versions]),
    parse(responses: readonly Bytes[]): CardState {
      const [uid, fileIds, log, value] = session.openBatch(head, responses.slice(0, head.length));
      const keyVersions = session.openBatch(versions, responses.slice(head.length));
      return { uid, fileIds, keyVersions, logFile: parseLogSettings(log), valueFile: parseValueSettings(value) };
    },
  };
}

/** FileType 04 (cyclic), FileOption, rights(2), RecordSize(3), MaxRecords(3), CurRecords(3). */
function parseLogSettings(settings: Bytes): CardState['logFile'] {
  if (settings.length !== 13 || settings[0] !== 0x04 || parseUintLE(settings.subarray(4, 7)) !== LOG_RECORD_BYTES) throw unsupported('file 01', settings);
  // One slot of a cyclic file is its shadow: two are the least that hold one record.
  if (parseUintLE(settings.subarray(7, 10)) < 2) throw unsupported('file 01', settings);
  return { option: settings[1] ?? 0, accessRights: settings.slice(2, 4), records: parseUintLE(settings.subarray(10, 13)) };
}

/** FileType 02 (value), FileOption, rights(2), lower(4), upper(4), LimitedCredit(4), option(1). */
function parseValueSettings(settings: Bytes): CardState['valueFile'] {
  if (settings.length !== 17 || settings[0] !== 0x02) throw unsupported('file 03', settings);
  return {
    option: settings[1] ?? 0,
    accessRights: settings.slice(2, 4),
    lower: parseInt32LE(settings.slice(4, 8)),
    upper: parseInt32LE(settings.slice(8, 12)),
    valueOption: settings[16] ?? 0,
  };
}

function unsupported(what: string, settings: Bytes): Failure {
  return new Failure('card/unsupported', { detail: `${what} is ${encodeHex(settings)}` });
}

/**
 * What a card whose key 0 is the factory's still needs, key 0 last: every command of an issuing that was torn is either
 * repeated without harm or left out because its effect shows.
 */
export function configureCard(session: CardSession, state: CardState, keys: IssueKeys, limitMinor: bigint): readonly SealedCommand<unknown>[] {
  const commands: TypedCommand<unknown>[] = [];
  // SetConfiguration 09 works once in a card's life. A card prepared by somebody else shows in its limit here, or in its balance later.
  if (state.valueFile.upper !== limitMinor) commands.push(configureValueFile(WALLET.valueFile, 0n, limitMinor, 0n, 0x00));
  commands.push(changeFileSettings(WALLET.valueFile, FULL_MODE, WALLET_RIGHTS.valueFile), changeFileSettings(WALLET.logFile, FULL_MODE, WALLET_RIGHTS.logFile));
  // The factory's file asks for a reader id before every commit and has a key that everybody knows: it must go before anything is committed.
  if (state.fileIds.includes(WALLET.transactionMacFile)) commands.push(deleteFile(WALLET.transactionMacFile));
  commands.push(createTransactionMacFile(WALLET.transactionMacFile, FULL_MODE, WALLET_RIGHTS.transactionMacFile, keys.transactionMacKey, keys.version));
  for (const keyNumber of KEY_NUMBERS) {
    if (keyNumber === WALLET_KEYS.master) continue;
    commands.push(changeOtherKey(keyNumber, presumedKey(state, keys, keyNumber), keys.cardKeys[keyNumber], keys.version));
  }
  commands.push(changeSessionKey(WALLET_KEYS.master, keys.cardKeys[WALLET_KEYS.master], keys.version));
  return commands.map((command) => session.seal(command));
}

/** A version says only what to presume: ChangeKey's checksum fails on the card unless it really holds this key. */
function presumedKey(state: CardState, keys: IssueKeys, keyNumber: KeyNumber): Bytes {
  const version = state.keyVersions[keyNumber];
  if (version === FACTORY_KEY_VERSION) return new Uint8Array(16);
  if (version === keys.version) return keys.cardKeys[keyNumber];
  throw new Failure('card/already-issued', { detail: `key ${keyNumber} has version ${version ?? -1}` });
}

/** Throws `card/unsupported` unless the card is set up as an issued card of ours is. */
export function verifyConfiguredCard(state: CardState, keys: IssueKeys, limitMinor: bigint): void {
  const { logFile, valueFile } = state;
  const asIssued =
    state.keyVersions.every((version) => version === keys.version) &&
    state.fileIds.includes(WALLET.transactionMacFile) &&
    logFile.option === FULL_MODE &&
    equalBytes(logFile.accessRights, encodeAccessRights(WALLET_RIGHTS.logFile)) &&
    valueFile.option === FULL_MODE &&
    equalBytes(valueFile.accessRights, encodeAccessRights(WALLET_RIGHTS.valueFile)) &&
    valueFile.lower === 0n &&
    valueFile.upper === limitMinor &&
    valueFile.valueOption === 0x00;
  if (!asIssued) throw new Failure('card/unsupported', { detail: 'the card is not set up as it was told' });
}
