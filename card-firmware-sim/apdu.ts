/** The chip's own decoder of short command APDUs (ISO 7816-4, 5.1): four forms, nothing missing, nothing trailing; and how long an answer may be. */
import type { Bytes } from '#protocol/bytes.ts';

export interface CommandApdu {
  readonly cla: number;
  readonly ins: number;
  readonly p1: number;
  readonly p2: number;
  readonly data: Bytes;
  /** Expected length as sent (00 means the most); undefined if absent. */
  readonly le: number | undefined;
}

const HEADER_BYTES = 4;
/** With its status word: so that the length of an answer always fits in one byte. */
const MAX_RESPONSE_BYTES = 255;
export const MAX_ANSWER_DATA_BYTES = MAX_RESPONSE_BYTES - 2;

/** Undefined if the bytes are not a short command APDU. */
export function parseCommandApdu(apdu: Uint8Array): CommandApdu | undefined {
  const [cla, ins, p1, p2, p3] = apdu;
  if (cla === undefined || ins === undefined || p1 === undefined || p2 === undefined) return undefined;
  const header = { cla, ins, p1, p2 };
  if (p3 === undefined) return { ...header, data: new Uint8Array(), le: undefined };
  if (apdu.length === HEADER_BYTES + 1) return { ...header, data: new Uint8Array(), le: p3 };
  const end = HEADER_BYTES + 1 + p3;
  // P3 of zero with bytes after it would be an extended length, which this chip does not speak.
  if (p3 === 0 || apdu.length < end || apdu.length > end + 1) return undefined;
  return { ...header, data: new Uint8Array(apdu.subarray(HEADER_BYTES + 1, end)), le: apdu[end] };
}
