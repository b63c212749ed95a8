/** What goes through the air between reader and card, counted at the field, and how long the same frames take at 106 kbit/s by the model of the simulated card. */
import { AIR_MODEL, airTimeUs, FIRST_BIT_RATE, type AirExchange } from '#card-firmware-sim/timing/air.ts';
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

/** What the tally's times stand on. */
export const TALLY_MODEL = `${AIR_MODEL}; here at ${FIRST_BIT_RATE} kbit/s, and the card's own work takes no time`;

export function tallyOf(exchanges: readonly AirExchange[]): AirTally {
  const answered = exchanges.flatMap(({ bitsIn }) => (bitsIn === null ? [] : [bitsIn]));
  return {
    framesOut: exchanges.length,
    framesIn: answered.length,
    bytesOut: exchanges.reduce((sum, { bitsOut }) => sum + Math.ceil(bitsOut / 8), 0),
    bytesIn: answered.reduce((sum, bits) => sum + Math.ceil(bits / 8), 0),
    modelledMs: Math.round(exchanges.reduce((sum, exchange) => sum + airTimeUs(exchange, FIRST_BIT_RATE), 0)) / 1000,
  };
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
