/**
 * What the RC-S300 is told and what it answers: CCID Escape messages around pseudo-APDUs, as PC/SC part 3 (supplement) names
 * them, with Sony's own instruction and tags. Pure; every length is judged before it is believed.
 */
import { concatBytes, type Bytes } from '#protocol/bytes.ts';
import { Failure } from '#protocol/failure.ts';
import { FSDI } from '../iso-dep-ats.ts';

const COMMAND = 0x6b;
const RESPONSE = 0x83;
export const HEADER_BYTES = 10;
/** dwMaxCCIDMessageLength of its descriptor. */
const MAX_MESSAGE_BYTES = 522;

/** PC_to_RDR_Escape on slot 0 (CCID 1.1, 6.1.8). */
export function encodeMessage(sequence: number, data: Uint8Array): Bytes {
  const header = new Uint8Array(HEADER_BYTES);
  const view = new DataView(header.buffer);
  view.setUint8(0, COMMAND);
  view.setUint32(1, data.length, true);
  view.setUint8(6, sequence);
  return concatBytes(header, data);
}

export interface MessageHeader {
  readonly dataBytes: number;
  readonly sequence: number;
  /** bStatus, bits 7 and 6; `busy`: failed with bError E0, so that nothing was done. */
  readonly outcome: 'done' | 'busy' | 'failed' | 'more-time';
  readonly error: number;
}

/** The first 10 bytes of RDR_to_PC_Escape (CCID 1.1, 6.2.5); undefined: not the beginning of one. */
export function parseHeader(bytes: Bytes): MessageHeader | undefined {
  if (bytes.length < HEADER_BYTES || bytes[0] !== RESPONSE || bytes[5] !== 0) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const dataBytes = view.getUint32(1, true);
  if (dataBytes > MAX_MESSAGE_BYTES - HEADER_BYTES) return undefined;
  const error = view.getUint8(8);
  const outcomes = ['done', error === 0xe0 ? 'busy' : 'failed', 'more-time'] as const;
  const outcome = outcomes[view.getUint8(7) >> 6];
  return outcome && { dataBytes, sequence: view.getUint8(6), outcome, error };
}

const pseudo = (...parts: readonly (readonly number[] | Uint8Array)[]): Bytes => concatBytes(...parts.map((part) => Uint8Array.from(part)));
const manageSession = (...objects: readonly number[]): Bytes => pseudo([0xff, 0x50, 0x00, 0x00, objects.length], objects, [0x00]);
const switchProtocol = (...objects: readonly number[]): Bytes => pseudo([0xff, 0x50, 0x00, 0x02, objects.length], objects, [0x00]);

export const START_SESSION = manageSession(0x81, 0x00);
export const END_SESSION = manageSession(0x82, 0x00);
export const RF_OFF = manageSession(0x83, 0x00);
export const RF_ON = manageSession(0x84, 0x00);
/** Type A up to the selection of a card (ISO/IEC 14443-3). */
export const TO_LAYER_3 = switchProtocol(0x8f, 0x02, 0x00, 0x03);
/** Type A up to the ATS (ISO/IEC 14443-4, 5), with our FSDI and CID 0. */
export const TO_LAYER_4 = switchProtocol(0xff, 0x6e, 0x03, 0x01, 0x01, FSDI, 0xff, 0x6e, 0x03, 0x08, 0x01, 0x00, 0x8f, 0x02, 0x00, 0x04);
export const GET_UID = pseudo([0xff, 0xca, 0x00, 0x00]);
/** ATS, or its historical bytes alone: no source tells which. */
export const GET_ATS = pseudo([0xff, 0xca, 0x01, 0x00]);

/** Bits of the object 90: what the reader shall leave to us. */
const FLAGS = { noCrcOut: 0x01, noCrcIn: 0x02, noPrologue: 0x10 } as const;

export interface RfFrame {
  readonly data: Uint8Array;
  readonly timeoutMs: number;
  /** Valid bits of the last byte, 0: all; kept by the reader until it is told otherwise, so undefined leaves it. */
  readonly lastByteBits?: number;
  /** CRC_A is added, checked and taken off by the reader. */
  readonly withCrc: boolean;
}

