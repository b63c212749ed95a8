/** MagTek's MMS messages and the HID reports that carry them (DynaFlex and DynaProx Programmer's Manual, chapter 3; API_mmsParse.js of the vendor's demo). Pure. */
import { concatBytes, equalBytes, parseHex, type Bytes } from '#protocol/bytes.ts';

export const REPORT_BYTES = 64;
const PACKET = { single: 0x00, head: 0x01, middle: 0x02, tail: 0x03, cancel: 0x04 } as const;
const SINGLE_BYTES = 62;
const HEAD_BYTES = 59;
const MIDDLE_BYTES = 61;
/** Far above a response APDU in its wrappings; EMV data of a transaction that nobody wants may be some kilobytes. */
export const MAX_MESSAGE_BYTES = 16_384;
const START = Uint8Array.of(0xaa, 0x00);

export const MESSAGE_TYPE = { request: 0x01, response: 0x82, notification: 0x83 } as const;
export const COMMAND = { startTransaction: 0x1001, cancelTransaction: 0x1008, passThroughDesfire: 0x1102 } as const;
export const NOTIFICATION = { transactionUpdate: 0x0101, transactionComplete: 0x0105 } as const;

export interface Tlv {
  readonly tag: number;
  readonly value: Bytes;
}

const uint16 = (value: number): number[] => [value >> 8, value & 0xff];

function encodeLength(length: number): number[] {
  if (length < 0x80) return [length];
  return length < 0x100 ? [0x81, length] : [0x82, ...uint16(length)];
}

/** BER-TLV with a tag of one or two bytes and a definite length. */
export function encodeTlv(tag: number, value: Uint8Array): Bytes {
  return concatBytes(Uint8Array.from([...(tag > 0xff ? uint16(tag) : [tag]), ...encodeLength(value.length)]), value);
}

/** Everything in `bytes` as BER-TLV, nothing left over; RangeError otherwise. Lengths may be longer than needed: the devices send them so. */
export function parseTlvs(bytes: Bytes): Tlv[] {
  const found: Tlv[] = [];
  let at = 0;
  const next = (): number => {
    const byte = bytes[at++];
    if (byte === undefined) throw new RangeError('a TLV that is cut off');
    return byte;
  };
  while (at < bytes.length) {
    let tag = next();
    // X.690, 8.1.2.4: more tag bytes follow while their bit 8 is set.
    if ((tag & 0x1f) === 0x1f) {
      let more: number;
      do {
        more = next();
        tag = tag * 256 + more;
      } while ((more & 0x80) !== 0 && tag <= 0xffff);
    }
    let length = next();
    if (length === 0x81) length = next();
    else if (length === 0x82) length = (next() << 8) | next();
    else if (length >= 0x80) throw new RangeError('a TLV with an indefinite or huge length');
    if (length > bytes.length - at) throw new RangeError('a TLV longer than what holds it');
    found.push({ tag, value: bytes.slice(at, at + length) });
    at += length;
  }
  return found;
}

/** Value of the first one with that tag. */
export function tlvValue(tlvs: readonly Tlv[], tag: number): Bytes | undefined {
  return tlvs.find((tlv) => tlv.tag === tag)?.value;
}

/** A request of the host: its payload begins with the command once more. */
export function encodeRequest(reference: number, command: number, parameters: Uint8Array): Bytes {
  return concatBytes(START, encodeTlv(0x81, Uint8Array.from([MESSAGE_TYPE.request, reference, ...uint16(command)])), encodeTlv(0x84, concatBytes(Uint8Array.from(uint16(command)), parameters)));
}

/** Command 1102: one command APDU in clear, with more to come (`83 00`): the session goes on until it is cancelled. */
export function encodePassThrough(commandApdu: Uint8Array): Bytes {
  return concatBytes(encodeTlv(0x81, commandApdu), parseHex('820100830100'));
}

/** Command 1001 as the vendor's demo sends it for NFC (120 s, contactless only), but for an amount of zero: nothing is to be authorised, and nothing foreign shown. */
export const START_NFC_TRANSACTION = parseHex('820178A3098101008201008301038402020386279C01009F02060000000000009F03060000000000005F2A0208405F3601029F150200009F530100');

export interface MmsMessage {
  readonly type: number;
  /** The request that it answers; 0 in a notification. */
  readonly reference: number;
  /** Command or notification number. */
  readonly command: number;
  /** Operation status of a response, detail code of a notification: 4 bytes. */
  readonly detail: Bytes | undefined;
  /** Without the number that it may begin with. */
  readonly payload: Bytes;
}

/** One message; RangeError for anything that is not exactly one. */
export function parseMessage(bytes: Bytes): MmsMessage {
  if (!equalBytes(bytes.subarray(0, 2), START)) throw new RangeError('no MMS message');
  const tlvs = parseTlvs(bytes.slice(2));
  const information = tlvValue(tlvs, 0x81);
  if (tlvs[0]?.tag !== 0x81 || information === undefined || information.length < 4) throw new RangeError('an MMS message without its head');
  const [type = 0, reference = 0, commandHigh = 0, commandLow = 0] = information;
  const detail = tlvValue(tlvs, 0x82);
  if (detail !== undefined && detail.length !== 4) throw new RangeError('an MMS message with a detail that is not 4 bytes');
  const payload = tlvValue(tlvs, 0x84) ?? new Uint8Array();
  const repeatsNumber = payload[0] === commandHigh && payload[1] === commandLow;
  return { type, reference, command: (commandHigh << 8) | commandLow, detail, payload: repeatsNumber ? payload.slice(2) : payload };
}

