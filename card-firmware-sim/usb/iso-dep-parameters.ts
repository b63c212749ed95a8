/** What an ATS says of a card: frame size and waiting time (ISO/IEC 14443-4, 5.2). */

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
