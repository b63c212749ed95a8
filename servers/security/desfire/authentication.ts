/** AuthenticateEV2First from the host's side, in two halves: the card's challenge comes from outside, because the PC asks for it ahead. */
import { timingSafeEqual } from 'node:crypto';
import { responseData, statusWord, wrapNative, type CardCommand } from '#protocol/apdu.ts';
import { concatBytes, type Bytes } from '#protocol/bytes.ts';
import { Failure } from '#protocol/failure.ts';
import { AesCmac, BLOCK_BYTES, decryptCbc, encryptCbc, xorBytes } from './cmac.ts';
import { INS, SW } from './instructions.ts';
import { CardRefusal } from './refusal.ts';
import { CardSession } from './session.ts';
import type { SessionKeys } from './secure-messaging.ts';

export const CHALLENGE_BYTES = 16;
export const KEY_NUMBERS = [0, 1, 2, 3, 4] as const;
export type KeyNumber = (typeof KEY_NUMBERS)[number];

/** Part 1: asks the card for its challenge; holds no secret, so anyone may send it (LenCap 00: AES messaging). */
export function requestChallenge(keyNumber: KeyNumber): CardCommand {
  return { apdu: wrapNative(INS.AuthenticateEV2First, Uint8Array.of(keyNumber, 0x00)), expectedStatus: SW.AdditionalFrame };
}

/** The challenge out of the whole answer to part 1. Throws CardRefusal, `card/answer`. */
export function parseChallenge(response: Bytes): Bytes {
  if (response.length < 2) throw new Failure('card/answer', { detail: 'no status word' });
  const status = statusWord(response);
  if (status !== SW.AdditionalFrame) throw new CardRefusal(status);
  const challenge = responseData(response);
  if (challenge.length !== CHALLENGE_BYTES) throw new Failure('card/answer', { detail: 'challenge of wrong length' });
  return challenge;
}

export interface ChallengeInput {
  /** K_C: this card's key of the number that part 1 named. */
  readonly authenticationKey: Bytes;
  /** E(K_C, RndB), 16 bytes. */
  readonly challenge: Bytes;
  /** RndA: 16 bytes, fresh. */
  readonly hostRandom: Bytes;
}

/** Half of a mutual authentication: we have answered the card, the card has not yet answered us. */
export class PendingAuthentication {
  /** Part 2. */
  readonly command: CardCommand;
  #expectation: { readonly key: Bytes; readonly hostRandom: Bytes; readonly cardRandom: Bytes } | undefined;

  constructor({ authenticationKey, challenge, hostRandom }: ChallengeInput) {
    if (challenge.length !== CHALLENGE_BYTES) throw new Failure('message/malformed', { detail: 'challenge of wrong length' });
    if (hostRandom.length !== BLOCK_BYTES) throw new RangeError('RndA has 16 bytes');
    const cardRandom = decryptCbc(authenticationKey, challenge);
    const answer = encryptCbc(authenticationKey, concatBytes(hostRandom, rotateLeft(cardRandom)));
    this.command = { apdu: wrapNative(INS.AdditionalFrame, answer), expectedStatus: SW.Ok };
    this.#expectation = { key: authenticationKey, hostRandom, cardRandom };
  }

  /**
   * Checks the card's answer to part 2, once. Throws `card/not-genuine` (wrong proof, or the card refused ours; a CardRefusal
   * if by a status word), `card/answer` (not an answer at all), `settlement/session` (checked before).
   */
  verify(response: Bytes): CardSession {
    const expectation = this.#expectation;
    if (expectation === undefined) throw new Failure('settlement/session', { detail: 'the card has answered already' });
    this.#expectation = undefined;
    if (response.length < 2) throw new Failure('card/answer', { detail: 'no status word' });
    const status = statusWord(response);
    if (status === SW.AuthenticationError) throw new CardRefusal(status, 'card/not-genuine');
    if (status !== SW.Ok) throw new CardRefusal(status);
    const enciphered = responseData(response);
    if (enciphered.length !== 2 * BLOCK_BYTES) throw new Failure('card/answer', { detail: 'authentication answer of wrong length' });
    const { key, hostRandom, cardRandom } = expectation;
    // TI(4) || RndA'(16) || PDcap2(6) || PCDcap2(6); IV zero at each of the three passes.
    const answer = decryptCbc(key, enciphered);
    const proof = concatBytes(rotateLeft(hostRandom), new Uint8Array(6));
    const given = concatBytes(answer.subarray(4, 20), answer.subarray(26, 32));
    if (!timingSafeEqual(proof, given)) throw new Failure('card/not-genuine', { detail: 'RndA or PCDcap2 not given back' });
    return new CardSession(deriveSessionKeys({ key, hostRandom, cardRandom, transactionIdentifier: answer.slice(0, 4) }));
  }
}

/** SesAuthENCKey and SesAuthMACKey (NT4H2421Gx, 9.1.7). */
export function deriveSessionVectors(hostRandom: Bytes, cardRandom: Bytes): { readonly encryption: Bytes; readonly mac: Bytes } {
  const seed = concatBytes(
    hostRandom.subarray(0, 2),
    xorBytes(hostRandom.subarray(2, 8), cardRandom.subarray(0, 6)),
    cardRandom.subarray(6, 16),
    hostRandom.subarray(8, 16),
  );
  return {
    encryption: concatBytes(Uint8Array.of(0xa5, 0x5a, 0x00, 0x01, 0x00, 0x80), seed),
    mac: concatBytes(Uint8Array.of(0x5a, 0xa5, 0x00, 0x01, 0x00, 0x80), seed),
  };
}

export function deriveSessionKeys(input: { readonly key: Bytes; readonly hostRandom: Bytes; readonly cardRandom: Bytes; readonly transactionIdentifier: Bytes }): SessionKeys {
  const authenticationMac = new AesCmac(input.key);
  const vectors = deriveSessionVectors(input.hostRandom, input.cardRandom);
  return {
    encryptionKey: authenticationMac.compute(vectors.encryption),
    mac: new AesCmac(authenticationMac.compute(vectors.mac)),
    transactionIdentifier: input.transactionIdentifier,
  };
}

/** RndA' and RndB': one byte to the left. */
export function rotateLeft(block: Bytes): Bytes {
  return concatBytes(block.subarray(1), block.subarray(0, 1));
}
