/** What a card says about its own set-up under key 0, the keys of ours that belong to it, and the commands that give it all of them. */
import { encodeHex, equalBytes, parseUintLE, type Bytes } from '#protocol/bytes.ts';
import { Failure } from '#protocol/failure.ts';
import { KEY_NUMBERS, type KeyNumber } from '../desfire/authentication.ts';
import {
  changeOtherKey, changeSessionKey, createTransactionMacFile, deleteFile, getCardUid, getFileIds, getFileSettings, getKeyVersion, parseInt32LE,
} from '../desfire/commands.ts';
import { commandsOf, type CardSession, type TypedCommand } from '../desfire/session.ts';
import { KeyStoreError, type CardKeyStore } from '../key-store/key-store.ts';
import { FULL_MODE, WALLET, WALLET_KEYS, WALLET_RIGHTS } from '../layout.ts';
import { LOG_RECORD_BYTES } from '../log-record.ts';

/** All keys of one version of a card. */
export interface CardKeys {
  readonly version: number;
  readonly cardKeys: Readonly<Record<KeyNumber, Bytes>>;
  /** AppTMKey. */
  readonly transactionMacKey: Bytes;
}

/** `version`: the store's newest unless named. Throws KeyStoreError. */
export async function deriveCardKeys(store: CardKeyStore, uid: Bytes, version?: number): Promise<CardKeys> {
  const keyVersion = version ?? (await store.currentVersion());
  const derive = (keyNumber: KeyNumber | 'transaction-mac'): Promise<Bytes> => store.deriveCardKey(uid, keyNumber, keyVersion);
  const [k0, k1, k2, k3, k4, transactionMacKey] = await Promise.all([derive(0), derive(1), derive(2), derive(3), derive(4), derive('transaction-mac')]);
  return { version: keyVersion, cardKeys: { 0: k0, 1: k1, 2: k2, 3: k3, 4: k4 }, transactionMacKey };
}

export interface KeyState {
  readonly fileIds: Bytes;
  /** By key number. */
  readonly keyVersions: readonly number[];
}

/** Asks an authenticated card which files and key versions it has. `parse` throws `card/changed` unless its UID inside the session is `uid`. */
export function requestKeyState(session: CardSession, uid: Bytes) {
  const head = [session.seal(getCardUid()), session.seal(getFileIds())] as const;
  const versions = KEY_NUMBERS.map((keyNumber) => session.seal(getKeyVersion(keyNumber)));
  return {
    commands: commandsOf([...head, ...versions]),
    parse(responses: readonly Bytes[]): KeyState {
      const [uidInside, fileIds] = session.openBatch(head, responses.slice(0, head.length));
      const keyVersions = session.openBatch(versions, responses.slice(head.length));
      if (!equalBytes(uidInside, uid)) throw new Failure('card/changed', { detail: 'the card has another UID inside the session' });
      return { fileIds, keyVersions };
    },
  };
}

/**
 * Asks for the version of the key of the transaction-MAC file. Undefined if the card says it in another way than we know: the file is then made anew.
 * Trusted in a torn re-keying only: whoever made the file had key 0, and nothing can be committed before all keys are proved.
 */
export function requestTransactionMacVersion(session: CardSession) {
  const settings = session.seal(getFileSettings(WALLET.transactionMacFile));
  return {
    commands: commandsOf([settings]),
    /** FileType 05, FileOption, rights(2), TMKeyOption (AES), TMKeyVer. */
    parse(responses: readonly Bytes[]): number | undefined {
      const [answer] = session.openBatch([settings], responses);
      return answer[0] === 0x05 && answer[4] === 0x02 ? answer[5] : undefined;
    },
  };
}

export interface FileState {
  readonly logFile?: { readonly option: number; readonly accessRights: Bytes; readonly records: number };
  readonly valueFile?: { readonly option: number; readonly accessRights: Bytes; readonly lower: bigint; readonly upper: bigint; readonly valueOption: number };
}

