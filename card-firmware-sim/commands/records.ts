/** ReadRecords and WriteRecord of cyclic and linear logs. */
import { concatBytes, encodeUintLE } from '#protocol/bytes.ts';
import { fileAccess, fileMessaging, parseRange, requireDataAccess, requireFile, requireRecordFile } from './file-access.ts';
import { GRANTS } from '../access-rights.ts';
import { selectedApplication } from '../command.ts';
import { StatusError } from '../status.ts';
import { usableRecords } from '../card-image.ts';
import type { SecuredCommand } from '../command.ts';

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
    const record = new Uint8Array(state.transaction.records.get(file.number) ?? new Uint8Array(file.recordBytes));
    record.set(data, offset);
    state.transaction.records.set(file.number, record);
    state.transaction.appendToTmi(selectedApplication(state), concatBytes(new Uint8Array([instruction]), header), data);
    return {};
  },
};
