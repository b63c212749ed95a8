/** What a card that is to be issued still needs, and whether it is set up as an issued card of ours is. */
import { equalBytes, type Bytes } from '#protocol/bytes.ts';
import { Failure } from '#protocol/failure.ts';
import { renewKeys, type CardKeys, type FileState, type KeyState } from './card-state.ts';
import { changeFileSettings, configureValueFile, createCyclicRecordFile, createValueFile, encodeAccessRights } from '../desfire/commands.ts';
import type { TypedCommand } from '../desfire/session.ts';
import type { CardKeyStore } from '../key-store/key-store.ts';
import { FULL_MODE, WALLET, WALLET_RIGHTS } from '../layout.ts';
import { LOG_RECORD_BYTES } from '../log-record.ts';

/** The upper limit that the factory sets on a Light; a card of ours has a smaller one, so that it can be told whether ours is set. */
export const FACTORY_LIMIT_MINOR = 0x7fffffffn;

/** As a Light's log, on a card whose files we create: four records and the shadow of the next. */
const LOG_FILE = { isoFileId: 0xef01, maxRecords: 5 } as const;

interface Factory {
  readonly keyState: KeyState;
  readonly fileState: FileState;
  readonly keys: CardKeys;
  readonly uid: Bytes;
  readonly keyStore: CardKeyStore;
  readonly limitMinor: bigint;
}

/**
 * What a card whose key 0 is the factory's still needs, key 0 last: every command of an issuing that was torn is either
 * repeated without harm or left out because its effect shows. A Light has its files from the factory, any other card has none.
 */
export async function configureCard({ keyState, fileState, keys, uid, keyStore, limitMinor }: Factory): Promise<readonly TypedCommand<unknown>[]> {
  const { logFile, valueFile } = fileState;
  const commands: TypedCommand<unknown>[] = [];
  if (valueFile === undefined) {
    commands.push(createValueFile(WALLET.valueFile, FULL_MODE, WALLET_RIGHTS.valueFile, 0n, limitMinor, 0n));
  } else {
    // SetConfiguration 09 works once in a card's life. A card prepared by somebody else shows in its limit here, or in its balance later.
    if (valueFile.upper !== limitMinor) commands.push(configureValueFile(WALLET.valueFile, 0n, limitMinor, 0n, 0x00));
    if (!hasSettings(valueFile, WALLET_RIGHTS.valueFile)) commands.push(changeFileSettings(WALLET.valueFile, FULL_MODE, WALLET_RIGHTS.valueFile));
  }
  if (logFile === undefined) commands.push(createCyclicRecordFile(WALLET.logFile, LOG_FILE.isoFileId, FULL_MODE, WALLET_RIGHTS.logFile, LOG_RECORD_BYTES, LOG_FILE.maxRecords));
  else if (!hasSettings(logFile, WALLET_RIGHTS.logFile)) commands.push(changeFileSettings(WALLET.logFile, FULL_MODE, WALLET_RIGHTS.logFile));
  // The factory's transaction-MAC file asks for a reader id before every commit and has a key that everybody knows: it must go before anything is committed.
  return [...commands, ...(await renewKeys(keyState, keys, uid, keyStore, { masterIsRenewed: false, fileIsRenewed: false }))];
}

function hasSettings({ option, accessRights }: { readonly option: number; readonly accessRights: Bytes }, expectedRights: number): boolean {
  return option === FULL_MODE && equalBytes(accessRights, encodeAccessRights(expectedRights));
}

/** Throws `card/unsupported` unless the card is set up as an issued card of ours is; answers its files. */
export function verifyConfiguredCard(keyState: KeyState, { logFile, valueFile }: FileState, keys: CardKeys, limitMinor: bigint): Required<FileState> {
  const hasKeys = keyState.keyVersions.every((version) => version === keys.version) && keyState.fileIds.includes(WALLET.transactionMacFile);
  if (
    !hasKeys || logFile === undefined || valueFile === undefined ||
    !hasSettings(logFile, WALLET_RIGHTS.logFile) || !hasSettings(valueFile, WALLET_RIGHTS.valueFile) ||
    valueFile.lower !== 0n || valueFile.upper !== limitMinor || valueFile.valueOption !== 0x00
  ) {
    throw new Failure('card/unsupported', { detail: 'the card is not set up as it was told' });
  }
  return { logFile, valueFile };
}
