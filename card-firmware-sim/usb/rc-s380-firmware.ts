/** The commands of an RC-S380 as its firmware carries them out on a field: a bare radio with CRC, parity and bit counts to be set; all protocol is the host's. */
import { concatBytes, parseUintLE } from '#protocol/bytes.ts';
import type { Bytes } from '#protocol/bytes.ts';
import { withCrc, withoutCrc } from './air-frame.ts';
import type { AirFrame } from './air-frame.ts';
import type { ContactlessField } from './field.ts';

const COMMAND = {
  IN_SET_RF: 0x00, IN_SET_PROTOCOL: 0x02, IN_COMM_RF: 0x04, SWITCH_RF: 0x06, RESET_DEVICE: 0x12,
  GET_FIRMWARE_VERSION: 0x20, GET_PD_DATA_VERSION: 0x22, GET_COMMAND_TYPE: 0x28, SET_COMMAND_TYPE: 0x2a,
} as const;
const STATUS = { OK: 0, PARAMETER: 1, COMMAND_TYPE: 7 } as const;
/** Of InCommRF: 4 bytes, little-endian. */
const RF_STATUS = { FINE: 0, PROTOCOL: 0x01, PARITY: 0x02, CRC: 0x04, COLLISION: 0x08, OVERFLOW: 0x10, RECEIVE_TIMEOUT: 0x80 } as const;
/** Send set and speed, receive set and speed. */
const RF_106A = '2,3,15,3';
const RF_SETTINGS = new Set([RF_106A, '4,4,15,4', '5,5,15,5', '3,7,15,7', '3,8,15,8', '3,9,15,9', '1,1,15,1', '1,2,15,2']);
const KEY = { ADD_CRC: 0x01, CHECK_CRC: 0x02, ADD_PARITY: 0x04, CHECK_PARITY: 0x05, LAST_BITS: 0x07 } as const;
const LAST_KEY = 0x13;
/** At power-up: key by key from 00. */
const PROTOCOL_DEFAULTS = [0x18, 1, 1, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 6] as const;
const SWITCHES: readonly number[] = [KEY.ADD_CRC, KEY.CHECK_CRC, KEY.ADD_PARITY, KEY.CHECK_PARITY];
/** Both ways. */
const MAX_RF_BYTES = 290;
const FIRMWARE_VERSION = new Uint8Array([0x11, 0x01]);
const PD_DATA_VERSION = new Uint8Array([0x00, 0x01]);
/** Types 0 and 1, one bit each, in 8 bytes. */
const COMMAND_TYPES = new Uint8Array([0, 0, 0, 0, 0, 0, 0, 3]);

export class RcS380Firmware {
  readonly #field: ContactlessField;
  #commandType = 0;
  #rf: string | undefined;
  #protocol: number[] = [...PROTOCOL_DEFAULTS];

  constructor(field: ContactlessField) {
    this.#field = field;
  }

  reset(): void {
    this.#commandType = 0;
    this.#rf = undefined;
    this.#protocol = [...PROTOCOL_DEFAULTS];
    this.#field.turnOff();
  }

  /** The payload of a command (D6 and on) to that of its reply; undefined: there is no such command. The signal ends an exchange under way. */
  async execute(payload: Bytes, signal: AbortSignal): Promise<Bytes | undefined> {
    const [direction, command] = payload;
    if (direction !== 0xd6 || command === undefined) return undefined;
    const reply = await this.#run(command, payload.slice(2), signal);
    return reply === undefined ? undefined : concatBytes(new Uint8Array([0xd7, command + 1]), typeof reply === 'number' ? new Uint8Array([reply]) : reply);
  }

