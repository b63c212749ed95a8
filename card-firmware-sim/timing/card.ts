/** A chip at a real card's speed: each answer comes when the model says that a card's would have come, and a payment's card-field time is told when its conversation ends. */
import { setTimeout as timeout } from 'node:timers/promises';
import { activationFieldTime, FieldTimeMeter, sumOfFieldTimes, walletLink } from './timing.ts';
import { isSelectionByName } from './chip.ts';
import type { BitRate } from './air.ts';
import type { Bytes } from '#protocol/bytes.ts';
import type { ChipEvent } from '../chip-event.ts';
import type { CommandFieldTime, FieldTime } from './timing.ts';

/** A chip as readers see it. */
export interface CarriedChip {
  readonly atr: Bytes;
  readonly uid: Bytes;
  process(command: Uint8Array): Promise<Bytes>;
  reset(): Promise<void>;
}

/** What one payment took a card in the field, by the model; without the readers', the network's and the customer's time in between. */
export interface PaymentFieldTime extends FieldTime {
  readonly bitRate: BitRate;
  /** Of the air: until the card took commands. */
  readonly activationMs: number;
  /** From the selection of the application to the last command before the next one, or before the card was lifted. */
  readonly commands: readonly CommandFieldTime[];
}

export interface RealSpeedChipOptions {
  readonly chip: CarriedChip;
  readonly bitRate: BitRate;
  /** Pages that the chip's memory has written so far. */
  readonly pageWrites: () => number;
  readonly onPayment: (time: PaymentFieldTime) => void;
  /** Milliseconds; only differences count. */
  readonly now?: () => number;
  readonly wait?: (ms: number) => Promise<unknown>;
}

/** No timer is later on a machine that is not overloaded, and what an overload cost is not made up for. */
const MAX_LATE_MS = 5;

export class RealSpeedChip implements CarriedChip {
  readonly #options: Required<RealSpeedChipOptions>;
  readonly #meter: FieldTimeMeter;
  #commands: CommandFieldTime[] = [];
  #hasPaid = false;
  /** By how much the last answer came late: a timer is never early, and a batch of many would add it up. */
  #lateMs = 0;

  constructor({ now = () => performance.now(), wait = timeout, ...options }: RealSpeedChipOptions) {
    this.#options = { ...options, now, wait };
    this.#meter = new FieldTimeMeter(walletLink(options.bitRate));
  }

  get atr(): Bytes {
    return this.#options.chip.atr;
  }

  get uid(): Bytes {
    return this.#options.chip.uid;
  }

  /** For the chip's observer. */
  hear(event: ChipEvent): void {
    if (event.kind === 'committed' && event.debit && event.record) this.#hasPaid = true;
  }

  async process(command: Uint8Array): Promise<Bytes> {
    const { chip, pageWrites, now, wait } = this.#options;
    const startedAt = now();
    const writesBefore = pageWrites();
    if (isSelectionByName(command)) this.#endConversation();
    const answer = await chip.process(command);
    const time = this.#meter.take({ command, answer, pageWrites: pageWrites() - writesBefore });
    this.#commands.push(time);
    const dueAt = startedAt + Math.max(0, time.totalMs - this.#lateMs);
    if (dueAt > now()) await wait(dueAt - now());
    // Only what the timer added is made up for, never what the chip itself took.
    this.#lateMs = Math.min(Math.max(0, now() - dueAt), MAX_LATE_MS);
    return answer;
  }

  async reset(): Promise<void> {
    await this.#options.chip.reset();
    this.#endConversation();
    this.#meter.reset();
    this.#lateMs = 0;
  }

  #endConversation(): void {
    const { bitRate, onPayment } = this.#options;
    const commands = this.#commands;
    const hasPaid = this.#hasPaid;
    this.#commands = [];
    this.#hasPaid = false;
    if (!hasPaid) return;
    const activation = activationFieldTime(bitRate);
    onPayment({ bitRate, ...sumOfFieldTimes([activation, ...commands]), activationMs: activation.totalMs, commands });
  }
}
