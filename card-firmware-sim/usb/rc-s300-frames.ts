/** What goes over the bulk endpoints of an RC-S300: CCID Escape messages, and the pseudo-APDUs and data objects (PC/SC part 3, supplement) inside them. Refuses what is malformed. */
import { concatBytes } from '#protocol/bytes.ts';
import type { Bytes } from '#protocol/bytes.ts';

/** CCID 1.1, 6.1.8 and 6.2.4. */
export const ESCAPE = 0x6b;
const ESCAPE_ANSWER = 0x83;
export const CCID_HEADER_BYTES = 10;
/** dwMaxCCIDMessageLength. */
export const MAX_CCID_BYTES = 522;
/** No card in the CCID slot: what a real reader says here even with a card in its field. */
const NO_ICC = 0x02;
export const COMMAND_STATUS = { OK: 0x00, FAILED: 0x40, TIME_EXTENSION: 0x80 } as const;
/** bError (6.2.6, and offsets into the message of what is wrong). */
export const SLOT_ERROR = { NONE: 0x00, BAD_LENGTH: 0x01, NO_SUCH_SLOT: 0x05, RESERVED_SET: 0x07, BUSY: 0xe0 } as const;

export interface CcidMessage {
  readonly type: number;
  readonly length: number;
  readonly slot: number;
  readonly sequence: number;
  readonly reserved: number;
  readonly data: Bytes;
}

/** `message` has at least a header. `length` is what it says, `data` what there is. */
export function parseCcidMessage(message: Bytes): CcidMessage {
  const view = new DataView(message.buffer, message.byteOffset, message.length);
  return {
    type: view.getUint8(0), length: view.getUint32(1, true), slot: view.getUint8(5), sequence: view.getUint8(6),
    reserved: view.getUint8(7) | view.getUint8(8) | view.getUint8(9), data: message.slice(CCID_HEADER_BYTES),
  };
}

export function encodeEscapeAnswer(sequence: number, status: number, error: number, data: Bytes): Bytes {
  const header = new Uint8Array(CCID_HEADER_BYTES);
  header.set([ESCAPE_ANSWER]);
  new DataView(header.buffer).setUint32(1, data.length, true);
  header.set([sequence, status | NO_ICC, error], 6);
  return concatBytes(header, data);
}

export const SW = {
  OK: 0x9000, NO_INFORMATION: 0x6300, STOPPED: 0x6301, NO_READER_ANSWER: 0x6400, NO_CARD_ANSWER: 0x6401, WRONG_LENGTH: 0x6700,
  NOT_SATISFIED: 0x6985, ACCESS_NOT_GRANTED: 0x698a, BAD_VALUE: 0x6a80, NOT_SUPPORTED: 0x6a81, BAD_PARAMETERS: 0x6a86, NO_SUCH_INS: 0x6d00,
  NO_SUCH_CLASS: 0x6e00, UNSPECIFIED: 0x6f00,
} as const;

export function encodeSw(sw: number): Bytes {
  return new Uint8Array([sw >> 8, sw & 0xff]);
}

export interface PseudoApdu {
  readonly ins: number;
  readonly p1: number;
  readonly p2: number;
  readonly data: Bytes;
}

/** Short or extended, with Le or without; an SW where it is neither. Class FF only. */
export function parsePseudoApdu(bytes: Bytes): PseudoApdu | number {
  const [cla, ins, p1, p2] = bytes;
  if (ins === undefined || p1 === undefined || p2 === undefined) return SW.WRONG_LENGTH;
  if (cla !== 0xff) return SW.NO_SUCH_CLASS;
  const body = bytes.subarray(4);
  // Nothing, or Le alone.
  if (body.length <= 1) return { ins, p1, p2, data: new Uint8Array() };
  const isExtended = body[0] === 0;
  if (isExtended && body.length < 3) return SW.WRONG_LENGTH;
  const start = isExtended ? 3 : 1;
  const length = isExtended ? ((body[1] ?? 0) << 8) | (body[2] ?? 0) : (body[0] ?? 0);
  const rest = body.length - start - length;
  // Real hosts end the extended form with three bytes, where ISO/IEC 7816-4 has two.
  if (rest < 0 || rest > (isExtended ? 3 : 1)) return SW.WRONG_LENGTH;
  return { ins, p1, p2, data: body.slice(start, start + length) };
}

/** A data object: `tag` with all its bytes, so 0x5f46, 0xff6e03. */
export interface DataObject {
  readonly tag: number;
  readonly value: Bytes;
}

/** Sony's vendor parameters are numbered inside FF 6E: `FF 6E 03 id 01 value`. */
export const TAG = {
  VERSION: 0x80, START: 0x81, END: 0x82, RF_OFF: 0x83, RF_ON: 0x84, TIMER: 0x5f46, FLAGS: 0x90, TX_BITS: 0x91, RX_BITS: 0x92,
  TRANSMIT: 0x93, RECEIVE: 0x94, TRANSCEIVE: 0x95, RF_STATUS: 0x96, RESPONSE: 0x97, PROTOCOL: 0x8f, ATR: 0x5f51, STATUS: 0xc0, VENDOR: 0xff6e,
} as const;

/** The objects of a command, as far as they can be read; `cut`: what follows them cannot. */
export function parseDataObjects(bytes: Bytes): { readonly objects: readonly DataObject[]; readonly cut: boolean } {
  const objects: DataObject[] = [];
  for (let at = 0; at < bytes.length;) {
    const tagBytes = ((bytes[at] ?? 0) & 0x1f) === 0x1f ? 2 : 1;
    const length = parseLength(bytes.subarray(at + tagBytes));
    if (length === undefined) return { objects, cut: true };
    const start = at + tagBytes + length.bytes;
    if (start + length.value > bytes.length) return { objects, cut: true };
    const tag = tagBytes === 2 ? ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0) : (bytes[at] ?? 0);
    objects.push({ tag, value: bytes.slice(start, start + length.value) });
    at = start + length.value;
  }
  return { objects, cut: false };
}

/** BER: one byte below 80, or 81 and one, or 82 and two. */
function parseLength(bytes: Bytes): { value: number; bytes: number } | undefined {
  const [first, second, third] = bytes;
  if (first === undefined) return undefined;
  if (first < 0x80) return { value: first, bytes: 1 };
  if (first === 0x81 && second !== undefined) return { value: second, bytes: 2 };
  if (first === 0x82 && second !== undefined && third !== undefined) return { value: (second << 8) | third, bytes: 3 };
  return undefined;
}

export function encodeDataObject(tag: number, value: Uint8Array): Bytes {
  const head = tag > 0xff ? [tag >> 8, tag & 0xff] : [tag];
  const { length } = value;
  const size = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return concatBytes(new Uint8Array([...head, ...size]), value);
}

/** C0: the generic status; `index` of the object that failed, from 1, or 0. */
export function encodeStatus(index: number, sw: number): Bytes {
  return encodeDataObject(TAG.STATUS, new Uint8Array([index, sw >> 8, sw & 0xff]));
}
