/** EV2 secure messaging from the host's side: seals commands and opens answers for a given counter; holds no state. */
import { timingSafeEqual } from 'node:crypto';
import { statusWord, wrapNative, type CardCommand } from '#protocol/apdu.ts';
import { concatBytes, type Bytes } from '#protocol/bytes.ts';
import { Failure } from '#protocol/failure.ts';
import { BLOCK_BYTES, BlockCipher, cipherInput, decryptCbc, encryptCbc, padBlocks, type AesCmac } from './cmac.ts';
import { SW } from './instructions.ts';
import { CardRefusal } from './refusal.ts';

const MAC_BYTES = 8;
const STATUS_BYTES = 2;

/** K_SES: what the mutual authentication leaves behind on both sides. */
export interface SessionKeys {
  /** SesAuthENCKey. */
  readonly encryptionKey: Bytes;
  /** CMAC under SesAuthMACKey. */
  readonly mac: AesCmac;
  /** TI, 4 bytes as received. */
  readonly transactionIdentifier: Bytes;
}

/** `mac`: authenticated only; `full`: enciphered too. */
export type Protection = 'mac' | 'full';
/** `none`: a bare status word (ChangeKey of the session's own key ends the session before it could be authenticated). */
export type AnswerProtection = Protection | 'none';

export interface NativeCommand {
  readonly instruction: number;
  /** CmdHeader: never enciphered. */
  readonly header: Bytes;
  /** CmdData: enciphered under `full`. */
  readonly data: Bytes;
  readonly protection: Protection;
}

/** `counter`: CmdCtr before this command. */
export function sealCommand(keys: SessionKeys, counter: number, command: NativeCommand): CardCommand {
  const { instruction, header, data, protection } = command;
  const enciphered = protection === 'full' && data.length > 0;
  const body = enciphered ? encryptCbc(keys.encryptionKey, padBlocks(data), initialVector(keys, COMMAND_LABEL, counter)) : data;
  const mac = keys.mac.computeShort(Uint8Array.of(instruction, counter & 0xff, counter >> 8), keys.transactionIdentifier, header, body);
  return { apdu: wrapNative(instruction, concatBytes(header, body, mac)), expectedStatus: SW.Ok };
}

/**
 * Data of the answer to the command that was sealed with `counter`.
 * Throws CardRefusal for another status word, Failure `card/answer` for anything that this card did not make for this place.
 */
export function openAnswer(keys: SessionKeys, counter: number, protection: AnswerProtection, response: Bytes): Bytes {
  if (response.length < STATUS_BYTES) throw new Failure('card/answer', { detail: 'no status word' });
  const status = statusWord(response);
  if (status !== SW.Ok) throw new CardRefusal(status);
  const answerBytes = response.length - STATUS_BYTES;
  if (protection === 'none') {
    if (answerBytes > 0) throw new Failure('card/answer', { detail: 'data where only a status word belongs' });
    return new Uint8Array();
  }
  if (answerBytes < MAC_BYTES) throw new Failure('card/answer', { detail: 'no MAC' });
  const body = response.slice(0, answerBytes - MAC_BYTES);
  const next = counter + 1;
  const expected = keys.mac.computeShort(Uint8Array.of(status & 0xff, next & 0xff, next >> 8), keys.transactionIdentifier, body);
  // The relay chooses every byte here: nothing of the body is looked at before its MAC is right.
  if (!timingSafeEqual(expected, response.slice(body.length, answerBytes))) throw new Failure('card/answer', { detail: 'wrong MAC' });
  if (protection === 'mac' || body.length === 0) return body;
  if (body.length % BLOCK_BYTES !== 0) throw new Failure('card/answer', { detail: 'enciphered data of broken length' });
  return removePadding(decryptCbc(keys.encryptionKey, body, initialVector(keys, RESPONSE_LABEL, next)));
}

const COMMAND_LABEL = Uint8Array.of(0xa5, 0x5a);
const RESPONSE_LABEL = Uint8Array.of(0x5a, 0xa5);

/** IVc and IVr (NT4H2421Gx, 9.1.4): an encrypted counter, so no IV is used twice in a session. */
export function initialVector(keys: Pick<SessionKeys, 'encryptionKey' | 'transactionIdentifier'>, label: Uint8Array, counter: number): Bytes {
  const plain = cipherInput(BLOCK_BYTES).fill(0);
  plain.set(label);
  plain.set(keys.transactionIdentifier, 2);
  plain[6] = counter & 0xff;
  plain[7] = counter >> 8;
  return vectorCipher(keys.encryptionKey).encrypt(plain);
}

/** By session key, as long as somebody holds it: every command and every answer needs a vector. */
const vectorCiphers = new WeakMap<Bytes, BlockCipher>();

function vectorCipher(encryptionKey: Bytes): BlockCipher {
  const known = vectorCiphers.get(encryptionKey);
  if (known !== undefined) return known;
  const made = new BlockCipher(encryptionKey);
  vectorCiphers.set(encryptionKey, made);
  return made;
}

function removePadding(padded: Bytes): Bytes {
  const end = padded.findLastIndex((byte) => byte !== 0);
  if (end < padded.length - BLOCK_BYTES || padded[end] !== 0x80) throw new Failure('card/answer', { detail: 'wrong padding' });
  return padded.slice(0, end);
}
