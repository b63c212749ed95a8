/** Card-field time: how long a real card would have to lie on a reader for the same commands, in air, chip and memory; a model, not a measurement. */
import { activationTimeUs, AIR_MODEL, airTimeUs, exchangesOfCommand, WALLET_FRAMES } from './air.ts';
import { AES_BLOCK_US, ChipWorkCounter, COMMAND_US, PAGE_WRITE_US } from './chip.ts';
import type { AirLink, BitRate } from './air.ts';
import type { CardExchange } from './chip.ts';

export interface FieldTime {
  readonly totalMs: number;
  readonly airMs: number;
  /** Fetching and checking commands, and cryptography. */
  readonly chipMs: number;
  readonly memoryMs: number;
}

export interface CommandFieldTime extends FieldTime {
  readonly command: string;
  /** To the card and back. */
  readonly frames: number;
  readonly aesBlocks: number;
  readonly pageWrites: number;
}

/** The whole model in words. */
export const FIELD_TIME_MODEL = `${AIR_MODEL}; the chip: ${COMMAND_US} us a command, ${AES_BLOCK_US} us an AES block, ${PAGE_WRITE_US} us a page written; activation: 5 ms of field, WUPA to ATS, PPS above 106 kbit/s`;

export function walletLink(bitRate: BitRate): AirLink {
  return { bitRate, ...WALLET_FRAMES };
}

/** Follows one card through its field time. Pure: what it is fed is all it knows. */
export class FieldTimeMeter {
  readonly #link: AirLink;
  readonly #work = new ChipWorkCounter();

  constructor(link: AirLink) {
    this.#link = link;
  }

  /** The field went off: the card's session with it. */
  reset(): void {
    this.#work.reset();
  }

  /** The time of one command, from its first bit to the pause after its answer. In the order of the commands. */
  take(exchange: CardExchange): CommandFieldTime {
    const { command, aesBlocks, pageWrites } = this.#work.take(exchange);
    const air = exchangesOfCommand(exchange.command.length, exchange.answer.length, this.#link);
    const airUs = air.reduce((sum, frames) => sum + airTimeUs(frames, this.#link.bitRate), 0);
    const time = fieldTime(airUs, COMMAND_US + aesBlocks * AES_BLOCK_US, pageWrites * PAGE_WRITE_US);
    return { command, ...time, frames: 2 * air.length, aesBlocks, pageWrites };
  }
}

/** The account of a card's whole conversation, command by command. */
export function fieldTimesOf(exchanges: readonly CardExchange[], link: AirLink): CommandFieldTime[] {
  const meter = new FieldTimeMeter(link);
  return exchanges.map((exchange) => meter.take(exchange));
}

/** Until the card takes commands: all of it air. */
export function activationFieldTime(bitRate: BitRate): FieldTime {
  return fieldTime(activationTimeUs(bitRate), 0, 0);
}

export function sumOfFieldTimes(times: readonly FieldTime[]): FieldTime {
  const sum = (of: (time: FieldTime) => number): number => times.reduce((total, time) => total + of(time), 0);
  return fieldTime(1000 * sum(({ airMs }) => airMs), 1000 * sum(({ chipMs }) => chipMs), 1000 * sum(({ memoryMs }) => memoryMs));
}

/** Milliseconds to three decimals, parts that add up to the whole. */
function fieldTime(airUs: number, chipUs: number, memoryUs: number): FieldTime {
  const [air, chip, memory] = [airUs, chipUs, memoryUs].map(Math.round) as [number, number, number];
  return { totalMs: (air + chip + memory) / 1000, airMs: air / 1000, chipMs: chip / 1000, memoryMs: memory / 1000 };
}
