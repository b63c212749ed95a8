/** A card channel straight from this process, for an operator's tool: the same contract as through the browser, without the browser. */
import { isShortCommand, MAX_BATCH_COMMANDS, type CardCommand } from '#protocol/apdu.ts';
import type { Bytes } from '#protocol/bytes.ts';
import { asFailure, Failure } from '#protocol/failure.ts';
import { TransmitFailure, type CardChannel } from '../card-channel.ts';
import { Turns } from '../turns.ts';
import type { CardConnection, ReaderBackend } from './backend.ts';
import { exchangeBatch } from './batch.ts';

const BATCH_LIMIT_MS = 20_000;

/** Opens the card on this reader exclusively; fails as ReaderBackend.connect does. */
export async function connectCardChannel(backend: ReaderBackend, readerName: string, batchLimitMs: number = BATCH_LIMIT_MS): Promise<CardChannel> {
  return new DirectChannel(readerName, await backend.connect(readerName), batchLimitMs);
}

class DirectChannel implements CardChannel {
  readonly readerName: string;
  readonly #connection: CardConnection;
  readonly #batchLimitMs: number;
  readonly #turns = new Turns();
  #open = true;

  constructor(readerName: string, connection: CardConnection, batchLimitMs: number) {
    this.readerName = readerName;
    this.#connection = connection;
    this.#batchLimitMs = batchLimitMs;
  }

  transmit(commands: readonly CardCommand[], signal: AbortSignal): Promise<Bytes[]> {
    return this.#turns.take(() => this.#exchange(commands, signal));
  }

  async #exchange(commands: readonly CardCommand[], signal: AbortSignal): Promise<Bytes[]> {
    if (!this.#open) throw new TransmitFailure('card/removed', [], { detail: 'the channel is over' });
    if (commands.length > MAX_BATCH_COMMANDS || !commands.every(({ apdu }) => isShortCommand(apdu))) {
      throw new Failure('internal/bug', { detail: 'a batch that no reader takes' });
    }
    const responses: Bytes[] = [];
    const abort = abortion(signal);
    try {
      if (signal.aborted) throw abortFailure(signal);
      const batch = exchangeBatch(this.#connection, commands, this.#batchLimitMs, (response) => responses.push(response), () => this.#open);
      await Promise.race([batch, abort.failure]);
      return responses;
    } catch (reason) {
      this.#open = false;
      // The command under way is waited for inside the connection; nothing follows it.
      void this.#connection.close();
      throw new TransmitFailure(asFailure(reason).code, [...responses], { cause: reason });
    } finally {
      abort.forget();
    }
  }

  async close(): Promise<void> {
    this.#open = false;
    await this.#connection.close();
  }
}

/** The reason that the flow gave, if it is one of ours; else `payment/aborted`. */
function abortFailure(signal: AbortSignal): Failure {
  const reason: unknown = signal.reason;
  return reason instanceof Failure ? reason : new Failure('payment/aborted', { cause: reason });
}

/** A promise that fails when the signal says so, and lets go of the signal afterwards. */
function abortion(signal: AbortSignal): { failure: Promise<never>; forget: () => void } {
  let forget: () => void = () => undefined;
  const failure = new Promise<never>((_, reject) => {
    const fail = () => reject(abortFailure(signal));
    signal.addEventListener('abort', fail);
    forget = () => signal.removeEventListener('abort', fail);
  });
  return { failure, forget };
}
