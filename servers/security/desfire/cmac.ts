/** AES-128-CMAC (RFC 4493) and the raw AES-128 operations that the card's protocol is built from, on node:crypto (which has no CMAC). */
import { createCipheriv, createDecipheriv, type Cipher } from 'node:crypto';
import type { Bytes } from '#protocol/bytes.ts';

export const BLOCK_BYTES = 16;
export const AES_KEY_BYTES = 16;
const ZERO_IV = new Uint8Array(BLOCK_BYTES);
const PADDING_MARK = 0x80;
const CBC = 'aes-128-cbc';
const ECB = 'aes-128-ecb';

/** AES-128-CBC without padding; `data` is whole blocks. */
export function encryptCbc(key: Uint8Array, data: Uint8Array, iv: Uint8Array = ZERO_IV): Bytes {
  // Padding would come with final(), which whole blocks do not need.
  return bytesOf(createCipheriv(CBC, key, iv).update(data));
}

/** AES-128-CBC without padding; `data` is whole blocks. */
export function decryptCbc(key: Uint8Array, data: Uint8Array, iv: Uint8Array = ZERO_IV): Bytes {
  return bytesOf(createDecipheriv(CBC, key, iv).setAutoPadding(false).update(data));
}

/** One key for single blocks, one at a time: a cipher object costs more than a block, and here one is enough. */
export class BlockCipher {
  readonly #cipher: Cipher;

  constructor(key: Uint8Array) {
    this.#cipher = createCipheriv(ECB, key, null);
  }

  /** The same as the CBC of one block under a vector of zeros. */
  encrypt(block: Uint8Array): Bytes {
    return bytesOf(this.#cipher.update(block));
  }
}

/** The same memory, not copied, without what only a Buffer can do. */
function bytesOf(output: Buffer): Bytes {
  return new Uint8Array(output.buffer as ArrayBuffer, output.byteOffset, output.length);
}

/**
 * Memory to be given to a cipher: all of it must be written. From Node's pool, because a small array of JavaScript's own would be moved out of its heap
 * for the call, which costs as much as the cipher.
 */
export function cipherInput(length: number): Bytes {
  return bytesOf(Buffer.allocUnsafe(length));
}

export function xorBytes(a: Uint8Array, b: Uint8Array): Bytes {
  if (a.length !== b.length) throw new RangeError('xor of byte strings of different length');
  const result = new Uint8Array(a);
  xorInto(result, 0, b);
  return result;
}

function xorInto(target: Uint8Array, offset: number, mask: Uint8Array): void {
  for (let i = 0; i < mask.length; i++) target[offset + i] = (target[offset + i] ?? 0) ^ (mask[i] ?? 0);
}

/** `80 00..00` up to a whole block, always at least one byte (ISO 9797-1 padding method 2). */
export function padBlocks(data: Uint8Array): Bytes {
  const padded = cipherInput(paddedLength(data.length)).fill(0, data.length);
  padded.set(data);
  padded[data.length] = PADDING_MARK;
  return padded;
}

function paddedLength(length: number): number {
  return Math.floor(length / BLOCK_BYTES + 1) * BLOCK_BYTES;
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
  readonly #blockCipher: BlockCipher;
  readonly subkey1: Bytes;
  readonly subkey2: Bytes;

  constructor(key: Bytes) {
    if (key.length !== AES_KEY_BYTES) throw new RangeError('an AES-128 key has 16 bytes');
    this.#key = key;
    this.#blockCipher = new BlockCipher(key);
    ({ subkey1: this.subkey1, subkey2: this.subkey2 } = deriveSubkeys(this.#blockCipher.encrypt(ZERO_IV)));
  }

  /** The whole 16-byte MAC over the parts, one after the other. */
  compute(...parts: readonly Uint8Array[]): Bytes {
    return new Uint8Array(this.#encipher(parts).subarray(-BLOCK_BYTES));
  }

  /** The 8 bytes that the card puts on the wire: those at the odd positions, counted from 0. */
  computeShort(...parts: readonly Uint8Array[]): Bytes {
    const enciphered = this.#encipher(parts);
    const short = new Uint8Array(BLOCK_BYTES / 2);
    for (let i = 0; i < short.length; i++) short[i] = enciphered[enciphered.length - BLOCK_BYTES + 2 * i + 1] ?? 0;
    return short;
  }

  /** All blocks; the last one is the MAC (RFC 4493, 2.4). */
  #encipher(parts: readonly Uint8Array[]): Uint8Array {
    let length = 0;
    for (const part of parts) length += part.length;
    const isWhole = length > 0 && length % BLOCK_BYTES === 0;
    const blocks = Buffer.allocUnsafe(isWhole ? length : paddedLength(length));
    let offset = 0;
    for (const part of parts) {
      blocks.set(part, offset);
      offset += part.length;
    }
    if (!isWhole) blocks.fill(0, length)[length] = PADDING_MARK;
    xorInto(blocks, blocks.length - BLOCK_BYTES, isWhole ? this.subkey1 : this.subkey2);
    return blocks.length === BLOCK_BYTES ? this.#blockCipher.encrypt(blocks) : createCipheriv(CBC, this.#key, ZERO_IV).update(blocks);
  }
}

/** Multiplication by x in GF(2^128), RFC 4493, 2.3. */
function doubleBlock(block: Bytes): Bytes {
  const doubled = new Uint8Array(BLOCK_BYTES);
  let carry = (block[0] ?? 0) & 0x80 ? 0x87 : 0;
  for (let i = BLOCK_BYTES - 1; i >= 0; i--) {
    const byte = block[i] ?? 0;
    doubled[i] = (byte << 1) ^ carry;
    carry = byte >> 7;
  }
  return doubled;
}
