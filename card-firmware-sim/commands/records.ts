/** ReadRecords, WriteRecord, UpdateRecord and ClearRecordFile of cyclic and linear logs; what they change counts from the commit on. */
import { concatBytes, encodeUintLE, parseUintLE } from '#protocol/bytes.ts';
import { fileAccess, fileMessaging, parseRange, requireDataAccess, requireFile, requireRecordFile } from './file-access.ts';
import { GRANTS } from '../access-rights.ts';
import { MAC_BOTH_WAYS, selectedApplication } from '../command.ts';
import { StatusError } from '../status.ts';
import { usableRecords } from '../card-image.ts';
import type { Bytes } from '#protocol/bytes.ts';
import type { CardState, SecuredCommand } from '../command.ts';
import type { RecordChange } from '../transaction.ts';
import type { RecordFile } from '../card-image.ts';

export const readRecords: SecuredCommand = {
  instruction: 0xab,
  headerBytes: 7,
  messaging(state, header) {
    const file = requireFile(state, header[0]);
    return fileMessaging(file, fileAccess(state, file, GRANTS.readRecords), 'read');
  },
  execute(state, { instruction, header }) {
    const file = requireRecordFile(state, header[0]);
    requireDataAccess(state, file, fileAccess(state, file, GRANTS.readRecords));
    const { first: newest, second: wanted } = parseRange(header);
    // Record 0 is the newest; an empty file has no record at all to begin with.
    if (newest >= file.records.length) throw new StatusError('BOUNDARY_ERROR');
    const count = wanted === 0 ? file.records.length - newest : wanted;
    if (newest + count > file.records.length) throw new StatusError('BOUNDARY_ERROR');
    const data = concatBytes(...file.records.slice(newest, newest + count).reverse());
    const described = concatBytes(new Uint8Array([instruction]), header.subarray(0, 4), encodeUintLE(count, 3));
    state.transaction.appendToTmi(selectedApplication(state), described, data);
    return { data };
  },
};

export const writeRecord: SecuredCommand = {
  instruction: 0x8b,
  headerBytes: 7,
  dataBytes: (header) => [parseRange(header).second, parseRange(header).second],
  messaging(state, header) {
    const file = requireFile(state, header[0]);
    return fileMessaging(file, fileAccess(state, file, GRANTS.writeRecord), 'write');
  },
  execute(state, { instruction, header, data }) {
    const file = requireRecordFile(state, header[0]);
    requireDataAccess(state, file, fileAccess(state, file, GRANTS.writeRecord));
    const { first: offset } = parseRange(header);
    if (data.length === 0) throw new StatusError('PARAMETER_ERROR');
    if (offset + data.length > file.recordBytes) throw new StatusError('BOUNDARY_ERROR');
    if (file.type === 'linear' && file.records.length >= usableRecords(file)) throw new StatusError('BOUNDARY_ERROR');
    // One pending record a transaction: a second write goes over the first.
    const pending = pendingChange(state, file, 'append');
    state.transaction.records.set(file.number, { kind: 'append', record: overwritten(pending?.record ?? new Uint8Array(file.recordBytes), offset, data) });
    state.transaction.appendToTmi(selectedApplication(state), concatBytes(new Uint8Array([instruction]), header), data);
    return {};
  },
};

/** File number, record number, offset and length. */
const UPDATE_HEADER_BYTES = 10;

export const updateRecord: SecuredCommand = {
  instruction: 0xba,
  headerBytes: UPDATE_HEADER_BYTES,
  dataBytes: (header) => [parseUpdateLength(header), parseUpdateLength(header)],
  messaging(state, header) {
    const file = requireFile(state, header[0]);
    return fileMessaging(file, fileAccess(state, file, GRANTS.updateRecord), 'write');
  },
  execute(state, { instruction, header, data }) {
    const file = requireRecordFile(state, header[0]);
    requireDataAccess(state, file, fileAccess(state, file, GRANTS.updateRecord));
    const { first: recordNumber, second: offset } = parseRange(header);
    if (data.length === 0) throw new StatusError('PARAMETER_ERROR');
    const committed = file.records[recordNumber];
    if (committed === undefined || offset + data.length > file.recordBytes) throw new StatusError('BOUNDARY_ERROR');
    const pending = pendingChange(state, file, 'update');
    if (pending !== undefined && pending.recordNumber !== recordNumber) throw new StatusError('PERMISSION_DENIED');
    state.transaction.records.set(file.number, { kind: 'update', recordNumber, record: overwritten(pending?.record ?? committed, offset, data) });
    state.transaction.appendToTmi(selectedApplication(state), concatBytes(new Uint8Array([instruction]), header), data);
    return {};
  },
};

function parseUpdateLength(header: Uint8Array): number {
  return parseUintLE(header.subarray(7, UPDATE_HEADER_BYTES));
}

export const clearRecordFile: SecuredCommand = {
  instruction: 0xeb,
  headerBytes: 1,
  messaging: () => MAC_BOTH_WAYS,
  execute(state, { instruction, header }) {
    const file = requireRecordFile(state, header[0]);
    requireDataAccess(state, file, fileAccess(state, file, GRANTS.clearRecords));
    pendingChange(state, file, 'clear');
    state.transaction.records.set(file.number, { kind: 'clear' });
    state.transaction.appendToTmi(selectedApplication(state), concatBytes(new Uint8Array([instruction]), header));
    return {};
  },
};

/** The change of this kind that is open already, if any; 9D if it is of another kind. */
function pendingChange<K extends RecordChange['kind']>(state: CardState, file: RecordFile, kind: K): Extract<RecordChange, { kind: K }> | undefined {
  const pending = state.transaction.records.get(file.number);
  if (pending !== undefined && pending.kind !== kind) throw new StatusError('PERMISSION_DENIED');
  return pending as Extract<RecordChange, { kind: K }> | undefined;
}

function overwritten(record: Bytes, offset: number, data: Bytes): Bytes {
  const changed = new Uint8Array(record);
  changed.set(data, offset);
  return changed;
}
