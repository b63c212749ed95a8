/** The frames of an RC-S380 on the bus: acknowledgement, error, and data with its two checksums. Refuses whatever does not add up. */
import { concatBytes, equalBytes } from '#protocol/bytes.ts';
import type { Bytes } from '#protocol/bytes.ts';

export const ACK = new Uint8Array([0x00, 0x00, 0xff, 0x00, 0xff, 0x00]);
export const ERROR = new Uint8Array([0x00, 0x00, 0xff, 0xff, 0xff]);
const START = new Uint8Array([0x00, 0x00, 0xff, 0xff, 0xff]);
/** Start, length and its checksum; checksum of the payload and postamble. */
const HEAD_BYTES = 8;
const TAIL_BYTES = 2;
/** What Linux sends at most, and the reader's buffer holds. */
const MAX_PAYLOAD_BYTES = 1001;
export const MAX_FRAME_BYTES = HEAD_BYTES + MAX_PAYLOAD_BYTES + TAIL_BYTES;

function checksum(bytes: Uint8Array): number {
  return -bytes.reduce((sum, byte) => sum + byte, 0) & 0xff;
}

export function encodeDataFrame(payload: Bytes): Bytes {
  const length = new Uint8Array([payload.length & 0xff, payload.length >> 8]);
  return concatBytes(START, length, new Uint8Array([checksum(length)]), payload, new Uint8Array([checksum(payload), 0x00]));
}

/** One whole frame: 'ack', the payload of a data frame, or undefined. */
export function parseFrame(frame: Bytes): Bytes | 'ack' | undefined {
  if (equalBytes(frame, ACK)) return 'ack';
  if (frame.length < HEAD_BYTES + TAIL_BYTES || frame.length > MAX_FRAME_BYTES || !equalBytes(frame.subarray(0, START.length), START)) return undefined;
  const length = frame.subarray(START.length, START.length + 2);
  const payload = frame.slice(HEAD_BYTES, -TAIL_BYTES);
  const [lengthSum, payloadSum, end] = [frame[HEAD_BYTES - 1], frame.at(-2), frame.at(-1)];
  const isRight = lengthSum === checksum(length) && payload.length === (length[0] ?? 0) + 256 * (length[1] ?? 0) && payloadSum === checksum(payload) && end === 0;
  return isRight ? payload : undefined;
}