/** Transparent Exchange of one frame; parity is always the reader's. */
export function encodeExchange({ data, timeoutMs, lastByteBits, withCrc }: RfFrame): Bytes {
  const flags = FLAGS.noPrologue | (withCrc ? 0 : FLAGS.noCrcOut | FLAGS.noCrcIn);
  const timer = new Uint8Array(4);
  new DataView(timer.buffer).setUint32(0, Math.round(timeoutMs * 1000), true);
  const objects = concatBytes(
    // Flags stay in the reader from one exchange to the next: said each time, nothing depends on what was before.
    Uint8Array.of(0x90, 0x02, 0x00, flags),
    lastByteBits === undefined ? new Uint8Array() : Uint8Array.of(0x91, 0x01, lastByteBits),
    Uint8Array.of(0x5f, 0x46, 0x04),
    timer,
    Uint8Array.of(0x95, 0x82, data.length >> 8, data.length & 0xff),
    data,
  );
  return pseudo([0xff, 0x50, 0x00, 0x01, 0x00, objects.length >> 8, objects.length & 0xff], objects, [0x00, 0x00, 0x00]);
}

export interface Reply {
  /** Bytes before the status word. */
  readonly data: Bytes;
  /** SW1 SW2 of the pseudo-APDU itself. */
  readonly status: number;
}

export function parseReply(bytes: Bytes): Reply {
  if (bytes.length < 2) throw malformed('reply without a status word');
  return { data: bytes.slice(0, -2), status: ((bytes.at(-2) ?? 0) << 8) | (bytes.at(-1) ?? 0) };
}

export interface ReplyObjects {
  /** SW1 SW2 of object C0: how the request's objects fared. */
  readonly status: number | undefined;
  /** Object 96: what was wrong with the card's frame; 0 is nothing. */
  readonly rfErrors: number;
  /** Object 97: the card's frame. */
  readonly response: Bytes | undefined;
}

export const RF_COLLISION = 0x02;

/** The objects of a reply. One that we do not know ends the list, as it does for Sony's own software; a length that lies fails. */
export function parseObjects(data: Bytes): ReplyObjects {
  let status: number | undefined;
  let rfErrors = 0;
  let response: Bytes | undefined;
  for (const { tag, value } of knownObjects(data)) {
    if (tag === 0xc0) {
      if (value.length !== 3) throw malformed('generic status');
      status = ((value[1] ?? 0) << 8) | (value[2] ?? 0);
    } else if (tag === 0x96) {
      if (value.length !== 2) throw malformed('response status');
      rfErrors = value[0] ?? 0;
    } else if (tag === 0x97) {
      response = value;
    }
  }
  return { status, rfErrors, response };
}

const ONE_BYTE_TAGS = new Set([0x80, 0x8f, 0x92, 0x96, 0x97, 0xc0]);
const TWO_BYTE_TAGS = new Set([0x5f51, 0xff6d, 0xff6e]);

function* knownObjects(data: Bytes): Generator<{ tag: number; value: Bytes }> {
  for (let at = 0; at < data.length; ) {
    const first = data[at] ?? 0;
    const both = (first << 8) | (data[at + 1] ?? 0);
    const tag = ONE_BYTE_TAGS.has(first) ? first : TWO_BYTE_TAGS.has(both) ? both : undefined;
    if (tag === undefined) return;
    at += tag > 0xff ? 2 : 1;
    // ISO/IEC 8825-1, 8.1.3: one byte below 80, or 81 and one byte, or 82 and two.
    const form = data[at++];
    const lengthBytes = form === 0x81 ? 1 : form === 0x82 ? 2 : 0;
    if (form === undefined || (form > 0x7f && lengthBytes === 0) || at + lengthBytes > data.length) throw malformed('length');
    let length = lengthBytes === 0 ? form : 0;
    for (const byte of data.subarray(at, at + lengthBytes)) length = (length << 8) | byte;
    at += lengthBytes;
    if (at + length > data.length) throw malformed('object longer than the reply');
    yield { tag, value: data.slice(at, at + length) };
    at += length;
  }
}

const malformed = (what: string): Failure => new Failure('reader/failed', { detail: `malformed ${what}` });
