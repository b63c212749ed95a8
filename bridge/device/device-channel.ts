/** A card in a reader's field as a CardChannel: batches one after another, each within its time, watched for its presence in between. */
import { isShortCommand, MAX_BATCH_COMMANDS, statusWord, type CardCommand } from '#protocol/apdu.ts';
import type { Bytes } from '#protocol/bytes.ts';
import { asFailure, Failure } from '#protocol/failure.ts';
import { TransmitFailure, type CardChannel } from '../card-channel.ts';
import { Turns } from '../turns.ts';
import type { CardInField } from './reader-driver.ts';

/** How the conversation ended. `lost`: the card is off the reader. `broken`: the reader must be brought to a known state first. */
export type ChannelEnd = 'closed' | 'lost' | 'broken';

export interface DeviceChannelOptions {
  readonly readerName: string;
  readonly card: CardInField;
  readonly transmitLimitMs: number;
  /** Between batches the card is looked for this often. */
  readonly presenceIntervalMs: number;
}

/** What a driver may take beyond the limit that it was given before we stop waiting for it. */
const GRACE_MS = 500;

export class DeviceChannel implements CardChannel {
  readonly readerName: string;
  /** Settles when the channel is over; only then may the card be released. */
  readonly end: Promise<ChannelEnd>;
  readonly #card: CardInField;
  readonly #transmitLimitMs: number;
  readonly #presenceIntervalMs: number;
  readonly #settle: (end: ChannelEnd) => void;
  #open = true;
  /** The driver does one thing at a time. */
  readonly #turns = new Turns();
  #presenceTimer: ReturnType<typeof setTimeout> | undefined;

  constructor({ readerName, card, transmitLimitMs, presenceIntervalMs }: DeviceChannelOptions) {
    this.readerName = readerName;
    this.#card = card;
    this.#transmitLimitMs = transmitLimitMs;
    this.#presenceIntervalMs = presenceIntervalMs;
    let settle: (end: ChannelEnd) => void = () => undefined;
    this.end = new Promise((resolve) => (settle = resolve));
    this.#settle = settle;
    this.#watchPresence();
  }

  transmit(commands: readonly CardCommand[], signal: AbortSignal): Promise<Bytes[]> {
    if (commands.length > MAX_BATCH_COMMANDS || !commands.every(({ apdu }) => isShortCommand(apdu))) {
      return Promise.reject(new Failure('internal/bug', { detail: 'a batch that no reader takes' }));
    }
    return this.#turns.take(() => this.#exchangeBatch(commands, signal));
  }

  async close(): Promise<void> {
    this.#open = false;
    // The command on its way is waited for, and nothing follows it: the end of the channel leaves the driver at rest.
    await this.#turns.take(() => {
      this.#over('closed');
      return Promise.resolve();
    });
  }

  /** Nothing more goes to the card, now; whatever waits for an answer fails. */
  cutOff(end: ChannelEnd): void {
    this.#over(end);
  }

  async #exchangeBatch(commands: readonly CardCommand[], signal: AbortSignal): Promise<Bytes[]> {
    if (!this.#isOpen()) throw new TransmitFailure('card/removed', [], { detail: 'the channel is over' });
    const responses: Bytes[] = [];
    const deadline = performance.now() + this.#transmitLimitMs;
    try {
      for (const { apdu, expectedStatus } of commands) {
        if (signal.aborted) throw abortFailure(signal);
        if (!this.#isOpen()) throw new Failure('card/removed', { detail: 'given back in the middle of a batch' });
        const leftMs = deadline - performance.now();
        if (leftMs <= 0) throw new Failure('card/silent', { detail: 'the time of the batch is over' });
        const response = await this.#exchange(apdu, leftMs, signal);
        responses.push(response);
        if (statusWord(response) !== expectedStatus) break;
      }
      return responses;
    } catch (reason) {
      const { code } = asFailure(reason);
      const wasClosed = !this.#isOpen();
      // A card that is gone leaves the reader as it should be; anything else leaves it in the middle of something.
      this.#over(wasClosed && code === 'card/removed' ? 'closed' : code === 'card/removed' ? 'lost' : 'broken');
      throw new TransmitFailure(code, responses, { cause: reason });
    }
  }

  /** One command, sent once: the driver's answer, its failure, ours when it takes too long, or the signal's. */
  async #exchange(apdu: Bytes, limitMs: number, signal: AbortSignal): Promise<Bytes> {
    const ends: (() => void)[] = [];
    const interruption = new Promise<never>((_, reject) => {
      const abort = (): void => reject(abortFailure(signal));
      const timer = setTimeout(() => reject(new Failure('card/silent', { detail: 'the driver did not keep its limit' })), limitMs + GRACE_MS);
      signal.addEventListener('abort', abort);
      // A channel that is cut off answers nobody: the driver under it may be gone.
      void this.end.then(() => reject(new Failure('reader/failed', { detail: 'the reader was closed' })));
      ends.push(() => clearTimeout(timer), () => signal.removeEventListener('abort', abort));
    });
    try {
      const response = await Promise.race([this.#card.transceive(apdu, limitMs), interruption]);
      if (response.length < 2) throw new Failure('card/removed', { detail: 'an answer without a status word' });
      return response;
    } finally {
      for (const end of ends) end();
    }
  }

  #watchPresence(): void {
    this.#presenceTimer = setTimeout(() => {
      void this.#turns.take(async () => {
        if (!this.#isOpen()) return;
        try {
          if (await this.#card.isPresent()) this.#watchPresence();
          else this.#over('lost');
        } catch {
          this.#over('broken'); // the reader is opened anew, and says then what is wrong with it
        }
      });
    }, this.#presenceIntervalMs);
  }

  #isOpen(): boolean {
    return this.#open;
  }

  #over(end: ChannelEnd): void {
    this.#open = false;
    clearTimeout(this.#presenceTimer);
    this.#settle(end);
  }
}

/** The reason that the flow gave, if it is one of ours; else `payment/aborted`. */
function abortFailure(signal: AbortSignal): Failure {
  const reason: unknown = signal.reason;
  return reason instanceof Failure ? reason : new Failure('payment/aborted', { cause: reason });
}
