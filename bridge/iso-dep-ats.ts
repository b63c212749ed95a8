/** ISO/IEC 14443-4, 5.2: the answer to select, in which a type-A card tells how it wants to be spoken to. Pure. */
import type { Bytes } from '#protocol/bytes.ts';
import { Failure } from '#protocol/failure.ts';

/** FSDI that we announce in RATS: we take frames of 256 bytes, more than any card sends (5.1). */
export const FSDI = 8;
/** FSD: the longest frame that a card may send us, with its prologue and its 2 bytes of CRC. */
export const MAX_CARD_FRAME_BYTES = 256;
/** Request for answer to select: FSDI and CID 0; a card with CID 0 is spoken to without CID (5.6.3). */
export const RATS: Bytes = Uint8Array.of(0xe0, FSDI << 4);
/** How long a card may take for its answer to RATS: 65536 carrier cycles (5.6.1.1), and what a reader adds. */
export const ATS_WAIT_MS = 30;

export interface Ats {
  /** FSC: the longest frame that the card takes, with prologue and CRC; 16 to 256. */
  readonly frameBytes: number;
  /** FWT: how long the card may take for an answer, unless it asks for more. */
  readonly frameWaitMs: number;
  /** SFGT: how long the card wants to be left alone after its ATS. */
  readonly guardMs: number;
  readonly takesCid: boolean;
  readonly takesNad: boolean;
  readonly historical: Bytes;
}

const CARRIER_KHZ = 13_560;
/** 4096 cycles, doubled as often as FWI or SFGI says (7.2). */
const waitMs = (doublings: number): number => (4096 * 2 ** doublings) / CARRIER_KHZ;
/** FWTmax: 4949 ms. */
export const MAX_FRAME_WAIT_MS = waitMs(14);
/** What a reader grants a card beyond FWT: 49152 cycles (7.2, the tolerance of the frame delay). */
export const FRAME_WAIT_TOLERANCE_MS = 49_152 / CARRIER_KHZ;

const FRAME_BYTES = [16, 24, 32, 40, 48, 64, 96, 128, 256] as const;
/** 5.2.3: codes above 8 mean more than 256 bytes, or nothing yet; 256 suits all of them, and we send nothing longer. */
const frameBytes = (code: number): number => FRAME_BYTES[Math.min(code, 8)] ?? 256;

const DEFAULT_FSCI = 2;
const DEFAULT_FWI = 4;

/** The ATS from TL to the last historical byte, without CRC. Fails with `card/unsupported` where it is not one. */
export function parseAts(bytes: Uint8Array): Ats {
  const [length, format] = bytes;
  // 5.2.1: TL counts itself, not the CRC.
  if (length === undefined || length !== bytes.length || bytes.length > MAX_CARD_FRAME_BYTES - 2) throw malformed(bytes.length);
  let at = 2;
  const next = (isThere: boolean): number | undefined => {
    if (!isThere) return undefined;
    const byte = bytes[at++];
    if (byte === undefined) throw malformed(bytes.length);
    return byte;
  };
  // 5.2.3: each interface byte is there only if its bit says so. Bit 8 is for future use: not ours to judge.
  const present = format ?? 0;
  next((present & 0x10) !== 0); // TA(1): speeds above 106 kbit/s, which are not asked for.
  const waiting = next((present & 0x20) !== 0);
  const options = next((present & 0x40) !== 0);
  return {
    frameBytes: frameBytes(format === undefined ? DEFAULT_FSCI : format & 0x0f),
    ...waitingTimes(waiting),
    // 5.2.6: without TC(1), CID is taken and NAD is not.
    takesCid: options === undefined || (options & 0x02) !== 0,
    takesNad: options !== undefined && (options & 0x01) !== 0,
    historical: new Uint8Array(bytes.subarray(at)),
  };
}

/** TB(1), 5.2.5: 15 is for future use in either half, and is then read as the default. */
function waitingTimes(waiting: number | undefined): { frameWaitMs: number; guardMs: number } {
  const fwi = waiting === undefined ? DEFAULT_FWI : waiting >> 4;
  const sfgi = waiting === undefined ? 0 : waiting & 0x0f;
  return {
    frameWaitMs: waitMs(fwi === 15 ? DEFAULT_FWI : fwi),
    guardMs: sfgi === 0 || sfgi === 15 ? 0 : waitMs(sfgi),
  };
}

function malformed(bytes: number): Failure {
  return new Failure('card/unsupported', { detail: `malformed answer to select, ${bytes} bytes` });
}
