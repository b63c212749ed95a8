/** The CRC-32 of DESFire: that of IEEE 802.3 without the final inversion, least significant byte first. */
import { encodeUintLE } from '#protocol/bytes.ts';
import type { Bytes } from '#protocol/bytes.ts';

const REVERSED_POLYNOMIAL = 0xedb88320;

export function crc32(data: Uint8Array): Bytes {
  let crc = 0xffffffff;
  for (const byte of data) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ ((crc & 1) === 0 ? 0 : REVERSED_POLYNOMIAL);
  }
  return encodeUintLE(crc >>> 0, 4);
}