  #run(command: number, args: Bytes, signal: AbortSignal): Promise<Bytes> | Bytes | number | undefined {
    switch (command) {
      case COMMAND.SET_COMMAND_TYPE:
        if (args.length !== 1 || (args[0] ?? 0) > 1) return STATUS.PARAMETER;
        this.#commandType = args[0] ?? 0;
        return STATUS.OK;
      case COMMAND.GET_COMMAND_TYPE:
        return COMMAND_TYPES;
      case COMMAND.GET_FIRMWARE_VERSION:
        return FIRMWARE_VERSION;
      case COMMAND.GET_PD_DATA_VERSION:
        return PD_DATA_VERSION;
      case COMMAND.RESET_DEVICE:
        if (args.length !== 2) return STATUS.PARAMETER;
        this.reset();
        return STATUS.OK;
      case COMMAND.IN_COMM_RF:
        return this.#commandType === 1 ? this.#communicate(args, signal) : rfReply(RF_STATUS.PROTOCOL);
      case COMMAND.IN_SET_RF:
      case COMMAND.IN_SET_PROTOCOL:
      case COMMAND.SWITCH_RF:
        return this.#commandType === 1 ? this.#set(command, args) : STATUS.COMMAND_TYPE;
      default:
        return undefined;
    }
  }

  #set(command: number, args: Bytes): number {
    if (command === COMMAND.IN_SET_PROTOCOL) return this.#setProtocol(args);
    if (command === COMMAND.IN_SET_RF) {
      if (!RF_SETTINGS.has(args.join())) return STATUS.PARAMETER;
      this.#rf = args.join();
      return STATUS.OK;
    }
    if (args.length !== 1 || (args[0] ?? 0) > 1) return STATUS.PARAMETER;
    if (args[0] === 1) this.#field.turnOn();
    else this.#field.turnOff();
    return STATUS.OK;
  }

  /** Pairs of key and value; all of them or none. */
  #setProtocol(args: Bytes): number {
    if (args.length === 0 || args.length % 2 !== 0) return STATUS.PARAMETER;
    const changed = [...this.#protocol];
    for (let i = 0; i < args.length; i += 2) {
      const [key = 0xff, value = 0] = args.subarray(i, i + 2);
      const isOutOfRange = (SWITCHES.includes(key) && value > 1) || (key === KEY.LAST_BITS && (value < 1 || value > 8));
      if (key > LAST_KEY || isOutOfRange) return STATUS.PARAMETER;
      changed[key] = value;
    }
    this.#protocol = changed;
    return STATUS.OK;
  }

  #isSet(key: number): boolean {
    return this.#protocol[key] === 1;
  }

  async #communicate(args: Bytes, signal: AbortSignal): Promise<Bytes> {
    const data = args.slice(2);
    if (args.length < 3 || this.#rf === undefined) return rfReply(RF_STATUS.PROTOCOL);
    if (data.length > MAX_RF_BYTES) return rfReply(RF_STATUS.OVERFLOW);
    this.#field.turnOn();
    const answer = await this.#field.exchange(this.#outgoing(data), parseUintLE(args.subarray(0, 2)) / 10, signal);
    if (answer.kind === 'silence') return rfReply(RF_STATUS.RECEIVE_TIMEOUT);
    if (answer.kind === 'collision') return rfReply(RF_STATUS.COLLISION);
    // Every answer of type A has parity; a receiver that does not expect it reads bits that are none.
    if (!this.#isSet(KEY.CHECK_PARITY)) return rfReply(RF_STATUS.PARITY);
    if (!this.#isSet(KEY.CHECK_CRC)) return rfReply(RF_STATUS.FINE, answer.frame);
    const body = withoutCrc(answer.frame);
    return body === undefined ? rfReply(RF_STATUS.CRC) : rfReply(RF_STATUS.FINE, { bytes: body, lastBits: 8 });
  }

  /** What a card of type A can read; anything else reaches it as noise, that is as an empty frame. */
  #outgoing(data: Bytes): AirFrame {
    const lastBits = this.#protocol[KEY.LAST_BITS] ?? 8;
    const isShort = data.length === 1 && lastBits < 8;
    // A short frame has no parity bit (ISO/IEC 14443-3, 6.2.3.1).
    if (this.#rf !== RF_106A || (!this.#isSet(KEY.ADD_PARITY) && !isShort)) return { bytes: new Uint8Array(), lastBits: 8 };
    return { bytes: this.#isSet(KEY.ADD_CRC) ? withCrc(data) : data, lastBits };
  }
}

/** 4 bytes of status, valid bits of the last byte, data; without data the bits are 0. */
function rfReply(status: number, frame?: AirFrame): Bytes {
  const head = new Uint8Array([status, 0, 0, 0, frame?.lastBits ?? 0]);
  return concatBytes(head, frame?.bytes ?? new Uint8Array());
}
