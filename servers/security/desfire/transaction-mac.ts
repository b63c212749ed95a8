/** The card's transaction MAC: what a commit authenticated, recomputable by whoever holds AppTMKey, without trust in terminal or session. */
import { AesCmac, BLOCK_BYTES, encryptCbc } from './cmac.ts';
import { INS } from './instructions.ts';
import { concatBytes, encodeUintLE, type Bytes } from '#protocol/bytes.ts';

export const UID_BYTES = 7;
export const TRANSACTION_MAC_BYTES = 8;
export const MAX_TRANSACTION_COUNTER = 0xffffffff;

/** What makes the session key of one committed transaction. */
export interface TransactionMacKeyInput {
  /** AppTMKey of this card. */
  readonly transactionMacKey: Bytes;
  readonly uid: Bytes;
  /** TMC as the commit reports it: the counter after the commit. */
  readonly transactionCounter: number;
}

/** SesTMMACKey (MF2DL(H)x0, transaction MAC). */
export function deriveTransactionMacSessionKey(input: TransactionMacKeyInput): Bytes {
  return sessionKey(0x5a, input);
}

/** SesTMENCKey, which enciphers the previous reader id. */
export function deriveTransactionEncryptionSessionKey(input: TransactionMacKeyInput): Bytes {
  return sessionKey(0xa5, input);
}

function sessionKey(label: number, { transactionMacKey, uid, transactionCounter }: TransactionMacKeyInput): Bytes {
  if (uid.length !== UID_BYTES) throw new RangeError('a card UID has 7 bytes');
  return new AesCmac(transactionMacKey).compute(Uint8Array.of(label, 0x00, 0x01, 0x00, 0x80), encodeUintLE(transactionCounter, 4), uid);
}

/** TMV over the whole TMI of a transaction. */
export function computeTransactionMac(input: TransactionMacKeyInput & { readonly transactionMacInput: Bytes }): Bytes {
  return new AesCmac(deriveTransactionMacSessionKey(input)).computeShort(input.transactionMacInput);
}

/** EncTMRI: the reader id of the last committed transaction, enciphered under SesTMENCKey. */
export function encryptPreviousReaderId(transactionEncryptionKey: Bytes, previousReaderId: Bytes): Bytes {
  return encryptCbc(transactionEncryptionKey, previousReaderId);
}

/** TMI of one GetValue: what was asked and what the card answered. */
export function getValueInput(file: number, value: bigint): Bytes {
  return alignedInput(Uint8Array.of(INS.GetValue, file), encodeInt32LE(value));
}

export function creditInput(file: number, amount: bigint): Bytes {
  return alignedInput(Uint8Array.of(INS.Credit, file), encodeInt32LE(amount));
}

export function debitInput(file: number, amount: bigint): Bytes {
  return alignedInput(Uint8Array.of(INS.Debit, file), encodeInt32LE(amount));
}

/** `count` is the number of records really answered (a request of 0 stands for all). */
export function readRecordsInput(file: number, record: number, count: number, records: Bytes): Bytes {
  return concatBytes(alignedInput(Uint8Array.of(INS.ReadRecords, file), encodeUintLE(record, 3), encodeUintLE(count, 3)), alignedInput(records));
}

export function writeRecordInput(file: number, offset: number, data: Bytes): Bytes {
  return concatBytes(alignedInput(Uint8Array.of(INS.WriteRecord, file), encodeUintLE(offset, 3), encodeUintLE(data.length, 3)), alignedInput(data));
}

/** CommitReaderID inside an authenticated session. */
export function commitReaderIdInput(readerId: Bytes, encryptedPreviousReaderId: Bytes): Bytes {
  return alignedInput(Uint8Array.of(INS.CommitReaderID), readerId, encryptedPreviousReaderId);
}

/** Every part is filled with zero bytes up to a whole block, so the TMI of a transaction is the parts one after the other. */
function alignedInput(...parts: readonly Uint8Array[]): Bytes {
  const content = concatBytes(...parts);
  const aligned = new Uint8Array(Math.ceil(content.length / BLOCK_BYTES) * BLOCK_BYTES);
  aligned.set(content);
  return aligned;
}

/** Signed 32-bit value of a value file, least significant byte first; throws RangeError outside its range. */
export function encodeInt32LE(value: bigint): Bytes {
  if (value < -0x80000000n || value > 0x7fffffffn) throw new RangeError('a value file holds 32 bits, signed');
  return encodeUintLE(BigInt.asUintN(32, value), 4);
}
