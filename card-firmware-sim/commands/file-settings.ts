/** GetFileIDs, GetISOFileIDs, GetFileSettings and ChangeFileSettings. */
import { areKnownKeys, encodeAccessRights, GRANTS, NEVER, parseAccessRights, requireGranted } from '../access-rights.ts';
import { COMM_MODE } from '../secure-messaging.ts';
import { concatBytes, encodeUintLE, parseUintLE } from '#protocol/bytes.ts';
import { encodeInt32LE, withFile } from '../card-image.ts';
import { commitApplication, ENCIPHERED_REQUEST, MAC_BOTH_WAYS, PLAIN, selectedApplication } from '../command.ts';
import { fileAccess, requireFile } from './file-access.ts';
import { requireListing } from './management.ts';
import { StatusError } from '../status.ts';
import type { Bytes } from '#protocol/bytes.ts';
import type { CardFile, TransactionMacFile } from '../card-image.ts';
import type { CommMode } from '../secure-messaging.ts';
import type { Profile } from '../profile.ts';
import type { SecuredCommand } from '../command.ts';

/** FileOption: bits 1..0 communication mode, bit 5 a limit of the transaction counter follows; nothing else on a Light. */
export const MODE_BITS = 0x03;
export const MAX_FILE_NUMBER = 0x1f;
const HAS_COUNTER_LIMIT = 0x20;
/** TMKeyOption: an AES key. */
export const AES_TM_KEY = 0x02;

export const getFileIds: SecuredCommand = {
  instruction: 0x6f,
  headerBytes: 0,
  messaging: () => MAC_BOTH_WAYS,
  execute(state) {
    requireListing(state);
    return { data: new Uint8Array(selectedApplication(state).files.map((file) => file.number)) };
  },
};

export const getIsoFileIds: SecuredCommand = {
  instruction: 0x61,
  headerBytes: 0,
  messaging: () => MAC_BOTH_WAYS,
  execute(state) {
    requireListing(state);
    return { data: concatBytes(...selectedApplication(state).files.flatMap((file) => ('isoId' in file && file.isoId !== undefined ? [encodeUintLE(file.isoId, 2)] : []))) };
  },
};

export const getFileSettings: SecuredCommand = {
  instruction: 0xf5,
  headerBytes: 1,
  messaging: () => MAC_BOTH_WAYS,
  execute(state, { header }) {
    requireListing(state);
    return { data: encodeFileSettings(requireFile(state, header[0]), state.profile) };
  },
};

function encodeFileSettings(file: CardFile, { valueOptionShown, counterLimitShown }: Profile): Bytes {
  const begin = (type: number, option: number = file.mode): Bytes => concatBytes(new Uint8Array([type, option]), encodeAccessRights(file.rights));
  switch (file.type) {
    case 'standard':
    case 'backup':
      return concatBytes(begin(file.type === 'standard' ? 0x00 : 0x01), encodeUintLE(file.content.length, 3));
    case 'value': {
      const options = (file.limitedCreditEnabled ? 1 : 0) | (file.freeGetValue && valueOptionShown === 'both' ? 2 : 0);
      const values = [file.lower, file.upper, file.limitedCredit].map(encodeInt32LE);
      return concatBytes(begin(0x02), ...values, new Uint8Array([options]));
    }
    case 'linear':
    case 'cyclic':
      return concatBytes(begin(file.type === 'linear' ? 0x03 : 0x04), encodeUintLE(file.recordBytes, 3), encodeUintLE(file.maxRecords, 3), encodeUintLE(file.records.length, 3));
    case 'transaction-mac': {
      const shown = counterLimitShown ? file.counterLimit : undefined;
      const limit = shown === undefined ? new Uint8Array() : encodeUintLE(shown, 4);
      const option = shown === undefined ? file.mode : file.mode | HAS_COUNTER_LIMIT;
      return concatBytes(begin(0x05, option), new Uint8Array([AES_TM_KEY, file.keyVersion]), limit);
    }
  }
}

/** FileOption and two bytes of rights, and for the transaction-MAC file four of counter limit. */
const SETTINGS_BYTES = 3;
const COUNTER_LIMIT_BYTES = 4;

export const changeFileSettings: SecuredCommand = {
  instruction: 0x5f,
  headerBytes: 1,
  dataBytes: [SETTINGS_BYTES, SETTINGS_BYTES + COUNTER_LIMIT_BYTES],
  messaging: (state, header) => (fileAccess(state, requireFile(state, header[0]), GRANTS.changeSettings) === 'free' ? PLAIN : ENCIPHERED_REQUEST),
  async execute(state, { header, data }) {
    const file = requireFile(state, header[0]);
    requireGranted(fileAccess(state, file, GRANTS.changeSettings));
    const [option = 0] = data;
    const hasCounterLimit = file.type === 'transaction-mac' && (option & HAS_COUNTER_LIMIT) !== 0;
    if (data.length !== SETTINGS_BYTES + (hasCounterLimit ? COUNTER_LIMIT_BYTES : 0)) throw new StatusError('LENGTH_ERROR');
    if ((option & ~(hasCounterLimit ? MODE_BITS | HAS_COUNTER_LIMIT : MODE_BITS)) !== 0) throw new StatusError('PARAMETER_ERROR');
    const rights = parseAccessRights(data.subarray(1));
    const isReadOnlyType = file.type === 'transaction-mac';
    if (!areKnownKeys(rights, selectedApplication(state).keys.length) || (isReadOnlyType && rights.write !== NEVER)) throw new StatusError('PARAMETER_ERROR');
    const settings = { mode: parseCommMode(option), rights };
    const counterLimit = hasCounterLimit ? parseUintLE(data.subarray(SETTINGS_BYTES)) : undefined;
    const changed = file.type === 'transaction-mac' ? withCounterLimit({ ...file, ...settings }, counterLimit) : { ...file, ...settings };
    await commitApplication(state, withFile(selectedApplication(state), changed));
    return {};
  },
};

function withCounterLimit(file: TransactionMacFile, counterLimit: number | undefined): TransactionMacFile {
  // A limit below what is counted already could never be reached.
  if (counterLimit !== undefined && counterLimit < file.counter) throw new StatusError('PARAMETER_ERROR');
  return { ...file, counterLimit };
}

/** Both even values of the two mode bits mean plain. */
export function parseCommMode(option: number): CommMode {
  if ((option & 1) === 0) return COMM_MODE.PLAIN;
  return (option & 2) === 0 ? COMM_MODE.MAC : COMM_MODE.FULL;
}
