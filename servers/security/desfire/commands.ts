/** The card commands that we use, each as its header, data, protection and the reading of its answer (MF2DL(H)x0, section 11). */
import { crc32 } from 'node:zlib';
import { concatBytes, encodeUintLE, parseUintLE, type Bytes } from '#protocol/bytes.ts';
import { Failure } from '#protocol/failure.ts';
import type { KeyNumber } from './authentication.ts';
import { xorBytes } from './cmac.ts';
import { INS } from './instructions.ts';
import { encodeInt32LE, TRANSACTION_MAC_BYTES, UID_BYTES } from './transaction-mac.ts';
import type { TypedCommand } from './session.ts';

const NO_DATA: Bytes = new Uint8Array();

/** All files of the wallet are in full mode: what is read comes enciphered, what is written goes enciphered. */
function read<T>(instruction: number, header: Bytes, parse: (data: Bytes) => T): TypedCommand<T> {
  return { instruction, header, data: NO_DATA, protection: 'mac', answer: 'full', parse };
}

function write(instruction: number, header: Bytes, data: Bytes): TypedCommand<void> {
  return { instruction, header, data, protection: 'full', answer: 'mac', parse: parseNothing };
}

/** Commands of no file: authenticated both ways, enciphered neither way. */
function plainly<T>(instruction: number, header: Bytes, parse: (data: Bytes) => T): TypedCommand<T> {
  return { instruction, header, data: NO_DATA, protection: 'mac', answer: 'mac', parse };
}

export function getCardUid(): TypedCommand<Bytes> {
  return read(INS.GetCardUID, NO_DATA, (data) => exactly(data, UID_BYTES));
}

/** Committed value of a value file, signed 32 bit. */
export function getValue(file: number): TypedCommand<bigint> {
  return read(INS.GetValue, Uint8Array.of(file), (data) => parseInt32LE(exactly(data, 4)));
}

/** `amount` 0 to 2^31 - 1. */
export function credit(file: number, amount: bigint): TypedCommand<void> {
  return write(INS.Credit, Uint8Array.of(file), encodeInt32LE(amount));
}

/** `amount` 0 to 2^31 - 1. */
export function debit(file: number, amount: bigint): TypedCommand<void> {
  return write(INS.Debit, Uint8Array.of(file), encodeInt32LE(amount));
}

/** The newest `count` records of a file, newest first; 0 stands for all that there are. An empty file answers a boundary error. */
export function readNewestRecords(file: number, count: number, recordBytes: number): TypedCommand<readonly Bytes[]> {
  const header = concatBytes(Uint8Array.of(file), encodeUintLE(0, 3), encodeUintLE(count, 3));
  return read(INS.ReadRecords, header, (data) => {
    const answered = count === 0 ? Math.floor(data.length / recordBytes) : count;
    if (answered === 0) throw new Failure('card/answer', { detail: 'no record where at least one belongs' });
    const records = exactly(data, answered * recordBytes);
    // Several come oldest first (MF2DL(H)x0, ReadRecords).
    return Array.from({ length: answered }, (_, place) => records.slice(place * recordBytes, (place + 1) * recordBytes)).reverse();
  });
}

export function writeRecord(file: number, offset: number, data: Bytes): TypedCommand<void> {
  return write(INS.WriteRecord, concatBytes(Uint8Array.of(file), encodeUintLE(offset, 3), encodeUintLE(data.length, 3)), data);
}

/** TMC and TMV: of the last committed transaction when read from the file, of this one when answered to a commit. */
export interface TransactionProof {
  readonly transactionCounter: number;
  readonly transactionMac: Bytes;
}

/** ReadData over a whole TransactionMAC file. */
export function readTransactionMac(file: number): TypedCommand<TransactionProof> {
  const header = concatBytes(Uint8Array.of(file), encodeUintLE(0, 3), encodeUintLE(4 + TRANSACTION_MAC_BYTES, 3));
  return read(INS.ReadData, header, parseTransactionProof);
}

/** CommitTransaction with option 01: the answer carries TMC and TMV. */
export function commitTransaction(): TypedCommand<TransactionProof> {
  return plainly(INS.CommitTransaction, Uint8Array.of(0x01), parseTransactionProof);
}

export function getKeyVersion(keyNumber: KeyNumber): TypedCommand<number> {
  return plainly(INS.GetKeyVersion, Uint8Array.of(keyNumber), (data) => parseUintLE(exactly(data, 1)));
}

export function getFileIds(): TypedCommand<Bytes> {
  return plainly(INS.GetFileIDs, NO_DATA, (data) => data);
}

export function getFileSettings(file: number): TypedCommand<Bytes> {
  return plainly(INS.GetFileSettings, Uint8Array.of(file), (data) => data);
}

/** Access rights as on the wire: ReadWrite, Change, Read, Write, a nibble each. */
export function changeFileSettings(file: number, option: number, accessRights: number): TypedCommand<void> {
  return write(INS.ChangeFileSettings, Uint8Array.of(file), concatBytes(Uint8Array.of(option), encodeAccessRights(accessRights)));
}