/** Answer of 1102: `81` status word, `82` data, in clear and wrapped `FC { DF7A }` or bare. RangeError for anything else. */
export function parsePassThrough(payload: Bytes): Bytes {
  const tlvs = parseTlvs(payload);
  const status = tlvValue(tlvs, 0x81);
  if (status?.length !== 2) throw new RangeError('a pass-through answer without a status word');
  return concatBytes(unwrap(tlvValue(tlvs, 0x82) ?? new Uint8Array(), [0xfc, 0xdf7a]), status);
}

/** UID of the notification that a card lies there: `84 { FC { DF7A } }`, or less wrapped; undefined where none can be made out. */
export function parseUid(payload: Bytes): Bytes | undefined {
  const inner = unwrap(payload, [0x84]);
  const uid = unwrap(inner, [0xfc, 0xdf7a]);
  return [4, 7, 10].includes(uid.length) ? uid : undefined;
}

/** What lies in the containers with these tags, one in the other; `bytes` itself unless it is exactly that. */
function unwrap(bytes: Bytes, tags: readonly number[]): Bytes {
  let inner = bytes;
  for (const [depth, tag] of tags.entries()) {
    // A container may be empty: an answer that is a status word and no data.
    if (depth > 0 && inner.length === 0) return inner;
    try {
      const [only, ...others] = parseTlvs(inner);
      if (only?.tag !== tag || others.length > 0) return bytes;
      inner = only.value;
    } catch {
      // Bare data need not look like TLV.
      return bytes;
    }
  }
  return inner;
}

/** The reports of one message. */
export function encodeReports(message: Uint8Array): Bytes[] {
  if (message.length > MAX_MESSAGE_BYTES) throw new RangeError('longer than a message may be');
  const report = (head: readonly number[], data: Uint8Array): Bytes => {
    const bytes = new Uint8Array(REPORT_BYTES);
    bytes.set(head);
    bytes.set(data, head.length);
    return bytes;
  };
  if (message.length <= SINGLE_BYTES) return [report([PACKET.single, message.length], message)];
  const reports = [report([PACKET.head, 0, 0, ...uint16(message.length)], message.subarray(0, HEAD_BYTES))];
  let at = HEAD_BYTES;
  for (let index = 1; message.length - at > SINGLE_BYTES; index++, at += MIDDLE_BYTES) reports.push(report([PACKET.middle, ...uint16(index)], message.subarray(at, at + MIDDLE_BYTES)));
  return [...reports, report([PACKET.tail, message.length - at], message.subarray(at))];
}

/** Puts messages together from reports; what does not follow is a RangeError, and the next single or head report starts anew. */
export class MessageAssembly {
  #parts: Bytes[] = [];
  #total = 0;

  /** The message, once it is whole. */
  accept(report: Bytes): Bytes | undefined {
    const [kind = 0, second = 0, third = 0] = report;
    if (report.length !== REPORT_BYTES) return this.#refuse(`a report of ${report.length} bytes`);
    switch (kind) {
      case PACKET.single:
        this.#parts = [];
        return second <= SINGLE_BYTES ? report.slice(2, 2 + second) : this.#refuse('a single report that is too long');
      case PACKET.head:
        this.#total = new DataView(report.buffer, report.byteOffset).getUint32(1);
        // The length is the device's word: bounded before anything is kept for it.
        if (this.#total > MAX_MESSAGE_BYTES || this.#total <= HEAD_BYTES) return this.#refuse(`a message of ${this.#total} bytes`);
        this.#parts = [report.slice(5)];
        return undefined;
      case PACKET.middle:
        if (this.#parts.length === 0 || ((second << 8) | third) !== this.#parts.length) return this.#refuse('a middle report out of sequence');
        this.#parts.push(report.slice(3));
        return this.#received() < this.#total ? undefined : this.#refuse('more than the message has bytes');
      case PACKET.tail:
        return this.#finish(second, report);
      case PACKET.cancel:
        this.#parts = [];
        return undefined;
      default:
        return this.#refuse('a report of an unknown kind');
    }
  }

  #finish(length: number, report: Bytes): Bytes | undefined {
    if (this.#parts.length === 0 || length > SINGLE_BYTES || this.#received() + length !== this.#total) return this.#refuse('a tail that does not fit');
    const message = concatBytes(...this.#parts, report.subarray(2, 2 + length));
    this.#parts = [];
    return message;
  }

  #received(): number {
    return this.#parts.reduce((sum, part) => sum + part.length, 0);
  }

  #refuse(why: string): never {
    this.#parts = [];
    throw new RangeError(why);
  }
}
