/** Two-key triple DES, with which the card level of an EV2 or EV3 leaves the factory, on @peculiar/webcrypto; a key with two equal halves is plain DES. */
import { Crypto } from '@peculiar/webcrypto';
import { concatBytes } from '#protocol/bytes.ts';
import type { Bytes } from '#protocol/bytes.ts';
import type { webcrypto } from 'node:crypto';

const subtle = new Crypto().subtle as unknown as webcrypto.SubtleCrypto;

export const DES_BLOCK_BYTES = 8;
export const ZERO_DES_BLOCK: Bytes = new Uint8Array(DES_BLOCK_BYTES);
/** NIST SP 800-38B, 5.3: R_64. */
const REDUCTION = 0x1b;

export class TripleDes {
  readonly #raw: Bytes;
  #key: webcrypto.CryptoKey | undefined;

  /** `key`: 8 bytes of DES or 16 of two-key triple DES. */
  constructor(key: Uint8Array) {
    const [first, second] = [key.subarray(0, DES_BLOCK_BYTES), key.length === DES_BLOCK_BYTES ? key : key.subarray(DES_BLOCK_BYTES)];
    if (second.length !== DES_BLOCK_BYTES) throw new RangeError('a DES key has 8 bytes, a two-key triple DES key 16');
    this.#raw = concatBytes(first, second, first);
  }

  /** CBC of whole blocks, without padding. */
  async encryptCbc(iv: Uint8Array, blocks: Uint8Array): Promise<Bytes> {
    requireWholeBlocks(blocks);
    return (await this.#encryptPadded(iv, blocks)).slice(0, blocks.length);
  }

  /** Inverse of encryptCbc. */
  async decryptCbc(iv: Uint8Array, blocks: Uint8Array): Promise<Bytes> {
    requireWholeBlocks(blocks);
    // WebCrypto insists on PKCS#7: append the ciphertext of one whole padding block, which it then takes off again.
    const paddingBlock = await this.#encryptPadded(blocks.length === 0 ? iv : blocks.subarray(-DES_BLOCK_BYTES), new Uint8Array());
    return new Uint8Array(await subtle.decrypt(cbc(iv), await this.#imported(), concatBytes(blocks, paddingBlock)));
  }

  /** CMAC (NIST SP 800-38B), 8 bytes, with the chain begun at `iv`. */
  async cmac(iv: Uint8Array, message: Uint8Array): Promise<Bytes> {
    const isWhole = message.length > 0 && message.length % DES_BLOCK_BYTES === 0;
    const padded = new Uint8Array(isWhole ? message.length : message.length + DES_BLOCK_BYTES - (message.length % DES_BLOCK_BYTES));
    padded.set(message);
    if (!isWhole) padded[message.length] = 0x80;
    const k1 = double(await this.encryptCbc(ZERO_DES_BLOCK, ZERO_DES_BLOCK));
    const subkey = isWhole ? k1 : double(k1);
    const last = padded.length - DES_BLOCK_BYTES;
    subkey.forEach((byte, index) => (padded[last + index] = (padded[last + index] ?? 0) ^ byte));
    return (await this.encryptCbc(iv, padded)).slice(-DES_BLOCK_BYTES);
  }

  async #encryptPadded(iv: Uint8Array, data: Uint8Array): Promise<Bytes> {
    return new Uint8Array(await subtle.encrypt(cbc(iv), await this.#imported(), new Uint8Array(data)));
  }

  async #imported(): Promise<webcrypto.CryptoKey> {
    this.#key ??= await subtle.importKey('raw', this.#raw, { name: 'DES-EDE3-CBC' }, false, ['encrypt', 'decrypt']);
    return this.#key;
  }
}

function cbc(iv: Uint8Array): webcrypto.AesCbcParams {
  return { name: 'DES-EDE3-CBC', iv: new Uint8Array(iv) };
}

/** Multiplication by x in GF(2^64). */
function double(block: Bytes): Bytes {
  const shifted = block.map((byte, index) => (byte << 1) | ((block[index + 1] ?? 0) >> 7));
  if (((block[0] ?? 0) & 0x80) !== 0) shifted[DES_BLOCK_BYTES - 1] = (shifted[DES_BLOCK_BYTES - 1] ?? 0) ^ REDUCTION;
  return shifted;
}

function requireWholeBlocks(blocks: Uint8Array): void {
  if (blocks.length % DES_BLOCK_BYTES !== 0) throw new RangeError('not a whole number of DES blocks');
}
