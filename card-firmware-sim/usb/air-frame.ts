/** What goes through the air between reader and card at 106 kbit/s (ISO/IEC 14443-3 type A): frames with their CRC, down to the bit. */
import { concatBytes, equalBytes } from '#protocol/bytes.ts';
import type { Bytes } from '#protocol/bytes.ts';

/** Bits in the order they are sent (bit 0 of byte 0 first). `lastBits`: how many bits of the last byte count, 1 to 8. The CRC, where there is one, is part of the bytes. */
export interface AirFrame {
  readonly bytes: Bytes;
  readonly lastBits: number;
}

export const CRC_BYTES = 2;

/** A frame of whole bytes. */
export function wholeFrame(bytes: Bytes): AirFrame {
  return { bytes, lastBits: 8 };
}

/** REQA, WUPA and their like: 7 bits (ISO/IEC 14443-3, 6.2.3.1). */
export function shortFrame(command: number): AirFrame {
  return { bytes: new Uint8Array([command]), lastBits: 7 };
}

/** CRC_A (ISO/IEC 14443-3, 6.2.4 and annex B): the two bytes as sent. */
export function crcA(bytes: Uint8Array): Bytes {
  let crc = 0x6363;
  for (const byte of bytes) {
    let mixed = (byte ^ crc) & 0xff;
    mixed = (mixed ^ (mixed << 4)) & 0xff;
    crc = (crc >> 8) ^ (mixed << 8) ^ (mixed << 3) ^ (mixed >> 4);
  }
  return new Uint8Array([crc & 0xff, (crc >> 8) & 0xff]);
}

export function withCrc(bytes: Uint8Array): Bytes {
  return concatBytes(bytes, crcA(bytes));
}

/** The frame's bytes without their CRC; undefined if the CRC is wrong, or there are bits over. */
export function withoutCrc(frame: AirFrame): Bytes | undefined {
  if (frame.lastBits !== 8 || frame.bytes.length < CRC_BYTES + 1) return undefined;
  const body = frame.bytes.slice(0, -CRC_BYTES);
  return equalBytes(crcA(body), frame.bytes.subarray(-CRC_BYTES)) ? body : undefined;
}

export function bitLength(frame: AirFrame): number {
  return frame.bytes.length === 0 ? 0 : 8 * (frame.bytes.length - 1) + frame.lastBits;
}

export function bitAt(bytes: Uint8Array, index: number): number {
  return ((bytes[index >> 3] ?? 0) >> (index & 7)) & 1;
}

/** The bits from `from` up to `to` (not included), moved to the start of a frame of their own. */
export function bitSlice(bytes: Uint8Array, from: number, to: number): AirFrame {
  const length = to - from;
  const slice = new Uint8Array(Math.ceil(length / 8));
  for (let i = 0; i < length; i++) slice[i >> 3] = (slice[i >> 3] ?? 0) | (bitAt(bytes, from + i) << (i & 7));
  return { bytes: slice, lastBits: ((length - 1) & 7) + 1 };
}
