/** Reads a TMI back: what a card of ours committed in one transaction. Strict: every byte has its place, and nothing else stands in it. */
import { equalBytes, parseUintLE, type Bytes } from '#protocol/bytes.ts';
import { Failure } from '#protocol/failure.ts';
import { BLOCK_BYTES } from './desfire/cmac.ts';
import { parseInt32LE } from './desfire/commands.ts';
import { INS } from './desfire/instructions.ts';
import { creditInput, debitInput, getValueInput, readRecordsInput, writeRecordInput } from './desfire/transaction-mac.ts';
import { WALLET } from './layout.ts';
import { encodeLogRecord, LOG_RECORD_BYTES, parseLogRecord, type LogRecord } from './log-record.ts';

export interface CommittedTransaction {
  /** As read in the same transaction; undefined where it was not read. */
  readonly balanceBeforeMinor?: bigint;
  readonly record: LogRecord;
  readonly change: 'debit' | 'credit';
  readonly amountMinor: bigint;
}

/** Throws `message/malformed` for anything but: readings, then one log record, then one debit or credit. */
export function parseTransactionInput(input: Bytes): CommittedTransaction {
  let rest = input;
  /** Takes what one command of this instruction has left, if it stands here and is spelt as we spell it. */
  const take = <T>(instruction: number, length: number, parse: (part: Bytes) => { readonly value: T; readonly spelt: Bytes }): T | undefined => {
    if (rest[0] !== instruction) return undefined;
    const part = rest.slice(0, length);
    const { value, spelt } = parse(part);
    if (!equalBytes(part, spelt)) throw malformed('a command spelt otherwise');
    rest = rest.slice(length);
    return value;
  };
  const balanceBeforeMinor = take(INS.GetValue, BLOCK_BYTES, (part) => {
    const value = parseInt32LE(part.slice(2, 6));
    return { value, spelt: getValueInput(WALLET.valueFile, value) };
  });
  const readRecords = parseUintLE(rest.subarray(5, 8));
  take(INS.ReadRecords, BLOCK_BYTES + readRecords * LOG_RECORD_BYTES, (part) => ({ value: readRecords, spelt: readRecordsInput(WALLET.logFile, 0, readRecords, part.slice(BLOCK_BYTES)) }));
  const record = take(INS.WriteRecord, BLOCK_BYTES + LOG_RECORD_BYTES, (part) => {
    const written = part.slice(BLOCK_BYTES);
    if (written.length !== LOG_RECORD_BYTES) throw malformed('a record cut short');
    const value = parseLogRecord(written);
    return { value, spelt: writeRecordInput(WALLET.logFile, 0, encodeLogRecord(value)) };
  });
  const amountOf = (input: typeof debitInput) => (part: Bytes) => {
    const value = parseInt32LE(part.slice(2, 6));
    return { value, spelt: input(WALLET.valueFile, value) };
  };
  const debited = take(INS.Debit, BLOCK_BYTES, amountOf(debitInput));
  const credited = debited === undefined ? take(INS.Credit, BLOCK_BYTES, amountOf(creditInput)) : undefined;
  const amountMinor = debited ?? credited;
  if (record === undefined || amountMinor === undefined || rest.length > 0) throw malformed('not a log record and one change of the value');
  return { ...(balanceBeforeMinor === undefined ? {} : { balanceBeforeMinor }), record, change: debited === undefined ? 'credit' : 'debit', amountMinor };
}

function malformed(detail: string): Failure {
  return new Failure('message/malformed', { detail: `TMI: ${detail}` });
}
