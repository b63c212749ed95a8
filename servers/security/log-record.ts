/** The 16 bytes that every operation leaves in the card's log: operation id (8), amount (4), time (4), integers least significant byte first. */
import { concatBytes, encodeUintLE, parseUintLE, type Bytes } from '#protocol/bytes.ts';

export const LOG_RECORD_BYTES = 16;
export const OPERATION_ID_BYTES = 8;

export interface LogRecord {
  /** 8 bytes, new for every attempt. */
  readonly operationId: Bytes;
  /** 0 to 2^32 - 1. */
  readonly amountMinor: bigint;
  /** Unix time; 0 to 2^32 - 1. */
  readonly timeSeconds: number;
}

/** Throws RangeError for a field outside its range. */
export function encodeLogRecord({ operationId, amountMinor, timeSeconds }: LogRecord): Bytes {
  if (operationId.length !== OPERATION_ID_BYTES) throw new RangeError('an operation id has 8 bytes');
  return concatBytes(operationId, encodeUintLE(amountMinor, 4), encodeUintLE(timeSeconds, 4));
}

/** Throws RangeError unless 16 bytes. */
export function parseLogRecord(record: Bytes): LogRecord {
  if (record.length !== LOG_RECORD_BYTES) throw new RangeError('a log record has 16 bytes');
  return {
    operationId: record.slice(0, 8),
    amountMinor: BigInt(parseUintLE(record.subarray(8, 12))),
    timeSeconds: parseUintLE(record.subarray(12, 16)),
  };
}
