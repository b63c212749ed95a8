/** How long frames take between reader and card: ISO/IEC 14443 type A at its four bit rates, by the standard's own times; a model, not a measurement. */

/** In kbit/s, both ways alike: fc/128, fc/64, fc/32 and fc/16 (ISO/IEC 14443-2, 8.1.1). */
export const BIT_RATES = [106, 212, 424, 848] as const;
export type BitRate = (typeof BIT_RATES)[number];
/** At which every card is found; PPS changes to another. */
export const FIRST_BIT_RATE: BitRate = 106;

/** What reader and card have agreed on. */
export interface AirLink {
  readonly bitRate: BitRate;
  /** FSC: the longest frame that the card takes, with prologue and CRC. */
  readonly cardFrameBytes: number;
  /** FSD: the longest that the reader takes. */
  readonly readerFrameBytes: number;
}

/** FSCI 7, as a DESFire Light or EV2 says (its ATS begins 06 77), and FSDI 8, which every reader of ours asks for; both also what the emulated card and our drivers agree on. */
export const WALLET_FRAMES = { cardFrameBytes: 128, readerFrameBytes: 256 } as const;

/** Frames of one exchange, in bits without start, parity and end; null: no answer. */
export interface AirExchange {
  readonly bitsOut: number;
  readonly bitsIn: number | null;
}

/** The model in words, for whoever reads a figure. */
export const AIR_MODEL =
  'ISO/IEC 14443 type A, the same bit rate both ways: one etu (128/fc, 9.44 us, at 106 kbit/s; a half, a quarter, an eighth of it above) each for start and end of a frame, 8 bits and parity a byte, 32 subcarrier periods (37.8 us) before an answer above 106 kbit/s, 1172/fc (86.4 us) after each frame; an unanswered frame costs its own length';

const CARRIER_PER_US = 13.56;
/** ISO/IEC 14443-2, 8.1.1 and 8.2.1: periods of the carrier in one bit. */
const CARRIER_PERIODS_PER_BIT: Readonly<Record<BitRate, number>> = { 106: 128, 212: 64, 424: 32, 848: 16 };
/** ISO/IEC 14443-3, 6.2.1: the least frame delay time at 106 kbit/s, from reader to card and back. Above it the standard allows up to 4 us less, which is left out. */
const FRAME_DELAY_US = 1172 / CARRIER_PER_US;
/** ISO/IEC 14443-3, 6.2.3: start and end of communication, each as long as a bit. */
const START_AND_END_BITS = 2;
/** ISO/IEC 14443-2, 8.2: above 106 kbit/s the card's subcarrier runs for 32 periods of fc/16 before its start bit. The end costs nothing there (the last parity is inverted): counted all the same. */
const SUBCARRIER_BURST_US = (32 * 16) / CARRIER_PER_US;
/** Prologue of one byte (no CID, no NAD), and CRC_A. */
const BLOCK_OVERHEAD_BYTES = 3;
/** ISO/IEC 14443-3, 5.1: a card must be ready 5 ms after the field came on; no reader can ask earlier. */
export const FIELD_ON_US = 5_000;

export function airTimeUs({ bitsOut, bitsIn }: AirExchange, bitRate: BitRate): number {
  const burstUs = bitRate === FIRST_BIT_RATE ? 0 : SUBCARRIER_BURST_US;
  return frameUs(bitsOut, bitRate) + (bitsIn === null ? 0 : FRAME_DELAY_US + burstUs + frameUs(bitsIn, bitRate) + FRAME_DELAY_US);
}

function frameUs(bits: number, bitRate: BitRate): number {
  // A short frame (REQA, WUPA) has 7 bits and no parity (ISO/IEC 14443-3, 6.2.3.1).
  return ((START_AND_END_BITS + bits + Math.floor(bits / 8)) * CARRIER_PERIODS_PER_BIT[bitRate]) / CARRIER_PER_US;
}

/** What ISO-DEP (ISO/IEC 14443-4, 7.5) makes of one command and its answer when nothing goes wrong and the card asks for no time. */
export function exchangesOfCommand(commandBytes: number, answerBytes: number, { cardFrameBytes, readerFrameBytes }: Omit<AirLink, 'bitRate'> = WALLET_FRAMES): AirExchange[] {
  const acknowledgement = 8 * BLOCK_OVERHEAD_BYTES;
  const [blocks, answers] = [blockBits(commandBytes, cardFrameBytes), blockBits(answerBytes, readerFrameBytes)];
  const chained = blocks.slice(0, -1).map((bitsOut) => ({ bitsOut, bitsIn: acknowledgement }));
  const [first = 0, ...rest] = answers;
  return [...chained, { bitsOut: blocks.at(-1) ?? 0, bitsIn: first }, ...rest.map((bitsIn) => ({ bitsOut: acknowledgement, bitsIn }))];
}

function blockBits(bytes: number, frameBytes: number): number[] {
  const most = frameBytes - BLOCK_OVERHEAD_BYTES;
  const count = Math.max(1, Math.ceil(bytes / most));
  return Array.from({ length: count }, (_, i) => 8 * (Math.min(most, bytes - i * most) + BLOCK_OVERHEAD_BYTES));
}

/** WUPA and ATQA, then anticollision and selection, once for each of two cascade levels: a UID of 7 bytes (ISO/IEC 14443-3, 6.5.3); then RATS and an ATS of 6 bytes (14443-4, 5.1 and 5.2). */
export const ACTIVATION: readonly AirExchange[] = [
  { bitsOut: 7, bitsIn: 8 * 2 },
  ...[1, 2].flatMap(() => [{ bitsOut: 8 * 2, bitsIn: 8 * 5 }, { bitsOut: 8 * 9, bitsIn: 8 * 3 }]),
  { bitsOut: 8 * 4, bitsIn: 8 * 8 },
];
/** PPS and its answer, still at 106 kbit/s (ISO/IEC 14443-4, 5.3 and 5.4). */
const PARAMETER_SELECTION: AirExchange = { bitsOut: 8 * 5, bitsIn: 8 * 3 };

/** From the field coming on to a card that takes commands at this rate; only the air, the card's own work is left out. */
export function activationTimeUs(bitRate: BitRate): number {
  const exchanges = bitRate === FIRST_BIT_RATE ? ACTIVATION : [...ACTIVATION, PARAMETER_SELECTION];
  return exchanges.reduce((sum, exchange) => sum + airTimeUs(exchange, FIRST_BIT_RATE), FIELD_ON_US);
}
