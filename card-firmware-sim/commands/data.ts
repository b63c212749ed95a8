/** ReadData of data files and of the transaction-MAC file, and WriteData: at once permanent in a standard file, through the transaction in a backup file. */
import { commitApplication, selectedApplication } from '../command.ts';
import { concatBytes, encodeUintLE } from '#protocol/bytes.ts';
import { fileAccess, fileMessaging, parseRange, requireDataAccess, requireFile } from './file-access.ts';
import { GRANTS } from '../access-rights.ts';
import { StatusError } from '../status.ts';
import { withFile } from '../card-image.ts';
import type { Bytes } from '#protocol/bytes.ts';
import type { CardFile } from '../card-image.ts';
import type { SecuredCommand } from '../command.ts';

export const readData: SecuredCommand = {
  instruction: 0xad,
  headerBytes: 7,
  messaging(state, header) {
    const file = requireFile(state, header[0]);
    return fileMessaging(file, fileAccess(state, file, GRANTS.readData), 'read');
  },
  execute(state, { instruction, header }) {
    const file = requireFile(state, header[0]);
    const content = readableContent(file);
    requireDataAccess(state, file, fileAccess(state, file, GRANTS.readData));
    const { first: offset, second: wanted } = parseRange(header);
    if (offset >= content.length || offset + wanted > content.length) throw new StatusError('BOUNDARY_ERROR');
    const data = content.slice(offset, wanted === 0 ? content.length : offset + wanted);
    // Reading TMC and TMV changes nothing about the transaction that they describe.
    if (file.type !== 'transaction-mac') {
      const described = concatBytes(new Uint8Array([instruction]), header.subarray(0, 4), encodeUintLE(data.length, 3));
      state.transaction.appendToTmi(selectedApplication(state), described, data);
    }
    return { data };
  },
};

function readableContent(file: CardFile): Bytes {
  if (file.type === 'standard' || file.type === 'backup') return file.content;
  if (file.type === 'transaction-mac') return concatBytes(encodeUintLE(file.counter, 4), file.tmv);
  throw new StatusError('PERMISSION_DENIED');
}

export const writeData: SecuredCommand = {
  instruction: 0x8d,
  headerBytes: 7,
  dataBytes: (header) => [parseRange(header).second, parseRange(header).second],
  messaging(state, header) {
    const file = requireFile(state, header[0]);
    return fileMessaging(file, fileAccess(state, file, GRANTS.writeData), 'write');
  },
  async execute(state, { instruction, header, data }) {
    const file = requireFile(state, header[0]);
    if (file.type !== 'standard' && file.type !== 'backup') throw new StatusError('PERMISSION_DENIED');
    requireDataAccess(state, file, fileAccess(state, file, GRANTS.writeData));
    const { first: offset } = parseRange(header);
    if (data.length === 0) throw new StatusError('PARAMETER_ERROR');
    if (offset + data.length > file.content.length) throw new StatusError('BOUNDARY_ERROR');
    const content = new Uint8Array(state.transaction.contents.get(file.number) ?? file.content);
    content.set(data, offset);
    if (file.type === 'backup') state.transaction.contents.set(file.number, content);
    else await commitApplication(state, withFile(selectedApplication(state), { ...file, content }));
    state.transaction.appendToTmi(selectedApplication(state), concatBytes(new Uint8Array([instruction]), header), data);
    return {};
  },
};
