/** The chip's AES-128 engine and random source, on @peculiar/webcrypto; the settlement side has another implementation, so that the two check each other. */
import { Crypto } from '@peculiar/webcrypto';
import { concatBytes } from '#protocol/bytes.ts';
import type { Bytes } from '#protocol/bytes.ts';
import type { webcrypto } from 'node:crypto';

const engine = new Crypto();
const subtle = engine.subtle as unknown as webcrypto.SubtleCrypto;

export const BLOCK_BYTES = 16;
/** `length`: of the key, in bits; this library wants it at every use. */
const AES_CMAC = { name: 'AES-CMAC', length: 8 * BLOCK_BYTES };
export const ZERO_BLOCK: Bytes = new Uint8Array(BLOCK_BYTES);
const NOTHING: Bytes = new Uint8Array();

/** Source of random bytes; injected, so that published transcripts can be replayed. */
export type Random = (length: number) => Bytes;

export const secureRandom: Random = (length) => {
  const bytes = new Uint8Array(length);
  engine.getRandomValues(bytes);
  return bytes;
};

/** One AES-128 key with the operations that the card needs; key objects are made once, at first use. */
export class Aes128 {
  readonly #raw: Bytes;
  #cbcKey: webcrypto.CryptoKey | undefined;
  #cmacKey: webcrypto.CryptoKey | undefined;

  constructor(key: Uint8Array) {
    if (key.length !== BLOCK_BYTES) throw new RangeError('an AES-128 key has 16 bytes');
    this.#raw = new Uint8Array(key);
  }

  /** AES-CMAC, 16 bytes (RFC 4493). */
  async cmac(message: Uint8Array): Promise<Bytes> {
    this.#cmacKey ??= await subtle.importKey('raw', this.#raw, AES_CMAC, false, ['sign']);
    return new Uint8Array(await subtle.sign(AES_CMAC, this.#cmacKey, message));
  }

  /** One block: AES-ECB, which is CBC with an IV of zero. */
  encryptBlock(block: Uint8Array): Promise<Bytes> {
    return this.encryptCbc(ZERO_BLOCK, block);
  }

  /** CBC of whole blocks, without padding. */
  async encryptCbc(iv: Uint8Array, blocks: Uint8Array): Promise<Bytes> {
    requireWholeBlocks(blocks);
    const padded = await this.#encryptPadded(iv, blocks);
    return padded.subarray(0, blocks.length);
  }

  /** Inverse of encryptCbc. */
  async decryptCbc(iv: Uint8Array, blocks: Uint8Array): Promise<Bytes> {
    requireWholeBlocks(blocks);
    // WebCrypto insists on PKCS#7: append the ciphertext of one whole padding block, which it then takes off again.
    const paddingBlock = await this.#encryptPadded(blocks.length === 0 ? iv : blocks.subarray(-BLOCK_BYTES), NOTHING);
    return new Uint8Array(await subtle.decrypt(aesCbc(iv), await this.#cbc(), concatBytes(blocks, paddingBlock)));
  }

  async #encryptPadded(iv: Uint8Array, data: Uint8Array): Promise<Bytes> {
    return new Uint8Array(await subtle.encrypt(aesCbc(iv), await this.#cbc(), data));
  }

  async #cbc(): Promise<webcrypto.CryptoKey> {
    this.#cbcKey ??= await subtle.importKey('raw', this.#raw, { name: 'AES-CBC' }, false, ['encrypt', 'decrypt']);
    return this.#cbcKey;
  }
}

function aesCbc(iv: Uint8Array): webcrypto.AesCbcParams {
  return { name: 'AES-CBC', iv };
}

/** The MAC of the wire: the eight bytes at the odd positions of a CMAC (AN12343, "even bytes" counted from 1). */
export function truncateMac(cmac: Uint8Array): Bytes {
  return new Uint8Array(cmac.filter((_, index) => index % 2 === 1));
}

function requireWholeBlocks(blocks: Uint8Array): void {
  if (blocks.length % BLOCK_BYTES !== 0) throw new RangeError('not a whole number of AES blocks');
}
