/** A TMI read back: what our commands leave in it comes out, and anything else is refused. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { concatBytes, encodeHex, parseHex, type Bytes } from '#protocol/bytes.ts';
import { creditInput, debitInput, getValueInput, readRecordsInput, writeRecordInput } from './desfire/transaction-mac.ts';
import { encodeLogRecord } from './log-record.ts';
import { parseTransactionInput } from './transaction-input.ts';

const record = { operationId: parseHex('1112131415161718'), amountMinor: 420n, timeSeconds: 1_800_000_000 };
const written = writeRecordInput(1, 0, encodeLogRecord(record));
const newest = readRecordsInput(1, 0, 1, new Uint8Array(16).fill(7));
const whole = concatBytes(getValueInput(3, 5000n), newest, written, debitInput(3, 420n));
const refused = expect.objectContaining({ code: 'message/malformed' }) as Error;

describe('a TMI', () => {
  it('is what was read, one record and one change of the value', () => {
    expect(parseTransactionInput(whole)).toEqual({ balanceBeforeMinor: 5000n, record, change: 'debit', amountMinor: 420n });
    expect(parseTransactionInput(concatBytes(newest, written, debitInput(3, 420n)))).toEqual({ record, change: 'debit', amountMinor: 420n });
    expect(parseTransactionInput(concatBytes(written, creditInput(3, 9n)))).toEqual({ record, change: 'credit', amountMinor: 9n });
  });

  it('comes back from anything that we commit', () => {
    const anyRecord = fc.record({ operationId: fc.uint8Array({ minLength: 8, maxLength: 8 }).map((id): Bytes => new Uint8Array(id)), amountMinor: fc.bigInt(0n, 0xffffffffn), timeSeconds: fc.nat(0xffffffff) });
    const anyRead = fc.option(fc.array(fc.uint8Array({ minLength: 16, maxLength: 16 }), { minLength: 1, maxLength: 4 }), { nil: undefined });
    fc.assert(
      fc.property(anyRecord, fc.bigInt(0n, 0x7fffffffn), fc.option(fc.bigInt(0n, 0x7fffffffn), { nil: undefined }), anyRead, fc.boolean(), (made, amountMinor, balance, read, isDebit) => {
        const input = concatBytes(
          balance === undefined ? new Uint8Array() : getValueInput(3, balance),
          read === undefined ? new Uint8Array() : readRecordsInput(1, 0, read.length, concatBytes(...read)),
          writeRecordInput(1, 0, encodeLogRecord(made)),
          isDebit ? debitInput(3, amountMinor) : creditInput(3, amountMinor),
        );
        expect(parseTransactionInput(input)).toEqual({ ...(balance === undefined ? {} : { balanceBeforeMinor: balance }), record: made, change: isDebit ? 'debit' : 'credit', amountMinor });
      }),
    );
  });

  it.each<[string, Bytes]>([
    ['nothing', new Uint8Array()],
    ['no record', concatBytes(getValueInput(3, 1n), debitInput(3, 1n))],
    ['no change', concatBytes(newest, written)],
    ['a reading after the record', concatBytes(written, getValueInput(3, 1n), debitInput(3, 1n))],
    ['two changes', concatBytes(written, debitInput(3, 1n), debitInput(3, 1n))],
    ['a debit and a credit', concatBytes(written, debitInput(3, 1n), creditInput(3, 1n))],
    ['two records', concatBytes(written, written, debitInput(3, 1n))],
    ['another value file', concatBytes(written, debitInput(4, 420n))],
    ['another record file', concatBytes(writeRecordInput(2, 0, encodeLogRecord(record)), debitInput(3, 420n))],
    ['part of a record', concatBytes(writeRecordInput(1, 4, new Uint8Array(12)), debitInput(3, 420n))],
    ['another command', concatBytes(parseHex('1C03A4010000'), new Uint8Array(10))],
  ])('of %s is refused', (_what, input) => {
    expect(() => parseTransactionInput(input)).toThrow(refused);
  });

  it('is refused with a byte less or more, and never read as the same with another byte', () => {
    for (let length = 0; length < whole.length; length++) expect(() => parseTransactionInput(whole.slice(0, length))).toThrow(refused);
    expect(() => parseTransactionInput(concatBytes(whole, new Uint8Array(1)))).toThrow(refused);
    const readBefore = 16 + 16;
    for (let at = 0; at < whole.length; at++) {
      // What stood in the records that were read is no part of what was committed.
      if (at >= readBefore && at < readBefore + 16) continue;
      const other = whole.slice();
      other[at] = (other[at] ?? 0) ^ 0x40;
      const outcome = (() => {
        try {
          return parseTransactionInput(other);
        } catch (cause) {
          expect(cause).toEqual(refused);
          return undefined;
        }
      })();
      expect(outcome, `byte ${at} of ${encodeHex(whole)}`).not.toEqual(parseTransactionInput(whole));
    }
  });
});
