/** CommitReaderID, CommitTransaction and AbortTransaction. */
import { applyTransaction, Transaction } from '../transaction.ts';
import { BLOCK_BYTES } from '../crypto.ts';
import { concatBytes, encodeUintLE } from '#protocol/bytes.ts';
import { deriveSesTmEncKey, encipherReaderId } from '../transaction-mac.ts';
import { fileAccess, isCounterUsedUp, requireDataAccess } from './file-access.ts';
import { GRANTS, NEVER } from '../access-rights.ts';
import { commitApplication, MAC_BOTH_WAYS, selectedApplication } from '../command.ts';
import { STATUS, StatusError } from '../status.ts';
import { transactionMacFile } from '../card-image.ts';
import type { Bytes } from '#protocol/bytes.ts';
import type { SecuredCommand } from '../command.ts';
import type { TransactionMacFile } from '../card-image.ts';

export const commitReaderId: SecuredCommand = {
  instruction: 0xc8,
  headerBytes: 0,
  dataBytes: [BLOCK_BYTES, BLOCK_BYTES],
  messaging: () => MAC_BOTH_WAYS,
  async execute(state, { instruction, data: readerId }) {
    const application = selectedApplication(state);
    const file = transactionMacFile(application);
    if (file === undefined || state.transaction.readerId !== undefined || isCounterUsedUp(application)) throw new StatusError('PERMISSION_DENIED');
    requireDataAccess(state, file, fileAccess(state, file, GRANTS.commitReaderId));
    const authenticated = state.session !== undefined;
    const enciphered = authenticated ? await encipheredReaderId(file, state.memory.image.uid) : new Uint8Array();
    state.transaction.readerId = { readerId, authenticated };
    state.transaction.appendToTmi(application, concatBytes(new Uint8Array([instruction]), readerId, enciphered));
    return { data: enciphered };
  },
};

async function encipheredReaderId({ appTmKey, counter, readerId }: TransactionMacFile, uid: Bytes): Promise<Bytes> {
  return encipherReaderId(await deriveSesTmEncKey(appTmKey, counter + 1, uid), readerId);
}

/** Option byte of CommitTransaction: answer with the new TMC and TMV. */
const RETURN_TMC_AND_TMV = 0x01;

export const commitTransaction: SecuredCommand = {
  instruction: 0xc7,
  headerBytes: 0,
  dataBytes: [0, 1],
  messaging: () => MAC_BOTH_WAYS,
  async execute(state, { data: [option = 0] }) {
    const { transaction } = state;
    const application = selectedApplication(state);
    const macFile = transactionMacFile(application);
    if (option > RETURN_TMC_AND_TMV) throw new StatusError('PARAMETER_ERROR');
    if (option === RETURN_TMC_AND_TMV && macFile === undefined) throw new StatusError('PERMISSION_DENIED');
    if (transaction.isEmpty) return { status: STATUS[state.profile.emptyTransaction] };
    if (isCounterUsedUp(application)) throw new StatusError('PERMISSION_DENIED');
    // Reader-id commitment is on unless the file's ReadWrite right is NEVER.
    if (macFile !== undefined && macFile.rights.readWrite !== NEVER && transaction.readerId === undefined) throw new StatusError('PERMISSION_DENIED');
    await commitApplication(state, await applyTransaction(application, state.memory.image.uid, transaction));
    state.transaction = new Transaction();
    state.report({ kind: 'committed', ...transaction.contains, receivedAt: state.receivedAt, at: state.now() });
    const committed = transactionMacFile(selectedApplication(state));
    if (option !== RETURN_TMC_AND_TMV || committed === undefined) return {};
    return { data: concatBytes(encodeUintLE(committed.counter, 4), committed.tmv) };
  },
};

export const abortTransaction: SecuredCommand = {
  instruction: 0xa7,
  headerBytes: 0,
  messaging: () => MAC_BOTH_WAYS,
  execute(state) {
    const status = state.transaction.isEmpty ? STATUS[state.profile.emptyTransaction] : STATUS.OPERATION_OK;
    state.transaction = new Transaction();
    return { status };
  },
};
