/** ReadData of standard files and of the transaction-MAC file, and WriteData, which is permanent at once and part of no transaction. */
import { concatBytes, encodeUintLE } from '#protocol/bytes.ts';
import { fileAccess, fileMessaging, parseRange, requireDataAccess, requireFile, requireFileOfType } from './file-access.ts';
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
      state.transaction.appendToTmi(state.memory.image, described, data);
    }
    return { data };
  },
};

function readableContent(file: CardFile): Bytes {
  if (file.type === 'standard') return file.content;
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
    const file = requireFileOfType(state, header[0], 'standard');
    requireDataAccess(state, file, fileAccess(state, file, GRANTS.writeData));
    const { first: offset } = parseRange(header);
    if (data.length === 0) throw new StatusError('PARAMETER_ERROR');
    if (offset + data.length > file.content.length) throw new StatusError('BOUNDARY_ERROR');
    const content = new Uint8Array(file.content);
    content.set(data, offset);
    await state.memory.commit(withFile(state.memory.image, { ...file, content }));
    state.transaction.appendToTmi(state.memory.image, concatBytes(new Uint8Array([instruction]), header), data);
    return {};
  },
};
