/** Frames of the RC-S380 (Sony NFC Port-100): commands and replies with their checksums, ACK and error frames. Pure. */
import { concatBytes, encodeUintLE, type Bytes } from '#protocol/bytes.ts';
import { Failure } from '#protocol/failure.ts';

export const ACK: Bytes = Uint8Array.of(0x00, 0x00, 0xff, 0x00, 0xff, 0x00);
const ERROR: Bytes = Uint8Array.of(0x00, 0x00, 0xff, 0xff, 0xff);
const DATA_START: Bytes = Uint8Array.of(0x00, 0x00, 0xff, 0xff, 0xff);
/** Start, length and its checksum. */
const HEADER_BYTES = 8;
/** Checksum and postamble. */
const TRAILER_BYTES = 2;
/** A radio frame of 290 bytes with what stands before it; no reply is longer. */
const MAX_PAYLOAD_BYTES = 300;

export const COMMAND = {
  inSetRf: 0x00,
  inSetProtocol: 0x02,
  inCommRf: 0x04,
  switchRf: 0x06,
  getFirmwareVersion: 0x20,
  setCommandType: 0x2a,
} as const;
export type CommandCode = (typeof COMMAND)[keyof typeof COMMAND];

const TO_READER = 0xd6;
const FROM_READER = 0xd7;

/** What makes the sum of all bytes 0. */
const checksum = (bytes: Uint8Array): number => -bytes.reduce((sum, byte) => sum + byte, 0) & 0xff;

/** A command frame: `D6 code args`. */
export function encodeCommand(code: CommandCode, args: Uint8Array = new Uint8Array()): Bytes {
  const payload = concatBytes(Uint8Array.of(TO_READER, code), args);
  const length = encodeUintLE(payload.length, 2);
  return concatBytes(DATA_START, length, Uint8Array.of(checksum(length)), payload, Uint8Array.of(checksum(payload), 0x00));
}

export type Frame =
  | { readonly kind: 'ack'; readonly frameBytes: number }
  | { readonly kind: 'error'; readonly frameBytes: number }
  | { readonly kind: 'data'; readonly frameBytes: number; readonly payload: Bytes };

const startsWith = (bytes: Uint8Array, start: Uint8Array): boolean => start.every((byte, at) => bytes[at] === byte);

/** The frame that the bytes begin with; undefined: its end has not come yet. Fails with `reader/failed` where no frame begins so. */
export function parseFrame(bytes: Bytes): Frame | undefined {
  if (startsWith(bytes, ACK)) return { kind: 'ack', frameBytes: ACK.length };
  // An error frame is how a data frame begins; only it can end there, as no transfer ends within a packet's first 8 bytes otherwise.
  if (bytes.length === ERROR.length && startsWith(bytes, ERROR)) return { kind: 'error', frameBytes: ERROR.length };
  if (startsWith(ACK, bytes)) return undefined;
  if (!startsWith(DATA_START, bytes.subarray(0, DATA_START.length))) throw malformed('frame start');
  if (bytes.length < HEADER_BYTES) return undefined;
  const length = bytes.subarray(5, 7);
  if (bytes[7] !== checksum(length)) throw malformed('checksum of the length');
  const payloadBytes = (length[0] ?? 0) | ((length[1] ?? 0) << 8);
  if (payloadBytes > MAX_PAYLOAD_BYTES) throw malformed('length');
  const frameBytes = HEADER_BYTES + payloadBytes + TRAILER_BYTES;
  if (bytes.length < frameBytes) return undefined;
  const payload = bytes.slice(HEADER_BYTES, HEADER_BYTES + payloadBytes);
  if (bytes[frameBytes - 2] !== checksum(payload) || bytes[frameBytes - 1] !== 0x00) throw malformed('checksum');
  return { kind: 'data', frameBytes, payload };
}

/** The arguments of the reply to that command; undefined: a reply to another one. */
export function parseReply(payload: Bytes, code: CommandCode): Bytes | undefined {
  return payload[0] === FROM_READER && payload[1] === code + 1 ? payload.slice(2) : undefined;
}

/** Speeds of type A at 106 kbit/s, as initiator, both ways. */
export const RF_106A: Bytes = Uint8Array.of(0x02, 0x03, 0x0f, 0x03);

/** Keys of InSetProtocol that are set here, each to one byte. */
export const PROTOCOL = { initialGuardTime: 0x00, addCrc: 0x01, checkCrc: 0x02, addParity: 0x04, checkParity: 0x05, lastByteBits: 0x07 } as const;

/** Key and value of every setting as the reader's makers have it in their software. */
export const PROTOCOL_DEFAULTS: Bytes = Uint8Array.of(
  0x00, 0x18, 0x01, 0x01, 0x02, 0x01, 0x03, 0x00, 0x04, 0x00, 0x05, 0x00, 0x06, 0x00, 0x07, 0x08, 0x08, 0x00, 0x09, 0x00,
  0x0a, 0x00, 0x0b, 0x00, 0x0c, 0x00, 0x0e, 0x04, 0x0f, 0x00, 0x10, 0x00, 0x11, 0x00, 0x12, 0x00, 0x13, 0x06,
);

/** Arguments of InCommRF: the time for the card's answer in units of 0.1 ms, one millisecond added, and the frame. */
export function encodeRadioFrame(data: Uint8Array, timeoutMs: number): Bytes {
  return concatBytes(encodeUintLE(Math.min(Math.ceil((timeoutMs + 1) * 10), 0xffff), 2), data);
}

/** Bits of InCommRF's status that tell of the card's frame. */
const RF_STATUS = { protocol: 0x01, parity: 0x02, crc: 0x04, collision: 0x08, overflow: 0x10, silent: 0x80, length: 0x80000000 } as const;
const FRAME_FAULTS = RF_STATUS.protocol | RF_STATUS.parity | RF_STATUS.crc | RF_STATUS.collision | RF_STATUS.overflow | RF_STATUS.length;

export type RadioAnswer = Bytes | 'timeout' | 'collision' | 'garbled';

/** InCommRF's reply. Fails with `reader/failed` where the reader itself is in trouble: too hot, no field, nothing sent. */
export function parseRadioAnswer(args: Bytes): RadioAnswer {
  if (args.length < 4) throw malformed('radio answer');
  const status = new DataView(args.buffer, args.byteOffset).getUint32(0, true);
  if (status === 0) {
    // Valid bits of the last byte: our cards answer in whole ones.
    if (args.length < 6) throw malformed('radio answer');
    return args[4] === 8 ? args.slice(5) : 'garbled';
  }
  // A frame that came and was broken tells more than the end of waiting for a better one.
  if ((status & ~(FRAME_FAULTS | RF_STATUS.silent)) !== 0) throw new Failure('reader/failed', { detail: `radio status ${status.toString(16)}` });
  if ((status & RF_STATUS.collision) !== 0) return 'collision';
  return (status & FRAME_FAULTS) !== 0 ? 'garbled' : 'timeout';
}

const malformed = (what: string): Failure => new Failure('reader/failed', { detail: `malformed ${what}` });