/** Asks for the settings of the log and the value file, as far as `fileIds` has them: the question for a missing file would end the session. */
export function requestFileState(session: CardSession, fileIds: Bytes) {
  const settingsOf = (file: number) => (fileIds.includes(file) ? [session.seal(getFileSettings(file))] : []);
  const log = settingsOf(WALLET.logFile);
  const value = settingsOf(WALLET.valueFile);
  return {
    commands: commandsOf([...log, ...value]),
    parse(responses: readonly Bytes[]): FileState {
      const [logSettings] = session.openBatch(log, responses.slice(0, log.length));
      const [valueSettings] = session.openBatch(value, responses.slice(log.length));
      return {
        ...(logSettings === undefined ? {} : { logFile: parseLogSettings(logSettings) }),
        ...(valueSettings === undefined ? {} : { valueFile: parseValueSettings(valueSettings) }),
      };
    },
  };
}

/** FileType 04 (cyclic), FileOption, rights(2), RecordSize(3), MaxRecords(3), CurRecords(3). */
function parseLogSettings(settings: Bytes): FileState['logFile'] & object {
  if (settings.length !== 13 || settings[0] !== 0x04 || parseUintLE(settings.subarray(4, 7)) !== LOG_RECORD_BYTES) throw unsupported('file 01', settings);
  // One slot of a cyclic file is its shadow: two are the least that hold one record.
  if (parseUintLE(settings.subarray(7, 10)) < 2) throw unsupported('file 01', settings);
  return { option: settings[1] ?? 0, accessRights: settings.slice(2, 4), records: parseUintLE(settings.subarray(10, 13)) };
}

/** FileType 02 (value), FileOption, rights(2), lower(4), upper(4), LimitedCredit(4), option(1). */
function parseValueSettings(settings: Bytes): FileState['valueFile'] & object {
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
 * Gives the card `keys`, whatever mixture of versions a torn attempt has left: the transaction-MAC file anew, since its key cannot be changed nor proved
 * (nothing is committed between two attempts, so no count is used twice), then keys 1 to 4, and key 0 last unless it is of this version already.
 * An EV2 or EV3 never gets back the memory of a deleted file: `fileIsRenewed` leaves out what an earlier attempt has made, or attempts would use the card up.
 */
export async function renewKeys(state: KeyState, keys: CardKeys, uid: Bytes, keyStore: CardKeyStore, { masterIsRenewed, fileIsRenewed }: { readonly masterIsRenewed: boolean; readonly fileIsRenewed: boolean }): Promise<TypedCommand<unknown>[]> {
  const { transactionMacFile } = WALLET;
  const commands: TypedCommand<unknown>[] = [];
  if (!fileIsRenewed) {
    if (state.fileIds.includes(transactionMacFile)) commands.push(deleteFile(transactionMacFile));
    commands.push(createTransactionMacFile(transactionMacFile, FULL_MODE, WALLET_RIGHTS.transactionMacFile, keys.transactionMacKey, keys.version));
  }
  for (const keyNumber of KEY_NUMBERS) {
    if (keyNumber === WALLET_KEYS.master) continue;
    commands.push(changeOtherKey(keyNumber, await presumedKey(state, keyNumber, uid, keyStore), keys.cardKeys[keyNumber], keys.version));
  }
  if (!masterIsRenewed) commands.push(changeSessionKey(WALLET_KEYS.master, keys.cardKeys[WALLET_KEYS.master], keys.version));
  return commands;
}

/** A version says only what to presume: ChangeKey's checksum fails on the card unless it really holds this key, also where it is given the same again. */
async function presumedKey(state: KeyState, keyNumber: KeyNumber, uid: Bytes, keyStore: CardKeyStore): Promise<Bytes> {
  const version = state.keyVersions[keyNumber] ?? -1;
  try {
    return await keyStore.deriveCardKey(uid, keyNumber, version);
  } catch (cause) {
    throw notOurs(cause, `key ${keyNumber} has version ${version}`);
  }
}

/** For a version that the key store does not hold: the card has somebody else's keys. */
export function notOurs(cause: unknown, detail: string): unknown {
  return cause instanceof KeyStoreError ? new Failure('card/already-issued', { cause, detail }) : cause;
}
