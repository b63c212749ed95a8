/** For tests only: the reader's side of EV2 secure messaging on node:crypto, written apart from the chip's so that an error in one shows against the other. */
/* eslint-disable @typescript-eslint/no-non-null-assertion -- as in every test: what is missing must fail loudly */
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { concatBytes, encodeHex, encodeUintLE, equalBytes } from '#protocol/bytes.ts';
import type { Bytes } from '#protocol/bytes.ts';
import type { Chip } from '../chip.ts';

export const DF_NAME_SELECT = '00A4040C10A00000039656434103F015400000000B00';
export type HostMode = 'plain' | 'mac' | 'full';

const ZERO = new Uint8Array(16);

export function aesCbc(key: Uint8Array, iv: Uint8Array, data: Uint8Array, direction: 'encrypt' | 'decrypt' = 'encrypt'): Bytes {
  const cipher = direction === 'encrypt' ? createCipheriv('aes-128-cbc', key, iv) : createDecipheriv('aes-128-cbc', key, iv);
  cipher.setAutoPadding(false);
  return concatBytes(cipher.update(data), cipher.final());
}

/** RFC 4493 by the book. */
export function cmac(key: Uint8Array, message: Uint8Array): Bytes {
  const double = (block: Bytes): Bytes => {
    const value = BigInt(`0x${encodeHex(block)}`) << 1n;
    const reduced = (value >> 128n) & 1n ? (value ^ 0x87n) & ((1n << 128n) - 1n) : value;
    return encodeUintLE(reduced & ((1n << 128n) - 1n), 16).reverse();
  };
  const k1 = double(aesCbc(key, ZERO, ZERO));
  const whole = message.length > 0 && message.length % 16 === 0;
  const padded = new Uint8Array(whole ? message.length : (Math.floor(message.length / 16) + 1) * 16);
  padded.set(message);
  if (!whole) padded[message.length] = 0x80;
  const subkey = whole ? k1 : double(k1);
  for (let i = 0; i < 16; i++) padded[padded.length - 16 + i]! ^= subkey[i]!;
  return aesCbc(key, ZERO, padded).slice(-16);
}

export function truncated(mac: Uint8Array): Bytes {
  return new Uint8Array([1, 3, 5, 7, 9, 11, 13, 15].map((index) => mac[index] ?? 0));
}

export function pad80(data: Uint8Array): Bytes {
  const padded = new Uint8Array((Math.floor(data.length / 16) + 1) * 16);
  padded.set(data);
  padded[data.length] = 0x80;
  return padded;
}

/** TMV of the transaction whose counter, once committed, is `counter`; each block of its input is filled with zeros. */
export function tmvOf(tmKey: Uint8Array, counter: number, uid: Uint8Array, ...blocks: readonly Uint8Array[]): string {
  const macKey = cmac(tmKey, concatBytes(new Uint8Array([0x5a, 0x00, 0x01, 0x00, 0x80]), encodeUintLE(counter, 4), uid));
  const filled = blocks.map((block) => concatBytes(block, new Uint8Array((16 - (block.length % 16)) % 16)));
  return encodeHex(truncated(cmac(macKey, concatBytes(...filled))));
}

interface HostSession {
  ti: Bytes;
  counter: number;
  enc: Bytes;
  mac: Bytes;
}

export interface HostAnswer {
  readonly status: number;
  readonly data: Bytes;
}

export class TestingHost {
  readonly chip: Pick<Chip, 'process'>;
  session: HostSession | undefined;

  constructor(chip: Pick<Chip, 'process'>) {
    this.chip = chip;
  }

  /** Status word and data of any APDU. */
  async raw(apdu: Uint8Array): Promise<HostAnswer> {
    const answer = await this.chip.process(apdu);
    return { status: (answer.at(-2)! << 8) | answer.at(-1)!, data: answer.slice(0, -2) };
  }

  /** A native command, unprotected. */
  native(instruction: number, payload: Uint8Array = new Uint8Array()): Promise<HostAnswer> {
    const length = payload.length === 0 ? [] : [payload.length];
    return this.raw(new Uint8Array([0x90, instruction, 0, 0, ...length, ...payload, 0]));
  }

  async select(): Promise<void> {
    this.session = undefined;
    const { status } = await this.raw(Buffer.from(DF_NAME_SELECT, 'hex'));
    if (status !== 0x9000) throw new Error(`select answered ${status.toString(16)}`);
  }

