/** The codec of a MagTek MMS terminal: packets in 64-byte reports, messages in packets, BER-TLV in messages; whatever is malformed is undefined, never an error. */
import { concatBytes } from '#protocol/bytes.ts';
import type { Bytes } from '#protocol/bytes.ts';

export const REPORT_BYTES = 64;
const PACKET = { SINGLE: 0, HEAD: 1, MIDDLE: 2, TAIL: 3, CANCEL: 4 } as const;
const HEAD_DATA_BYTES = 59;
const MIDDLE_DATA_BYTES = 61;
const LAST_DATA_BYTES = 62;
/** The total length is the host's word: a longer message is refused at its head. */
export const MAX_MESSAGE_BYTES = 4096;

export const MESSAGE_TYPE = { REQUEST: 0x01, RESPONSE: 0x82, NOTIFICATION: 0x83 } as const;

export interface Tlv {
  readonly tag: number;
  readonly value: Bytes;
}

export interface MmsMessage {
  readonly type: number;
  /** The host's number of its message, which the answer carries back; 0 in a notification. */
  readonly reference: number;
  readonly command: number;
  /** Operation status (tag 82, one byte and three of detail) of a response, or what a notification is about. */
  readonly status?: Bytes | undefined;
  /** Tag 84: the command number again, then TLVs. */
  readonly payload?: Bytes | undefined;
}

export function encodeTlv(tag: number, value: Uint8Array): Bytes {
  const length = value.length < 0x80 ? [value.length] : value.length < 0x100 ? [0x81, value.length] : [0x82, value.length >> 8, value.length & 0xff];
  return concatBytes(bigEndian(tag), new Uint8Array(length), value);
}

/** A list of TLVs with tags of at most three bytes; undefined unless it fits to the last byte. */
export function parseTlvs(bytes: Bytes): readonly Tlv[] | undefined {
  const list: Tlv[] = [];
  for (let at = 0; at < bytes.length; ) {
    let tag = bytes[at++] ?? 0;
    if ((tag & 0x1f) === 0x1f) {
      do {
        const next = bytes[at++];
        if (next === undefined || tag > 0xffff) return undefined;
        tag = (tag << 8) | next;
      } while ((tag & 0x80) !== 0);
    }
    let length = bytes[at++];
    if (length === 0x81) length = bytes[at++];
    else if (length === 0x82) {
      length = ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
      at += 2;
    } else if (length !== undefined && length >= 0x80) return undefined;
    if (length === undefined || at + length > bytes.length) return undefined;
    list.push({ tag, value: bytes.slice(at, at + length) });
    at += length;
  }
  return list;
}

export function encodeMessage({ type, reference, command, status, payload }: MmsMessage): Bytes {
  return concatBytes(
    new Uint8Array([0xaa, 0x00, 0x81, 0x04, type, reference, command >> 8, command & 0xff]),
    status === undefined ? new Uint8Array() : encodeTlv(0x82, status),
    payload === undefined ? new Uint8Array() : encodeTlv(0x84, payload),
  );
}

/** Undefined without the eight bytes that every message begins with; of fields that do not fit, none is taken, so that a request can still be refused. */
export function parseMessage(bytes: Bytes): MmsMessage | undefined {
  const [start, version, tag, length, type = 0, reference = 0, high = 0, low = 0] = bytes;
  if (bytes.length < 8 || start !== 0xaa || version !== 0 || tag !== 0x81 || length !== 4) return undefined;
  const fields = parseTlvs(bytes.slice(8));
  const field = (wanted: number): Bytes | undefined => fields?.find((one) => one.tag === wanted)?.value;
  return { type, reference, command: (high << 8) | low, status: field(0x82), payload: field(0x84) };
}

/** The reports that carry one message; the last data packet before the tail is full, as the vendor's own program sends them. */
export function splitIntoReports(message: Bytes): readonly Bytes[] {
  if (message.length <= LAST_DATA_BYTES) return [report([PACKET.SINGLE, message.length], message)];
  const length = message.length;
  const reports = [report([PACKET.HEAD, 0, 0, length >> 8, length & 0xff], message.slice(0, HEAD_DATA_BYTES))];
  let at = HEAD_DATA_BYTES;
  for (let index = 1; length - at > LAST_DATA_BYTES; index++) {
    reports.push(report([PACKET.MIDDLE, index >> 8, index & 0xff], message.slice(at, at + MIDDLE_DATA_BYTES)));
    at += MIDDLE_DATA_BYTES;
  }
  return [...reports, report([PACKET.TAIL, length - at], message.slice(at))];
}

function report(header: readonly number[], data: Bytes): Bytes {
  const bytes = new Uint8Array(REPORT_BYTES);
  bytes.set(header);
  bytes.set(data, header.length);
  return bytes;
}

/** Puts messages together again; a packet out of order, too long or unknown drops what was begun. */
export class PacketAssembler {
  #expected = 0;
  #index = 0;
  #parts: Bytes[] = [];

  /** The message that this report completes, if any. */
  push(packet: Bytes): Bytes | undefined {
    switch (packet[0] ?? -1) {
      case PACKET.SINGLE:
        this.drop();
        return piece(packet, packet[1] ?? 0);
      case PACKET.HEAD:
        this.#begin(packet);
        return undefined;
      case PACKET.MIDDLE:
        this.#continue(packet);
        return undefined;
      case PACKET.TAIL:
        return this.#end(packet);
      default:
        this.drop();
        return undefined;
    }
  }

  drop(): void {
    this.#parts = [];
    this.#expected = 0;
  }

  get #held(): number {
    return this.#parts.reduce((sum, part) => sum + part.length, 0);
  }

  #begin(packet: Bytes): void {
    const [, b3 = 0, b2 = 0, b1 = 0, b0 = 0] = packet;
    const length = b3 * 0x1000000 + (b2 << 16) + (b1 << 8) + b0;
    this.drop();
    if (packet.length < 5 + HEAD_DATA_BYTES || length <= HEAD_DATA_BYTES || length > MAX_MESSAGE_BYTES) return;
    this.#expected = length;
    this.#index = 1;
    this.#parts = [packet.slice(5, 5 + HEAD_DATA_BYTES)];
  }

  #continue(packet: Bytes): void {
    const [, high = 0, low = 0] = packet;
    const isNext = this.#expected > 0 && ((high << 8) | low) === this.#index && this.#held + MIDDLE_DATA_BYTES <= this.#expected;
    if (!isNext || packet.length < 3 + MIDDLE_DATA_BYTES) {
      this.drop();
      return;
    }
    this.#index++;
    this.#parts.push(packet.slice(3, 3 + MIDDLE_DATA_BYTES));
  }

  #end(packet: Bytes): Bytes | undefined {
    const last = piece(packet, packet[1] ?? 0);
    const whole = last === undefined ? undefined : concatBytes(...this.#parts, last);
    const isWhole = this.#expected > 0 && whole?.length === this.#expected;
    this.drop();
    return isWhole ? whole : undefined;
  }
}

function piece(packet: Bytes, length: number): Bytes | undefined {
  return length > LAST_DATA_BYTES || packet.length < 2 + length ? undefined : packet.slice(2, 2 + length);
}

function bigEndian(tag: number): Uint8Array {
  return new Uint8Array(tag > 0xffff ? [tag >> 16, (tag >> 8) & 0xff, tag & 0xff] : tag > 0xff ? [tag >> 8, tag & 0xff] : [tag]);
}
