/** For tests only: the reader's side of AuthenticateISO and of EV1 secure messaging under a DES key, on node:crypto, written apart from the chip's. */
import { crc32 as crc32OfZlib } from 'node:zlib';
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { concatBytes, encodeHex, encodeUintLE, equalBytes, parseHex } from '#protocol/bytes.ts';
import type { Bytes } from '#protocol/bytes.ts';
import type { HostAnswer, TestingHost } from './host.ts';

const ZERO = new Uint8Array(8);

export function desCbc(key: Uint8Array, iv: Uint8Array, data: Uint8Array, direction: 'encrypt' | 'decrypt' = 'encrypt'): Bytes {
  const whole = key.length === 8 ? concatBytes(key, key, key) : concatBytes(key, key.subarray(0, 8));
  const cipher = direction === 'encrypt' ? createCipheriv('des-ede3-cbc', whole, iv) : createDecipheriv('des-ede3-cbc', whole, iv);
  cipher.setAutoPadding(false);
  return concatBytes(cipher.update(data), cipher.final());
}

/** zlib's CRC-32 with its final inversion undone. */
export function hostCrc(data: Uint8Array): Bytes {
  return encodeUintLE((crc32OfZlib(data) ^ 0xffffffff) >>> 0, 4);
}

function desCmac(key: Uint8Array, iv: Uint8Array, message: Uint8Array): Bytes {
  const double = (block: Bytes): Bytes => {
    const value = BigInt(`0x${encodeHex(block)}`) << 1n;
    return parseHex((value >> 64n === 0n ? value : (value ^ 0x1bn) & ((1n << 64n) - 1n)).toString(16).padStart(16, '0'));
  };
  const k1 = double(desCbc(key, ZERO, ZERO));
  const isWhole = message.length > 0 && message.length % 8 === 0;
  const filled = isWhole ? message : concatBytes(message, new Uint8Array([0x80]), new Uint8Array(7 - (message.length % 8)));
  const subkey = isWhole ? k1 : double(k1);
  const last = filled.slice(-8).map((byte, index) => byte ^ (subkey[index] ?? 0));
  return desCbc(key, iv, concatBytes(filled.subarray(0, -8), last)).slice(-8);
}

export class LegacyHost {
  readonly #host: TestingHost;
  #key: Bytes = ZERO;
  #iv: Bytes = ZERO;

  constructor(host: TestingHost) {
    this.#host = host;
  }

  /** Status of the pass that ended the authentication; 0x9100 after success, with the card's proof checked. */
  async authenticate(key: Uint8Array, keyNo = 0): Promise<number> {
    const first = await this.#host.native(0x1a, new Uint8Array([keyNo]));
    if (first.status !== 0x91af) return first.status;
    const rndB = desCbc(key, ZERO, first.data, 'decrypt');
    const rndA = new Uint8Array(randomBytes(8));
    const sent = desCbc(key, first.data, concatBytes(rndA, rndB.subarray(1), rndB.subarray(0, 1)));
    const second = await this.#host.native(0xaf, sent);
    if (second.status !== 0x9100) return second.status;
    const proof = desCbc(key, sent.subarray(8), second.data, 'decrypt');
    if (!equalBytes(proof, concatBytes(rndA.subarray(1), rndA.subarray(0, 1)))) throw new Error('the card did not prove its key');
    const first8 = concatBytes(rndA.subarray(0, 4), rndB.subarray(0, 4));
    const isDes = equalBytes(key.subarray(0, 8), key.slice(-8));
    this.#key = isDes ? first8 : concatBytes(first8, rndA.subarray(4), rndB.subarray(4));
    this.#iv = ZERO;
    return second.status;
  }

  /** A plain command; its answer's CMAC is checked and taken off. */
  async send(instruction: number, payload: Uint8Array = new Uint8Array()): Promise<HostAnswer> {
    this.#iv = desCmac(this.#key, this.#iv, concatBytes(new Uint8Array([instruction]), payload));
    return this.#checked(await this.#host.native(instruction, payload));
  }

  /** A command whose data are enciphered. */
  async sendEnciphered(instruction: number, data: Uint8Array): Promise<HostAnswer> {
    return this.#checked(await this.#host.native(instruction, this.encipher(instruction, [], data)));
  }

  #checked(answer: HostAnswer): HostAnswer {
    if (answer.status !== 0x9100) return answer;
    const data = answer.data.slice(0, -8);
    this.#iv = desCmac(this.#key, this.#iv, concatBytes(data, ZERO.subarray(0, 1)));
    if (!equalBytes(this.#iv, answer.data.slice(-8))) throw new Error("the CMAC of the card's answer is wrong");
    return { status: answer.status, data };
  }

  /** The cryptogram of data: with their checksum over command, header and data. */
  encipher(instruction: number, header: readonly number[], data: Uint8Array, change = (plain: Bytes): Bytes => plain): Bytes {
    const checked = concatBytes(new Uint8Array([instruction, ...header]), data);
    const body = concatBytes(data, hostCrc(checked));
    const padded = new Uint8Array(Math.ceil(body.length / 8) * 8);
    padded.set(body);
    const enciphered = desCbc(this.#key, this.#iv, change(padded));
    this.#iv = enciphered.slice(-8);
    return enciphered;
  }

  /** Deciphers an answer's data of `length` and checks their checksum. */
  decipher(enciphered: Bytes, length: number): Bytes {
    const plain = desCbc(this.#key, this.#iv, enciphered, 'decrypt');
    this.#iv = enciphered.slice(-8);
    const data = plain.slice(0, length);
    if (!equalBytes(hostCrc(concatBytes(data, ZERO.subarray(0, 1))), plain.slice(length, length + 4))) throw new Error("the checksum of the card's answer is wrong");
    return data;
  }

  /** GetCardUID, the one answer of the card level that is enciphered. */
  async cardUid(): Promise<Bytes> {
    this.#iv = desCmac(this.#key, this.#iv, new Uint8Array([0x51]));
    return this.decipher((await this.#host.native(0x51)).data, 7);
  }

  /** ChangeKey of the card's master key to an AES key. */
  changeToAes(key: Uint8Array, version: number, options: { header?: number; change?: (plain: Bytes) => Bytes } = {}): Promise<HostAnswer> {
    const header = [options.header ?? 0x80];
    return this.#host.native(0xc4, concatBytes(new Uint8Array(header), this.encipher(0xc4, header, concatBytes(key, new Uint8Array([version])), options.change)));
  }
}
