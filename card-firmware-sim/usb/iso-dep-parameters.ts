/** What an ATS says of a card: frame size and waiting time (ISO/IEC 14443-4, 5.2). */
import { concatBytes } from '#protocol/bytes.ts';
import type { Bytes } from '#protocol/bytes.ts';

/** FSDI and FSCI to frame sizes with prologue and CRC (table 1); greater codes count as 8. */
const FRAME_SIZES = [16, 24, 32, 40, 48, 64, 96, 128, 256] as const;
const DEFAULT_FSCI = 2;
const DEFAULT_FWI = 4;

export function frameSize(code: number): number {
  return FRAME_SIZES[code] ?? 256;
}

/** 4096 / 13.56 MHz * 2^FWI (7.2). */
export function frameWaitingTimeMs(fwi: number): number {
  return (4096 / 13_560) * 2 ** fwi;
}

/** FSCI and FWI of an ATS, TL first; each interface byte may be absent. */
export function parseAts(ats: Uint8Array): { fsci: number; fwi: number } {
  const t0 = ats[1];
  if (t0 === undefined) return { fsci: DEFAULT_FSCI, fwi: DEFAULT_FWI };
  const tbAt = 2 + ((t0 & 0x10) === 0 ? 0 : 1);
  return { fsci: t0 & 0x0f, fwi: (t0 & 0x20) === 0 ? DEFAULT_FWI : (ats[tbAt] ?? 0) >> 4 };
}

export function historicalBytes(ats: Uint8Array): Bytes {
  const t0 = ats[1] ?? 0;
  const interfaceBytes = [0x10, 0x20, 0x40].filter((bit) => (t0 & bit) !== 0).length;
  return new Uint8Array(ats.subarray(2 + interfaceBytes));
}

/** The ATR that stands for a card without contacts (PC/SC part 3, 3.1.3.2.3.1). */
export function atrOfAts(ats: Uint8Array): Bytes {
  const historical = historicalBytes(ats);
  const atr = concatBytes(new Uint8Array([0x3b, 0x80 | historical.length, 0x80, 0x01]), historical);
  // TCK: from T0 on the exclusive-or of all is 0.
  return concatBytes(atr, new Uint8Array([atr.subarray(1).reduce((sum, byte) => sum ^ byte, 0)]));
}
