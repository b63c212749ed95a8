/**
 * The readers as the customer sees them, and the way to a card: starts the native host, says what stands in the way in words, waits for
 * a card on any reader (or on the chosen one), and opens it. It gives up only when the customer does.
 */
import { asFailure, Failure, type FailureCode } from '#protocol/failure.ts';
import type { Card } from '#protocol/parties.ts';
import type { NativeHost } from '#bridge/native/client.ts';
import type { ReaderInfo } from '#bridge/reader-source.ts';
import { createCard } from './card.ts';

export interface ReaderView {
  readonly readers: readonly ReaderInfo[];
  /** The reader that the customer has chosen, if it is connected. */
  readonly chosen: string | null;
  /** Why no card can be opened now: `host/…`, `reader/…`, or what the card lacked. */
  readonly problem: FailureCode | null;
  /** The host is being started. */
  readonly starting: boolean;
}

export interface CardWatch {
  readonly view: ReaderView;
  /** Called after each change of `view`; the last caller is the one that is told. */
  onView: (view: ReaderView) => void;
  /** Opens the next card; throws only `payment/aborted`, or the signal's own Failure. */
  awaitCard(signal: AbortSignal, onCommands: (count: number) => void): Promise<Card>;
  /** The card that lies there now must be taken away, or `retry` called, before a card is opened. */
  holdPresentCard(): void;
  /** Null: any reader. */
  choose(readerName: string | null): void;
  /** Tries again what failed: the host, or the card that lies there. */
  retry(): void;
  close(): void;
}

/** How soon a card that another program had is tried again. */
const IN_USE_PAUSE_MS = 1_000;

export type OpenHost = () => Promise<NativeHost>;

/** `chosen`: the reader's name as remembered. The host is started at once: it needs time that the customer spends reading. */
export function createCardWatch(openHost: OpenHost, chosen: string | null): CardWatch {
  const watch = new ReaderWatch(openHost, chosen);
  watch.start();
  return watch;
}

class ReaderWatch implements CardWatch {
  readonly #openHost: OpenHost;
  #chosen: string | null;
  #host: NativeHost | undefined;
  #starting = false;
  #closed = false;
  #problem: FailureCode | null = null;
  /** Readers whose present card is not to be opened (again). */
  readonly #held = new Set<string>();
  #wake: () => void = () => undefined;
  onView: (view: ReaderView) => void = () => undefined;

  constructor(openHost: OpenHost, chosen: string | null) {
    this.#openHost = openHost;
    this.#chosen = chosen;
  }

  get view(): ReaderView {
    const readers = this.#host?.readers ?? [];
    return { readers, chosen: this.#chosenReader(readers)?.name ?? null, problem: this.#presentProblem(readers), starting: this.#starting };
  }

  start(): void {
    if (this.#starting || this.#host !== undefined || this.#closed) return;
    this.#starting = true;
    this.#problem = null;
    this.#openHost().then(
      (host) => this.#begin(host),
      (thrown: unknown) => this.#stop(asFailure(thrown)),
    );
  }

  async awaitCard(signal: AbortSignal, onCommands: (count: number) => void): Promise<Card> {
    for (;;) {
      throwIfAborted(signal);
      const host = this.#host;
      const reader = this.#readyReader();
      if (host === undefined || reader === undefined) {
        await this.#change(signal);
        continue;
      }
      try {
        const channel = await host.connect(reader.name, signal);
        this.#problem = null;
        return createCard(channel, host, onCommands);
      } catch (thrown) {
        throwIfAborted(signal);
        this.#connectFailed(reader.name, asFailure(thrown));
      }
    }
  }

  holdPresentCard(): void {
    for (const { name, state } of this.#host?.readers ?? []) if (state !== 'empty') this.#held.add(name);
  }

  choose(readerName: string | null): void {
    this.#chosen = readerName;
    this.#changed();
  }

  retry(): void {
    this.#held.clear();
    this.#problem = null;
    this.start();
    this.#changed();
  }

  close(): void {
    this.#closed = true;
    this.onView = () => undefined;
    this.#host?.close();
  }

  #begin(host: NativeHost): void {
    this.#starting = false;
    if (this.#closed) {
      host.close();
      return;
    }
    this.#host = host;
    host.onReaders((readers) => {
      if (host.problem?.code === 'host/failed') this.#stop(host.problem);
      // A card that was taken away may come back and be opened; so may one whose reader was.
      for (const name of [...this.#held]) {
        const state = readers.find((reader) => reader.name === name)?.state;
        if (state === undefined || state === 'empty') {
          this.#held.delete(name);
          this.#problem = null;
        }
      }
      this.#changed();
    });
    this.#changed();
  }

  #stop(failure: Failure): void {
    this.#starting = false;
    this.#host = undefined;
    this.#problem = failure.code;
    this.#changed();
  }

  #connectFailed(readerName: string, failure: Failure): void {
    this.#problem = failure.code;
    this.#held.add(readerName);
    if (failure.code === 'reader/in-use') setTimeout(() => this.#letGo(readerName), IN_USE_PAUSE_MS);
    if (failure.code.startsWith('host/')) {
      this.#host?.close();
      this.#host = undefined;
    }
    this.#changed();
  }

  /** Another program had the card; it may be free by now. Connecting is no card command: nothing is repeated. */
  #letGo(readerName: string): void {
    this.#held.delete(readerName);
    if (this.#problem === 'reader/in-use') this.#problem = null;
    this.#wake();
  }

  #readyReader(): ReaderInfo | undefined {
    const readers = this.#host?.readers ?? [];
    const chosen = this.#chosenReader(readers);
    return (chosen === undefined ? readers : [chosen]).find(({ name, state }) => state === 'present' && !this.#held.has(name));
  }

  #chosenReader(readers: readonly ReaderInfo[]): ReaderInfo | undefined {
    return readers.find(({ name }) => name === this.#chosen);
  }

  #presentProblem(readers: readonly ReaderInfo[]): FailureCode | null {
    if (this.#host === undefined) return this.#problem;
    if (this.#host.problem !== undefined) return this.#host.problem.code;
    if (readers.length === 0) return 'reader/none';
    if (this.#problem !== null) return this.#problem;
    const relevant = this.#chosenReader(readers) ?? (readers.length === 1 ? readers[0] : undefined);
    if (relevant?.state === 'mute') return 'card/silent';
    return relevant?.state === 'in-use' ? 'reader/in-use' : null;
  }

  #changed(): void {
    this.#wake();
    this.onView(this.view);
  }

  #change(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
      signal.addEventListener('abort', () => resolve(), { once: true });
    });
  }
}

function throwIfAborted(signal: AbortSignal): void {
  if (!signal.aborted) return;
  throw signal.reason instanceof Failure ? signal.reason : new Failure('payment/aborted', { cause: signal.reason });
}