/** SetConfiguration 09: allowed once in a card's life. `option` 00: no LimitedCredit, no free GetValue. */
export function configureValueFile(file: number, lower: bigint, upper: bigint, value: bigint, option: number): TypedCommand<void> {
  const data = concatBytes(Uint8Array.of(file), encodeInt32LE(lower), encodeInt32LE(upper), encodeInt32LE(value), Uint8Array.of(option));
  return write(INS.SetConfiguration, Uint8Array.of(0x09), data);
}

export function deleteFile(file: number): TypedCommand<void> {
  return plainly(INS.DeleteFile, Uint8Array.of(file), parseNothing);
}

export function createTransactionMacFile(file: number, option: number, accessRights: number, transactionMacKey: Bytes, keyVersion: number): TypedCommand<void> {
  const aesKey = 0x02;
  const header = concatBytes(Uint8Array.of(file, option), encodeAccessRights(accessRights), Uint8Array.of(aesKey));
  return write(INS.CreateTransactionMACFile, header, concatBytes(transactionMacKey, Uint8Array.of(keyVersion)));
}

/** The card level or an application: KeySett1 says what goes without its master key, or goes at all. */
export function changeKeySettings(keySettings: number): TypedCommand<void> {
  return write(INS.ChangeKeySettings, NO_DATA, Uint8Array.of(keySettings));
}

export interface NewApplication {
  /** 3 bytes, as on the wire. */
  readonly applicationId: Bytes;
  readonly keySettings: number;
  /** AES keys, 1 to 14. */
  readonly keys: number;
  readonly isoFileId: number;
  /** DF name, 1 to 16 bytes. */
  readonly name: Bytes;
}

/** An application whose files have ISO identifiers; its keys are zero. */
export function createApplication({ applicationId, keySettings, keys, isoFileId, name }: NewApplication): TypedCommand<void> {
  const aesKeysWithIsoIds = 0xa0;
  return plainly(INS.CreateApplication, concatBytes(applicationId, Uint8Array.of(keySettings, aesKeysWithIsoIds | keys), encodeUintLE(isoFileId, 2), name), parseNothing);
}

/** `maxRecords`: one of them is the shadow of the next write. */
export function createCyclicRecordFile(file: number, isoFileId: number, option: number, accessRights: number, recordBytes: number, maxRecords: number): TypedCommand<void> {
  const settings = concatBytes(Uint8Array.of(option), encodeAccessRights(accessRights), encodeUintLE(recordBytes, 3), encodeUintLE(maxRecords, 3));
  return plainly(INS.CreateCyclicRecordFile, concatBytes(Uint8Array.of(file), encodeUintLE(isoFileId, 2), settings), parseNothing);
}

/** No LimitedCredit, no free GetValue. */
export function createValueFile(file: number, option: number, accessRights: number, lower: bigint, upper: bigint, value: bigint): TypedCommand<void> {
  const limits = concatBytes(encodeInt32LE(lower), encodeInt32LE(upper), encodeInt32LE(value), Uint8Array.of(0x00));
  return plainly(INS.CreateValueFile, concatBytes(Uint8Array.of(file, option), encodeAccessRights(accessRights), limits), parseNothing);
}

/** ChangeKey of another key than the session's: the card refuses unless `oldKey` is what it holds (the CRC is over the new key). */
export function changeOtherKey(keyNumber: KeyNumber, oldKey: Bytes, newKey: Bytes, newVersion: number): TypedCommand<void> {
  const data = concatBytes(xorBytes(newKey, oldKey), Uint8Array.of(newVersion), encodeUintLE(keyChecksum(newKey), 4));
  return write(INS.ChangeKey, Uint8Array.of(keyNumber), data);
}

/** ChangeKey of the session's own key: the last command of its session, answered without a MAC and so without proof. */
export function changeSessionKey(keyNumber: KeyNumber, newKey: Bytes, newVersion: number): TypedCommand<void> {
  return { ...write(INS.ChangeKey, Uint8Array.of(keyNumber), concatBytes(newKey, Uint8Array.of(newVersion))), answer: 'none' };
}

/** What ends the data of a ChangeKey: CRC-32 without its last inversion, over the key alone, or over the whole command under a key of the older kind. */
export function keyChecksum(data: Bytes): number {
  return (crc32(data) ^ 0xffffffff) >>> 0;
}

export function encodeAccessRights(accessRights: number): Bytes {
  return Uint8Array.of(accessRights >> 8, accessRights & 0xff);
}

function parseTransactionProof(data: Bytes): TransactionProof {
  const proof = exactly(data, 4 + TRANSACTION_MAC_BYTES);
  return { transactionCounter: parseUintLE(proof.subarray(0, 4)), transactionMac: proof.slice(4) };
}

export function parseInt32LE(data: Bytes): bigint {
  return BigInt.asIntN(32, BigInt(parseUintLE(data)));
}

function parseNothing(data: Bytes): void {
  exactly(data, 0);
}

function exactly(data: Bytes, length: number): Bytes {
  if (data.length !== length) throw new Failure('card/answer', { detail: `${data.length} bytes where ${length} belong` });
  return data;
}
