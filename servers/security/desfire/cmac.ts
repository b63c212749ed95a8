/** AES-128-CMAC (RFC 4493) and the raw AES-128 operations that the card's protocol is built from, on node:crypto (which has no CMAC). */
import { createCipheriv, createDecipheriv } from 'node:crypto';
import { concatBytes, type Bytes } from '#protocol/bytes.ts';

export const BLOCK_BYTES = 16;
export const AES_KEY_BYTES = 16;
const ZERO_IV = new Uint8Array(BLOCK_BYTES);

/** AES-128-CBC without padding; `data` is whole blocks. */
export function encryptCbc(key: Bytes, data: Uint8Array, iv: Uint8Array = ZERO_IV): Bytes {
  return new Uint8Array(createCipheriv('aes-128-cbc', key, iv).setAutoPadding(false).update(data));
}

/** AES-128-CBC without padding; `data` is whole blocks. */
export function decryptCbc(key: Bytes, data: Uint8Array, iv: Uint8Array = ZERO_IV): Bytes {
  return new Uint8Array(createDecipheriv('aes-128-cbc', key, iv).setAutoPadding(false).update(data));
}

export function xorBytes(a: Uint8Array, b: Uint8Array): Bytes {
  if (a.length !== b.length) throw new RangeError('xor of byte strings of different length');
  return Uint8Array.from(a, (byte, i) => byte ^ (b[i] ?? 0));
}

/** `80 00..00` up to a whole block, always at least one byte (ISO 9797-1 padding method 2). */
export function padBlocks(data: Uint8Array): Bytes {
  const padded = new Uint8Array(Math.floor(data.length / BLOCK_BYTES + 1) * BLOCK_BYTES);
  padded.set(data);
  padded[data.length] = 0x80;
  return padded;
}

export interface Subkeys {
  /** For a last block that is whole (RFC 4493, 2.3). */
  readonly subkey1: Bytes;
  /** For a last block that had to be padded. */
  readonly subkey2: Bytes;
}

/** The subkeys of a CMAC key, from the zero block enciphered with it. */
export function deriveSubkeys(encipheredZero: Bytes): Subkeys {
  const subkey1 = doubleBlock(encipheredZero);
  return { subkey1, subkey2: doubleBlock(subkey1) };
}

/** One CMAC key with its two subkeys made once; the key cannot be read back. */
export class AesCmac implements Subkeys {
  readonly #key: Bytes;
  readonly subkey1: Bytes;
  readonly subkey2: Bytes;

  constructor(key: Bytes) {
    if (key.length !== AES_KEY_BYTES) throw new RangeError('an AES-128 key has 16 bytes');
    this.#key = key;
    ({ subkey1: this.subkey1, subkey2: this.subkey2 } = deriveSubkeys(encryptCbc(key, ZERO_IV)));
  }

  /** The whole 16-byte MAC over the parts, one after the other. */
  compute(...parts: readonly Uint8Array[]): Bytes {
    const message = concatBytes(...parts);
    const whole = message.length > 0 && message.length % BLOCK_BYTES === 0;
    const blocks = whole ? message : padBlocks(message);
    const last = blocks.subarray(-BLOCK_BYTES);
    last.set(xorBytes(last, whole ? this.subkey1 : this.subkey2));
    return encryptCbc(this.#key, blocks).slice(-BLOCK_BYTES);
  }

  /** The 8 bytes that the card puts on the wire: those at the odd positions, counted from 0. */
  computeShort(...parts: readonly Uint8Array[]): Bytes {
    return this.compute(...parts).filter((_, i) => i % 2 === 1);
  }
}

/** Multiplication by x in GF(2^128), RFC 4493, 2.3. */
function doubleBlock(block: Bytes): Bytes {
  const doubled = Uint8Array.from(block, (byte, i) => ((byte << 1) | ((block[i + 1] ?? 0) >> 7)) & 0xff);
  if (((block[0] ?? 0) & 0x80) !== 0) doubled[BLOCK_BYTES - 1] = (doubled[BLOCK_BYTES - 1] ?? 0) ^ 0x87;
  return doubled;
}
