/** A card for the tests of this folder: just enough of DESFire Light, in plain sight, to answer what the wallet sends. Not a simulator: nothing else may rely on it. */
import { concatBytes, encodeUintLE, parseUintLE, type Bytes } from '#protocol/bytes.ts';
import type { CardCommand } from '#protocol/apdu.ts';
import { deriveSessionKeys } from '../desfire/authentication.ts';
import { AesCmac, decryptCbc, encryptCbc, padBlocks } from '../desfire/cmac.ts';
import { keyChecksum } from '../desfire/commands.ts';
import { initialVector, type SessionKeys } from '../desfire/secure-messaging.ts';

const HEADER_BYTES: Readonly<Record<number, number>> = { 0x51: 0, 0x6f: 0, 0xf5: 1, 0x64: 1, 0x5f: 1, 0x5c: 1, 0xc4: 1, 0xdf: 1, 0xce: 5, 0x6c: 1, 0xdc: 1, 0x0c: 1, 0xad: 7, 0xab: 7, 0x8b: 7, 0xc7: 1 };
const ENCIPHERED_ANSWER = new Set([0x51, 0x6c, 0xad, 0xab]);
const bytes = (...values: number[]): Bytes => Uint8Array.of(...values);
const rotate = (block: Bytes): Bytes => concatBytes(block.subarray(1), block.subarray(0, 1));
const align = (data: Bytes): Bytes => concatBytes(data, new Uint8Array((16 - (data.length % 16)) % 16));

class Refusal extends Error {
  readonly status: number;
  constructor(status: number) {
    super();
    this.status = status;
  }
}

export class FactoryCard {
  readonly uid: Bytes;
  keys = Array.from({ length: 5 }, () => ({ key: new Uint8Array(16), version: 0 }));
  value = 0;
  records: Bytes[] = [];
  limits = { lower: 0, upper: 0x7fffffff, option: 3 };
  rights: Record<number, Bytes> = { 1: bytes(0x30, 0x12), 3: bytes(0x30, 0x12) };
  transactionMac: { key: Bytes; counter: number; mac: Bytes } | undefined = { key: new Uint8Array(16), counter: 0, mac: new Uint8Array(8) };
  configured = false;
  /** Commands carried out, by opcode. */
  readonly seen: number[] = [];
  #random = 1;
  #half: { keyNumber: number; cardRandom: Bytes } | undefined;
  #session: { keys: SessionKeys; keyNumber: number; counter: number } | undefined;
  #input = new Uint8Array();
  #pending: { value: number; record: Bytes | undefined } | undefined;

  constructor(uid: Bytes) {
    this.uid = uid;
  }

  /** As a reader would: stops after the first unexpected status; `limit` commands at most. */
  transmit(commands: readonly CardCommand[], limit = commands.length): Bytes[] {
    const responses: Bytes[] = [];
    for (const { apdu, expectedStatus } of commands.slice(0, limit)) {
      const response = this.#answer(apdu);
      responses.push(response);
      if (parseUintLE(response.slice(-2).reverse()) !== expectedStatus) break;
    }
    return responses;
  }

  /** Taken off the reader. */
  remove(): void {
    this.#half = this.#session = this.#pending = undefined;
    this.#input = new Uint8Array();
  }

  #answer(apdu: Bytes): Bytes {
    try {
      const instruction = apdu[1] ?? 0;
      if (apdu[0] === 0x00) {
        this.remove();
        return bytes(0x90, 0x00);
      }
      const payload = apdu.length > 5 ? apdu.slice(5, -1) : new Uint8Array();
      if (instruction === 0x71) return this.#challenge(payload[0] ?? 0);
      if (instruction === 0xaf) return this.#authenticate(payload);
      if (instruction === 0x64 && this.#session === undefined && payload.length === 1) return bytes(this.#key(payload[0] ?? 0).version, 0x91, 0x00);
      return this.#secure(instruction, payload);
    } catch (cause) {
      if (!(cause instanceof Refusal)) throw cause;
      this.remove();
      return bytes(0x91, cause.status);
    }
  }

