/** Frames of ID TECH's ViVOtech2 protocol and the HID reports that carry them (NEO 2 Interface Developer's Guide 80139403-002). Pure. */
import { concatBytes, equalBytes, type Bytes } from '#protocol/bytes.ts';

/** "ViVOtech2" and a zero. */
const FRAME_TAG = Uint8Array.of(0x56, 0x69, 0x56, 0x4f, 0x74, 0x65, 0x63, 0x68, 0x32, 0x00);
/** Tag, command, sub-command or status, length. */
const HEADER_BYTES = FRAME_TAG.length + 4;
const CRC_BYTES = 2;
/** The longest command or response that a reader takes or gives. */
export const MAX_FRAME_BYTES = 1_500;
export const REPORT_BYTES = 63;
/** A frame that fits one report; the first of several, those in the middle, the last. */
const REPORT_ID = { whole: 1, first: 2, middle: 3, last: 4 } as const;

/** Which byte of the CRC a command sends first. Responses always send the most significant one. */
export type CrcOrder = 'msb-first' | 'lsb-first';

export interface HidReport {
  readonly id: number;
  readonly bytes: Bytes;
}

/** CRC-16/CCITT: polynomial 1021, start FFFF, not reflected, nothing added at the end. */
export function crc16(bytes: Uint8Array): number {
  let crc = 0xffff;
  for (const byte of bytes) {
    crc ^= byte << 8;
    for (let bit = 0; bit < 8; bit++) crc = ((crc << 1) ^ ((crc & 0x8000) === 0 ? 0 : 0x1021)) & 0xffff;
  }
  return crc;
}

/** A command frame; RangeError when it is longer than readers take. */
export function encodeFrame(command: number, subCommand: number, data: Uint8Array, order: CrcOrder): Bytes {
  if (HEADER_BYTES + data.length + CRC_BYTES > MAX_FRAME_BYTES) throw new RangeError('longer than a ViVOtech2 frame');
  const covered = concatBytes(FRAME_TAG, Uint8Array.of(command, subCommand, data.length >> 8, data.length & 0xff), data);
  const crc = crc16(covered);
  return concatBytes(covered, order === 'msb-first' ? Uint8Array.of(crc >> 8, crc & 0xff) : Uint8Array.of(crc & 0xff, crc >> 8));
}

export function encodeReports(frame: Uint8Array): HidReport[] {
  const count = Math.max(1, Math.ceil(frame.length / REPORT_BYTES));
  return Array.from({ length: count }, (_, index) => {
    const bytes = new Uint8Array(REPORT_BYTES);
    bytes.set(frame.subarray(index * REPORT_BYTES, (index + 1) * REPORT_BYTES));
    const id = count === 1 ? REPORT_ID.whole : index === 0 ? REPORT_ID.first : index === count - 1 ? REPORT_ID.last : REPORT_ID.middle;
    return { id, bytes };
  });
}

export interface VivotechResponse {
  readonly command: number;
  readonly status: number;
  readonly data: Bytes;
}

/** A response frame of exactly these bytes; RangeError for anything else. */
export function parseResponse(frame: Bytes): VivotechResponse {
  const length = declaredBytes(frame);
  if (frame.length !== length) throw new RangeError(`a frame of ${frame.length} bytes that says ${length}`);
  const covered = frame.subarray(0, length - CRC_BYTES);
  const sent = ((frame[length - 2] ?? 0) << 8) | (frame[length - 1] ?? 0);
  if (crc16(covered) !== sent) throw new RangeError('a frame with a wrong CRC');
  return { command: frame[10] ?? 0, status: frame[11] ?? 0, data: frame.slice(HEADER_BYTES, length - CRC_BYTES) };
}

/** Length of the whole frame as its header says it. */
function declaredBytes(start: Uint8Array): number {
  if (start.length < HEADER_BYTES + CRC_BYTES || !equalBytes(start.subarray(0, FRAME_TAG.length), FRAME_TAG)) throw new RangeError('no ViVOtech2 frame');
  const length = HEADER_BYTES + (((start[12] ?? 0) << 8) | (start[13] ?? 0)) + CRC_BYTES;
  // The length is the reader's word: bounded before anything is kept for it.
  if (length > MAX_FRAME_BYTES) throw new RangeError(`a frame of ${length} bytes`);
  return length;
}

/** Puts responses together from reports; what makes no sense is a RangeError, and the next frame starts anew. */
export class ResponseAssembly {
  #parts: Bytes[] = [];
  #declared = 0;

  /** The response, once it is whole. */
  accept({ id, bytes }: HidReport): VivotechResponse | undefined {
    if (id === REPORT_ID.whole || id === REPORT_ID.first) {
      this.#parts = [];
      this.#declared = declaredBytes(bytes);
    } else if (id !== REPORT_ID.middle && id !== REPORT_ID.last) {
      throw new RangeError(`a report with ID ${id}`);
    } else if (this.#parts.length === 0) {
      // The guide: such a report that no first one precedes is ignored.
      return undefined;
    }
    this.#parts.push(bytes);
    const received = this.#parts.reduce((sum, part) => sum + part.length, 0);
    if (id === REPORT_ID.first || id === REPORT_ID.middle) {
      if (received < this.#declared) return undefined;
      this.#parts = [];
      throw new RangeError('more reports than the frame has bytes');
    }
    const frame = concatBytes(...this.#parts).slice(0, this.#declared);
    this.#parts = [];
    return parseResponse(frame);
  }
}
