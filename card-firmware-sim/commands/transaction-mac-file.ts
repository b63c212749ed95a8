/** DeleteFile and CreateTransactionMACFile; on a Light it is the one file that can be replaced, and so its key. */
import { AES_TM_KEY, MAX_FILE_NUMBER, MODE_BITS, parseCommMode } from './file-settings.ts';
import { areKnownKeys, NEVER, parseAccessRights } from '../access-rights.ts';
import { BLOCK_BYTES } from '../crypto.ts';
import { commitApplication, ENCIPHERED_REQUEST, MAC_BOTH_WAYS, selectedApplication } from '../command.ts';
import { fileBytes, freeBytes } from '../memory-use.ts';
import { findFile, transactionMacFile } from '../card-image.ts';
import { requireCreateDelete } from './management.ts';
import { requireFile } from './file-access.ts';
import { StatusError } from '../status.ts';
import { Transaction } from '../transaction.ts';
import type { SecuredCommand } from '../command.ts';
import type { TransactionMacFile } from '../card-image.ts';

export const deleteFile: SecuredCommand = {
  instruction: 0xdf,
  headerBytes: 1,
  messaging: () => MAC_BOTH_WAYS,
  async execute(state, { header }) {
    requireCreateDelete(state);
    const file = requireFile(state, header[0]);
    const { hasFreeFiles } = state.profile;
    if (!hasFreeFiles && file.type !== 'transaction-mac') throw new StatusError('PERMISSION_DENIED');
    const application = selectedApplication(state);
    const { picc } = state.memory.image;
    const lostBytes = picc.lostBytes + (hasFreeFiles ? fileBytes(file) : 0);
    await commitApplication(state, { ...application, files: application.files.filter((other) => other !== file) }, { ...picc, lostBytes });
    // What was open belonged to the file, or to the counter and key, that are gone.
    state.transaction = new Transaction();
    return {};
  },
};

export const createTransactionMacFile: SecuredCommand = {
  instruction: 0xce,
  headerBytes: 5,
  dataBytes: [BLOCK_BYTES + 1, BLOCK_BYTES + 1],
  messaging: () => ENCIPHERED_REQUEST,
  async execute(state, { header, data }) {
    requireCreateDelete(state);
    const [number = 0, option = 0] = header;
    const rights = parseAccessRights(header.subarray(2));
    const isKnownOption = (option & ~MODE_BITS) === 0 && header[4] === AES_TM_KEY && number <= MAX_FILE_NUMBER;
    if (!isKnownOption || !areKnownKeys(rights, selectedApplication(state).keys.length) || rights.write !== NEVER) throw new StatusError('PARAMETER_ERROR');
    const application = selectedApplication(state);
    if (findFile(application, number) !== undefined) throw new StatusError('DUPLICATE_ERROR');
    if (transactionMacFile(application) !== undefined) throw new StatusError('PERMISSION_DENIED');
    const file: TransactionMacFile = {
      type: 'transaction-mac',
      number,
      mode: parseCommMode(option),
      rights,
      appTmKey: data.slice(0, BLOCK_BYTES),
      keyVersion: data[BLOCK_BYTES] ?? 0,
      counter: 0,
      tmv: new Uint8Array(8),
      readerId: new Uint8Array(BLOCK_BYTES),
      counterLimit: undefined,
    };
    const { hasFreeFiles } = state.profile;
    if (hasFreeFiles && fileBytes(file) > freeBytes(state.memory.image, state.profile)) throw new StatusError('OUT_OF_MEMORY');
    // AN12343 lists the one of a Light before its other files.
    await commitApplication(state, { ...application, files: hasFreeFiles ? [...application.files, file] : [file, ...application.files] });
    state.transaction = new Transaction();
    return {};
  },
};
