/** The codec of a ViVOtech2 terminal: frames with their CRC, cut into reports 01 to 04; whatever is malformed is undefined, never an error. */
import { concatBytes } from '#protocol/bytes.ts';
import type { Bytes } from '#protocol/bytes.ts';

/** "ViVOtech2" and a zero. */
const TAG = new Uint8Array([0x56, 0x69, 0x56, 0x4f, 0x74, 0x65, 0x63, 0x68, 0x32, 0x00]);
const HEADER_BYTES = TAG.length + 4;
const CRC_BYTES = 2;
/** NEO 2 guide: the longest command and the longest response. */
export const MAX_FRAME_BYTES = 1500;
const REPORT = { WHOLE: 1, FIRST: 2, MIDDLE: 3, LAST: 4 } as const;
/** Without the report id. */
const REPORT_DATA_BYTES = 63;

export type CrcOrder = 'msb-first' | 'lsb-first';

/** CRC-16/CCITT: polynomial 1021, initial value FFFF, not reflected, no final xor. */
export function crc16(bytes: Uint8Array): number {
  let crc = 0xffff;
  for (const byte of bytes) {
    crc ^= byte << 8;
    for (let bit = 0; bit < 8; bit++) crc = ((crc << 1) ^ ((crc & 0x8000) !== 0 ? 0x1021 : 0)) & 0xffff;
  }
  return crc;
}

export interface VivotechCommand {
  readonly command: number;
  readonly subcommand: number;
  readonly data: Bytes;
  /** Which order its CRC is right in; both if its two bytes are equal, none if it is wrong. */
  readonly crcOrders: readonly CrcOrder[];
}

/** `second` is the sub-command of a command, the status of an answer. */
export function encodeFrame(command: number, second: number, data: Uint8Array, order: CrcOrder): Bytes {
  const body = concatBytes(TAG, new Uint8Array([command, second, data.length >> 8, data.length & 0xff]), data);
  const crc = crc16(body);
  const [high, low] = [crc >> 8, crc & 0xff];
  return concatBytes(body, new Uint8Array(order === 'msb-first' ? [high, low] : [low, high]));
}

/** A frame that fits to the byte. */
export function parseFrame(frame: Bytes): VivotechCommand | undefined {
  const length = frameLength(frame);
  if (length === undefined || frame.length !== length) return undefined;
  const crc = crc16(frame.subarray(0, -CRC_BYTES));
  const [first = 0, second = 0] = frame.subarray(-CRC_BYTES);
  const crcOrders: CrcOrder[] = [];
  if (crc === ((first << 8) | second)) crcOrders.push('msb-first');
  if (crc === ((second << 8) | first)) crcOrders.push('lsb-first');
  return { command: frame[TAG.length] ?? 0, subcommand: frame[TAG.length + 1] ?? 0, data: frame.slice(HEADER_BYTES, -CRC_BYTES), crcOrders };
}

/** How long the frame is that begins so; undefined where the tag or the length is wrong. */
function frameLength(start: Bytes): number | undefined {
  if (start.length < HEADER_BYTES || TAG.some((byte, at) => byte !== start[at])) return undefined;
  const length = HEADER_BYTES + ((start[TAG.length + 2] ?? 0) << 8) + (start[TAG.length + 3] ?? 0) + CRC_BYTES;
  return length > MAX_FRAME_BYTES ? undefined : length;
}

/** The reports, with their ids, that carry one frame. */
export function splitIntoReports(frame: Bytes): readonly Bytes[] {
  if (frame.length <= REPORT_DATA_BYTES) return [report(REPORT.WHOLE, frame)];
  const reports: Bytes[] = [];
  for (let at = 0; at < frame.length; at += REPORT_DATA_BYTES) {
    const id = at === 0 ? REPORT.FIRST : at + REPORT_DATA_BYTES >= frame.length ? REPORT.LAST : REPORT.MIDDLE;
    reports.push(report(id, frame.slice(at, at + REPORT_DATA_BYTES)));
  }
  return reports;
}

function report(id: number, data: Bytes): Bytes {
  const bytes = new Uint8Array(1 + REPORT_DATA_BYTES);
  bytes[0] = id;
  bytes.set(data, 1);
  return bytes;
}

/** Puts frames together again. */
export class ReportAssembler {
  #parts: Bytes[] = [];

  /** The frame that this report completes; 'bad-header' if what it begins or completes is no frame. Reports 03 and 04 out of order are ignored. */
  push(incoming: Bytes): Bytes | 'bad-header' | undefined {
    const data = incoming.slice(1, 1 + REPORT_DATA_BYTES);
    switch (incoming[0] ?? -1) {
      case REPORT.WHOLE:
        this.drop();
        return whole(data);
      case REPORT.FIRST:
        this.#parts = frameLength(data) === undefined ? [] : [data];
        return this.#parts.length === 0 ? 'bad-header' : undefined;
      case REPORT.MIDDLE:
        if (this.#parts.length > 0) this.#parts.push(data);
        if (this.#parts.length * REPORT_DATA_BYTES > MAX_FRAME_BYTES) this.drop();
        return undefined;
      case REPORT.LAST: {
        const parts = this.#parts;
        this.drop();
        return parts.length === 0 ? undefined : whole(concatBytes(...parts, data));
      }
      default:
        return undefined;
    }
  }

  drop(): void {
    this.#parts = [];
  }
}

/** Padding cut off. */
function whole(bytes: Bytes): Bytes | 'bad-header' {
  const length = frameLength(bytes);
  return length === undefined || length > bytes.length ? 'bad-header' : bytes.slice(0, length);
}
