/** EV2 secure messaging, the card's side: opens commands and seals answers under one session, and refuses whatever is not exactly next. */
import { Aes128, BLOCK_BYTES, truncateMac } from './crypto.ts';
import { concatBytes, encodeUintLE, equalBytes } from '#protocol/bytes.ts';
import { StatusError } from './status.ts';
import type { Bytes } from '#protocol/bytes.ts';

/** Communication mode: the two low bits of a file's option byte; both even values mean plain. */
export const COMM_MODE = { PLAIN: 0, MAC: 1, FULL: 3 } as const;
export type CommMode = (typeof COMM_MODE)[keyof typeof COMM_MODE];

/** How a command and its answer travel while a session is active. */
export interface Messaging {
  readonly request: CommMode;
  readonly response: CommMode;
}

export const MAC_BYTES = 8;
/** At this count the next command is answered as if its MAC were wrong. */
const LAST_COMMAND_COUNTER = 0xffff;

export interface SessionKeys {
  readonly sesAuthEncKey: Bytes;
  readonly sesAuthMacKey: Bytes;
}

/** SesAuthENCKey and SesAuthMACKey of AuthenticateEV2 from the two nonces (AN12343, "session key generation"). */
export async function deriveSessionKeys(cardKey: Aes128, rndA: Uint8Array, rndB: Uint8Array): Promise<SessionKeys> {
  const mixed = rndA.slice(2, 8).map((byte, index) => byte ^ (rndB[index] ?? 0));
  const context = concatBytes(rndA.subarray(0, 2), mixed, rndB.subarray(6, 16), rndA.subarray(8, 16));
  return {
    sesAuthEncKey: await cardKey.cmac(concatBytes(new Uint8Array([0xa5, 0x5a, 0x00, 0x01, 0x00, 0x80]), context)),
    sesAuthMacKey: await cardKey.cmac(concatBytes(new Uint8Array([0x5a, 0xa5, 0x00, 0x01, 0x00, 0x80]), context)),
  };
}

/** An authenticated session: whose key, which transaction identifier (TI), and how many commands so far. */
export class Session {
  readonly keyNo: number;
  readonly transactionIdentifier: Bytes;
  readonly #encKey: Aes128;
  readonly #macKey: Aes128;
  #commandCounter: number;

  constructor(keyNo: number, keys: SessionKeys, transactionIdentifier: Bytes, commandCounter: number) {
    this.keyNo = keyNo;
    this.transactionIdentifier = transactionIdentifier;
    this.#encKey = new Aes128(keys.sesAuthEncKey);
    this.#macKey = new Aes128(keys.sesAuthMacKey);
    this.#commandCounter = commandCounter;
  }

  get commandCounter(): number {
    return this.#commandCounter;
  }

  /** With padding, always, and MAC. */
  wireLength(mode: CommMode, dataBytes: number): number {
    if (mode === COMM_MODE.PLAIN) return dataBytes;
    // Without data there is nothing to encipher, and no padding either.
    return (mode === COMM_MODE.FULL && dataBytes > 0 ? paddedLength(dataBytes) : dataBytes) + MAC_BYTES;
  }

  /** Verifies and deciphers a command; returns its data and counts it. Throws LENGTH_ERROR or INTEGRITY_ERROR. */
  async openCommand(mode: CommMode, instruction: number, header: Uint8Array, rest: Uint8Array): Promise<Bytes> {
    const data = mode === COMM_MODE.PLAIN ? new Uint8Array(rest) : await this.#verified(mode, instruction, header, rest);
    // A counter that is used up would wrap and repeat its IVs.
    if (this.#commandCounter >= LAST_COMMAND_COUNTER) throw new StatusError('INTEGRITY_ERROR');
    this.#commandCounter++;
    return data;
  }

  /** The answer's data as it leaves the card, for the command that was opened last. */
  async sealResponse(mode: CommMode, status: number, data: Uint8Array): Promise<Bytes> {
    if (mode === COMM_MODE.PLAIN) return new Uint8Array(data);
    const body = mode === COMM_MODE.FULL && data.length > 0 ? await this.#encKey.encryptCbc(await this.#iv(0x5a, 0xa5), pad(data)) : data;
    return concatBytes(body, await this.#mac(status, body));
  }

  async #verified(mode: CommMode, instruction: number, header: Uint8Array, rest: Uint8Array): Promise<Bytes> {
    if (rest.length < MAC_BYTES) throw new StatusError('LENGTH_ERROR');
    const body = new Uint8Array(rest.subarray(0, rest.length - MAC_BYTES));
    const enciphered = mode === COMM_MODE.FULL && body.length > 0;
    if (enciphered && body.length % BLOCK_BYTES !== 0) throw new StatusError('LENGTH_ERROR');
    const expected = await this.#mac(instruction, concatBytes(header, body));
    if (!equalBytes(expected, rest.subarray(body.length))) throw new StatusError('INTEGRITY_ERROR');
    return enciphered ? unpad(await this.#encKey.decryptCbc(await this.#iv(0xa5, 0x5a), body)) : body;
  }

  async #mac(leadingByte: number, body: Uint8Array): Promise<Bytes> {
    const counter = encodeUintLE(this.#commandCounter, 2);
    return truncateMac(await this.#macKey.cmac(concatBytes(new Uint8Array([leadingByte]), counter, this.transactionIdentifier, body)));
  }

  #iv(first: number, second: number): Promise<Bytes> {
    const counter = encodeUintLE(this.#commandCounter, 2);
    return this.#encKey.encryptBlock(concatBytes(new Uint8Array([first, second]), this.transactionIdentifier, counter, new Uint8Array(8)));
  }
}

/** Length of `length` bytes once padded: 80 and zeros always, so a whole block more where it was aligned. */
export function paddedLength(length: number): number {
  return length + BLOCK_BYTES - (length % BLOCK_BYTES);
}

function pad(data: Uint8Array): Bytes {
  const padded = new Uint8Array(paddedLength(data.length));
  padded.set(data);
  padded[data.length] = 0x80;
  return padded;
}

function unpad(padded: Uint8Array): Bytes {
  const end = padded.findLastIndex((byte) => byte !== 0);
  // ISO 9797-1 padding method 2: the mark lies in the last block, or it was not padding.
  if (end < padded.length - BLOCK_BYTES || padded[end] !== 0x80) throw new StatusError('INTEGRITY_ERROR');
  return new Uint8Array(padded.subarray(0, end));
}
