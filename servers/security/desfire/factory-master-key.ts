/**
 * The one thing that a blank EV2 or EV3 is asked under its factory key, a DES key of zeros: to take an AES key instead. AuthenticateISO (1A) and ChangeKey (C4) in an
 * EV1 session, as libfreefare and Proxmark3 carry them out; under a key that everybody knows this hides nothing.
 */
import { createCipheriv, createDecipheriv, timingSafeEqual } from 'node:crypto';
import { wrapNative, type CardCommand } from '#protocol/apdu.ts';
import { concatBytes, encodeUintLE, type Bytes } from '#protocol/bytes.ts';
import { Failure } from '#protocol/failure.ts';
import { rotateLeft } from './authentication.ts';
import { AES_KEY_BYTES } from './cmac.ts';
import { keyChecksum } from './commands.ts';
import { INS, SW } from './instructions.ts';
import { openData } from './select.ts';

const BLOCK_BYTES = 8;
const ZERO_BLOCK: Bytes = new Uint8Array(BLOCK_BYTES);
const FACTORY_KEY: Bytes = new Uint8Array(BLOCK_BYTES);
const MASTER_KEY = 0x00;
/** At card level the two high bits of a key's number say what type its new value has: AES. */
const AES_MASTER_KEY = 0x80 | MASTER_KEY;

/** Part 1: asks for E(RndB); holds no secret. */
export function requestFactoryChallenge(): CardCommand {
  return { apdu: wrapNative(INS.AuthenticateISO, Uint8Array.of(MASTER_KEY)), expectedStatus: SW.AdditionalFrame };
}

/** E(RndB), 8 bytes, out of the whole answer to part 1. Throws CardRefusal, `card/answer`. */
export function parseFactoryChallenge(response: Bytes): Bytes {
  return dataOf(response, SW.AdditionalFrame, BLOCK_BYTES);
}

/** Half of the mutual authentication under the factory key: we have answered the card, the card has not yet answered us. */
export class PendingFactoryAuthentication {
  /** Part 2. */
  readonly command: CardCommand;
  readonly #hostRandom: Bytes;
  readonly #sessionKey: Bytes;
  readonly #lastBlock: Bytes;

  /** `hostRandom`: RndA, 8 fresh bytes. */
  constructor(challenge: Bytes, hostRandom: Bytes) {
    if (challenge.length !== BLOCK_BYTES || hostRandom.length !== BLOCK_BYTES) throw new RangeError('a DES nonce has 8 bytes');
    const cardRandom = decryptDes(FACTORY_KEY, ZERO_BLOCK, challenge);
    // One chain of CBC runs through all three passes.
    const answer = encryptDes(FACTORY_KEY, challenge, concatBytes(hostRandom, rotateLeft(cardRandom)));
    this.command = { apdu: wrapNative(INS.AdditionalFrame, answer), expectedStatus: SW.Ok };
    this.#hostRandom = hostRandom;
    this.#lastBlock = answer.slice(-BLOCK_BYTES);
    // Two equal halves make a DES key, and a DES key makes a DES session.
    this.#sessionKey = concatBytes(hostRandom.subarray(0, 4), cardRandom.subarray(0, 4));
  }

  /** Checks the card's answer to part 2; then the master key becomes `newKey`, which ends the session. Throws `card/not-genuine`, CardRefusal, `card/answer`. */
  changeMasterKey(response: Bytes, newKey: Bytes, newVersion: number): CardCommand {
    const proof = decryptDes(FACTORY_KEY, this.#lastBlock, dataOf(response, SW.Ok, BLOCK_BYTES));
    if (!timingSafeEqual(proof, rotateLeft(this.#hostRandom))) throw new Failure('card/not-genuine', { detail: 'RndA not given back' });
    if (newKey.length !== AES_KEY_BYTES) throw new RangeError('an AES-128 key has 16 bytes');
    const header = Uint8Array.of(AES_MASTER_KEY);
    const data = concatBytes(newKey, Uint8Array.of(newVersion));
    // EV1: the checksum is over the command and its header too, and zeros fill the last block.
    const checksum = encodeUintLE(keyChecksum(concatBytes(Uint8Array.of(INS.ChangeKey), header, data)), 4);
    const plain = new Uint8Array(3 * BLOCK_BYTES);
    plain.set(concatBytes(data, checksum));
    return { apdu: wrapNative(INS.ChangeKey, concatBytes(header, encryptDes(this.#sessionKey, ZERO_BLOCK, plain))), expectedStatus: SW.Ok };
  }
}

function dataOf(response: Bytes, expectedStatus: number, length: number): Bytes {
  const data = openData(response, expectedStatus);
  if (data.length !== length) throw new Failure('card/answer', { detail: `${data.length} bytes where ${length} belong` });
  return data;
}

/** Single DES as triple DES under three equal keys: the only form that current OpenSSL still has. */
function encryptDes(key: Bytes, initialVector: Bytes, plain: Bytes): Bytes {
  const cipher = createCipheriv('des-ede3-cbc', concatBytes(key, key, key), initialVector).setAutoPadding(false);
  return concatBytes(cipher.update(plain), cipher.final());
}

function decryptDes(key: Bytes, initialVector: Bytes, enciphered: Bytes): Bytes {
  const decipher = createDecipheriv('des-ede3-cbc', concatBytes(key, key, key), initialVector).setAutoPadding(false);
  return concatBytes(decipher.update(enciphered), decipher.final());
}