  #challenge(keyNumber: number): Bytes {
    this.remove();
    const cardRandom = new Uint8Array(16).fill(this.#random++);
    this.#half = { keyNumber, cardRandom };
    return concatBytes(encryptCbc(this.#key(keyNumber).key, cardRandom), bytes(0x91, 0xaf));
  }

  #authenticate(payload: Bytes): Bytes {
    if (this.#half === undefined) throw new Refusal(0x1c);
    const { keyNumber, cardRandom } = this.#half;
    const { key } = this.#key(keyNumber);
    const plain = decryptCbc(key, payload);
    const hostRandom = plain.slice(0, 16);
    if (rotate(cardRandom).join() !== plain.slice(16).join()) throw new Refusal(0xae);
    const transactionIdentifier = new Uint8Array(4).fill(this.#random++);
    this.#session = { keys: deriveSessionKeys({ key, hostRandom, cardRandom, transactionIdentifier }), keyNumber, counter: 0 };
    return concatBytes(encryptCbc(key, concatBytes(transactionIdentifier, rotate(hostRandom), new Uint8Array(12))), bytes(0x91, 0x00));
  }

  #secure(instruction: number, payload: Bytes): Bytes {
    const session = this.#session;
    const headerBytes = HEADER_BYTES[instruction];
    if (session === undefined) throw new Refusal(0xae);
    if (headerBytes === undefined || payload.length < headerBytes + 8) throw new Refusal(0x7e);
    const { keys } = session;
    const counter = session.counter++;
    const body = payload.slice(0, -8);
    const mac = keys.mac.computeShort(bytes(instruction), encodeUintLE(counter, 2), keys.transactionIdentifier, body);
    if (mac.join() !== payload.slice(-8).join()) throw new Refusal(0x1e);
    const header = body.slice(0, headerBytes);
    let data = body.slice(headerBytes);
    if (data.length > 0) {
      data = decryptCbc(keys.encryptionKey, data, initialVector(keys, bytes(0xa5, 0x5a), counter));
      data = data.slice(0, data.findLastIndex((byte) => byte !== 0));
    }
    const answer = this.#execute(instruction, header, data, session.keyNumber);
    this.seen.push(instruction);
    if (answer === 'session over') {
      this.remove();
      return bytes(0x91, 0x00);
    }
    const enciphered = ENCIPHERED_ANSWER.has(instruction) ? encryptCbc(keys.encryptionKey, padBlocks(answer), initialVector(keys, bytes(0x5a, 0xa5), counter + 1)) : answer;
    return concatBytes(enciphered, keys.mac.computeShort(bytes(0), encodeUintLE(counter + 1, 2), keys.transactionIdentifier, enciphered), bytes(0x91, 0x00));
  }

  #execute(instruction: number, header: Bytes, data: Bytes, keyNumber: number): Bytes | 'session over' {
    const log = (...parts: Bytes[]): void => void (this.#input = concatBytes(this.#input, ...parts.map(align)));
    const open = () => (this.#pending ??= { value: this.value, record: undefined });
    const file = header[0] ?? 0;
    const issued = (this.rights[3] ?? bytes())[1] === 0x1f;
    switch (instruction) {
      case 0x51: return this.uid;
      case 0x6f: return this.transactionMac === undefined ? bytes(0x1f, 0x03, 0x00, 0x01, 0x04) : bytes(0x0f, 0x1f, 0x03, 0x00, 0x01, 0x04);
      case 0x64: return bytes(this.#key(file).version);
      case 0xf5: return this.#settings(file);
      case 0x6c: {
        if (keyNumber !== 1 && keyNumber !== 3) throw new Refusal(0xae);
        const value = encodeUintLE(this.value, 4);
        log(concatBytes(bytes(0x6c), header, value));
        return value;
      }
      case 0xad: {
        if (keyNumber !== 1 || this.transactionMac === undefined) throw new Refusal(0xae);
        return concatBytes(encodeUintLE(this.transactionMac.counter, 4), this.transactionMac.mac);
      }
      case 0xab: {
        const newest = this.records.at(-1);
        if (newest === undefined) throw new Refusal(0xbe);
        log(concatBytes(bytes(0xab), header), newest);
        return newest;
      }
      case 0x8b: {
        if (!issued) throw new Refusal(0xae);
        log(concatBytes(bytes(0x8b), header), data);
        open().record = data;
        return bytes();
      }
      case 0xdc:
      case 0x0c: {
        if (instruction === 0x0c && keyNumber !== 3) throw new Refusal(0xae);
        const change = instruction === 0x0c ? parseUintLE(data) : -parseUintLE(data);
        const value = open().value + change;
        if (value < this.limits.lower || value > this.limits.upper) throw new Refusal(0xbe);
        open().value = value;
        log(concatBytes(bytes(instruction), header, data));
        return bytes();
      }
      case 0xc7: return this.#commit();
      default: return this.#manage(instruction, header, data, keyNumber);
    }
  }

  #manage(instruction: number, header: Bytes, data: Bytes, keyNumber: number): Bytes | 'session over' {
    const file = header[0] ?? 0;
    if (keyNumber !== 0) throw new Refusal(0xae);
    switch (instruction) {
      case 0x5c:
        if (this.configured) throw new Refusal(0x9d);
        this.configured = true;
        this.limits = { lower: parseUintLE(data.slice(1, 5)), upper: parseUintLE(data.slice(5, 9)), option: data[13] ?? 0 };
        this.value = parseUintLE(data.slice(9, 13));
        return bytes();
      case 0x5f: this.rights[file] = data.slice(1); return bytes();
      case 0xdf:
        if (this.transactionMac === undefined) throw new Refusal(0xf0);
        this.transactionMac = undefined;
        return bytes();
      case 0xce:
        if (this.transactionMac !== undefined) throw new Refusal(0xde);
        this.transactionMac = { key: data.slice(0, 16), counter: 0, mac: new Uint8Array(8) };
        return bytes();
      case 0xc4: return this.#changeKey(file, data, keyNumber);
      default: throw new Refusal(0x1c);
    }
  }

  #changeKey(keyNumber: number, data: Bytes, sessionKeyNumber: number): Bytes | 'session over' {
    if (keyNumber === sessionKeyNumber) {
      this.keys[keyNumber] = { key: data.slice(0, 16), version: data[16] ?? 0 };
      return 'session over';
    }
    const key = data.slice(0, 16).map((byte, i) => byte ^ (this.#key(keyNumber).key[i] ?? 0));
    if (keyChecksum(key) !== parseUintLE(data.slice(17, 21))) throw new Refusal(0x1e);
    this.keys[keyNumber] = { key, version: data[16] ?? 0 };
    return bytes();
  }

  #commit(): Bytes {
    const file = this.transactionMac;
    if (file === undefined) throw new Refusal(0x9d);
    file.counter++;
    const vector = concatBytes(bytes(0x5a, 0x00, 0x01, 0x00, 0x80), encodeUintLE(file.counter, 4), this.uid);
    file.mac = new AesCmac(new AesCmac(file.key).compute(vector)).computeShort(this.#input);
    this.value = this.#pending?.value ?? this.value;
    if (this.#pending?.record !== undefined) this.records.push(this.#pending.record);
    this.#pending = undefined;
    this.#input = new Uint8Array();
    return concatBytes(encodeUintLE(file.counter, 4), file.mac);
  }

  #settings(file: number): Bytes {
    const head = concatBytes(bytes(file === 1 ? 4 : 2, 3), this.rights[file] ?? bytes());
    if (file === 1) return concatBytes(head, encodeUintLE(16, 3), encodeUintLE(5, 3), encodeUintLE(this.records.length, 3));
    return concatBytes(head, encodeUintLE(this.limits.lower, 4), encodeUintLE(this.limits.upper, 4), encodeUintLE(0, 4), bytes(this.limits.option));
  }

  #key(keyNumber: number): { key: Bytes; version: number } {
    const entry = this.keys[keyNumber];
    if (entry === undefined) throw new Refusal(0x40);
    return entry;
  }
}