  /** Returns the status of the pass that ended the authentication; 0x9100 after success, with the card's proof checked. */
  async authenticate(keyNo: number, key: Uint8Array, instruction: 0x71 | 0x77 = 0x71): Promise<number> {
    const first = await this.native(instruction, new Uint8Array(instruction === 0x71 ? [keyNo, 0] : [keyNo]));
    return first.status === 0x91af ? (await this.prove(key, first.data, instruction)).status : first.status;
  }

  /** The second pass of an authentication, with the card's proof checked. */
  async prove(key: Uint8Array, challenge: Uint8Array, instruction: 0x71 | 0x77): Promise<HostAnswer> {
    const rndB = aesCbc(key, ZERO, challenge, 'decrypt');
    const rndA = new Uint8Array(randomBytes(16));
    const rotatedB = concatBytes(rndB.subarray(1), rndB.subarray(0, 1));
    const second = await this.native(0xaf, aesCbc(key, ZERO, concatBytes(rndA, rotatedB)));
    if (second.status !== 0x9100) return second;
    const proof = aesCbc(key, ZERO, second.data, 'decrypt');
    const at = instruction === 0x71 ? 4 : 0;
    const rotatedA = concatBytes(rndA.subarray(1), rndA.subarray(0, 1));
    if (!equalBytes(proof.subarray(at, at + 16), rotatedA)) throw new Error('the card did not prove its key');
    const shared = concatBytes(rndA.subarray(0, 2), rndA.slice(2, 8).map((byte, i) => byte ^ rndB[i]!), rndB.subarray(6), rndA.subarray(8));
    const derived = (label: number[]): Bytes => cmac(key, concatBytes(new Uint8Array([...label, 0x00, 0x01, 0x00, 0x80]), shared));
    const enc = derived([0xa5, 0x5a]);
    const mac = derived([0x5a, 0xa5]);
    const old = this.session;
    this.session = instruction === 0x71 ? { ti: proof.slice(0, 4), counter: 0, enc, mac } : { ti: old!.ti, counter: old!.counter, enc, mac };
    return second;
  }

  /** A command in the session, with its answer's MAC checked and data deciphered. After an error the session is forgotten. */
  async send(instruction: number, header: readonly number[], data: Uint8Array, request: HostMode, response: HostMode): Promise<HostAnswer> {
    const session = this.session!;
    const answer = await this.native(instruction, this.protect(instruction, new Uint8Array(header), data, request));
    session.counter++;
    const code = answer.status & 0xff;
    if (code !== 0x00 && code !== 0x0c && code !== 0xaf) {
      this.session = undefined;
      return answer;
    }
    return { status: answer.status, data: this.opened(code, answer.data, response) };
  }

  /** The payload of a command under the session as it stands. */
  protect(instruction: number, header: Uint8Array, data: Uint8Array, mode: HostMode): Bytes {
    const { ti, counter, enc, mac } = this.session!;
    if (mode === 'plain') return concatBytes(header, data);
    const iv = aesCbc(enc, ZERO, concatBytes(new Uint8Array([0xa5, 0x5a]), ti, encodeUintLE(counter, 2), new Uint8Array(8)));
    const body = mode === 'full' && data.length > 0 ? aesCbc(enc, iv, pad80(data)) : data;
    const input = concatBytes(new Uint8Array([instruction]), encodeUintLE(counter, 2), ti, header, body);
    return concatBytes(header, body, truncated(cmac(mac, input)));
  }

  opened(code: number, sealed: Bytes, mode: HostMode): Bytes {
    const { ti, counter, enc, mac } = this.session!;
    if (mode === 'plain') return sealed;
    const body = sealed.slice(0, -8);
    const expected = truncated(cmac(mac, concatBytes(new Uint8Array([code]), encodeUintLE(counter, 2), ti, body)));
    if (!equalBytes(expected, sealed.slice(-8))) throw new Error("the MAC of the card's answer is wrong");
    if (mode === 'mac' || body.length === 0) return body;
    const iv = aesCbc(enc, ZERO, concatBytes(new Uint8Array([0x5a, 0xa5]), ti, encodeUintLE(counter, 2), new Uint8Array(8)));
    const padded = aesCbc(enc, iv, body, 'decrypt');
    return padded.slice(0, padded.lastIndexOf(0x80));
  }
}
