/** What goes through the air between reader and card, counted at the field, and how long the same frames take at 106 kbit/s by the standard's times: a model, not a measurement. */
import { ContactlessField, type FieldAnswer } from '#card-firmware-sim/usb/field.ts';
import type { AirFrame } from '#card-firmware-sim/usb/air-frame.ts';

/** Bytes with their CRC; frames that nobody answered are among those out. */
export interface AirTally {
  readonly framesOut: number;
  readonly framesIn: number;
  readonly bytesOut: number;
  readonly bytesIn: number;
  readonly modelledMs: number;
}

/** Frames of one exchange, in bits without start, parity and end; null: no answer. */
export interface AirExchange {
  readonly bitsOut: number;
  readonly bitsIn: number | null;
}

/** The model in words, for whoever reads a figure. */
export const AIR_MODEL =
  'ISO/IEC 14443 type A, 106 kbit/s both ways: one etu (128/fc, 9.44 us) each for start and end of a frame, 8 bits and parity a byte, 1172/fc (86.4 us) after each frame; the card\'s own work takes no time, an unanswered frame costs its own length';

const CARRIER_PER_US = 13.56;
/** ISO/IEC 14443-2, 8.2.1: 128/fc at 106 kbit/s. */
const ETU_US = 128 / CARRIER_PER_US;
/** ISO/IEC 14443-3, 6.2.1: the least frame delay time, from reader to card and from card to reader. */
const FRAME_DELAY_US = 1172 / CARRIER_PER_US;
const START_AND_END_ETU = 2;
/** Prologue of one byte (no CID, no NAD), and CRC_A. */
const BLOCK_OVERHEAD_BYTES = 3;
/** What the emulated card and our drivers agree on (FSCI 7, FSDI 8). */
const FRAME_BYTES = { toCard: 128, toReader: 256 } as const;

function frameUs(bits: number): number {
  // A short frame (REQA, WUPA) has 7 bits and no parity (ISO/IEC 14443-3, 6.2.3.1).
  return (START_AND_END_ETU + bits + Math.floor(bits / 8)) * ETU_US;
}

export function airTimeUs({ bitsOut, bitsIn }: AirExchange): number {
  return bitsIn === null ? frameUs(bitsOut) : frameUs(bitsOut) + FRAME_DELAY_US + frameUs(bitsIn) + FRAME_DELAY_US;
}

export function tallyOf(exchanges: readonly AirExchange[]): AirTally {
  const answered = exchanges.flatMap(({ bitsIn }) => (bitsIn === null ? [] : [bitsIn]));
  return {
    framesOut: exchanges.length,
    framesIn: answered.length,
    bytesOut: exchanges.reduce((sum, { bitsOut }) => sum + Math.ceil(bitsOut / 8), 0),
    bytesIn: answered.reduce((sum, bits) => sum + Math.ceil(bits / 8), 0),
    modelledMs: Math.round(exchanges.reduce((sum, exchange) => sum + airTimeUs(exchange), 0)) / 1000,
  };
}

/** What ISO-DEP (ISO/IEC 14443-4, 7.5) makes of one command and its answer when nothing goes wrong and the card asks for no time. */
export function exchangesOfCommand(commandBytes: number, answerBytes: number): AirExchange[] {
  const acknowledgement = 8 * BLOCK_OVERHEAD_BYTES;
  const [blocks, answers] = [blockBits(commandBytes, FRAME_BYTES.toCard), blockBits(answerBytes, FRAME_BYTES.toReader)];
  const chained = blocks.slice(0, -1).map((bitsOut) => ({ bitsOut, bitsIn: acknowledgement }));
  const [first = 0, ...rest] = answers;
  return [...chained, { bitsOut: blocks.at(-1) ?? 0, bitsIn: first }, ...rest.map((bitsIn) => ({ bitsOut: acknowledgement, bitsIn }))];
}

function blockBits(bytes: number, frameBytes: number): number[] {
  const most = frameBytes - BLOCK_OVERHEAD_BYTES;
  const count = Math.max(1, Math.ceil(bytes / most));
  return Array.from({ length: count }, (_, i) => 8 * (Math.min(most, bytes - i * most) + BLOCK_OVERHEAD_BYTES));
}

/** A field that keeps what went through it. */
export class CountingField extends ContactlessField {
  readonly exchanges: AirExchange[] = [];

  override async exchange(frame: AirFrame, timeoutMs: number, signal?: AbortSignal): Promise<FieldAnswer> {
    const isOn = this.isOn;
    const answer = await super.exchange(frame, timeoutMs, signal);
    // Without a carrier nothing is sent.
    if (isOn) this.exchanges.push({ bitsOut: bitsOf(frame), bitsIn: answer.kind === 'silence' ? null : bitsOf(answer.frame) });
    return answer;
  }
}

function bitsOf({ bytes, lastBits }: AirFrame): number {
  return bytes.length === 0 ? 0 : 8 * (bytes.length - 1) + lastBits;
}
