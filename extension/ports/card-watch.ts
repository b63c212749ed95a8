/**
 * The readers as the customer sees them, and the way to a card: says what stands in the way in words, waits for a card on any reader
 * (or on the chosen one), and opens it. It gives up only when the customer does.
 */
import { asFailure, Failure, type FailureCode } from '#protocol/failure.ts';
import type { Card } from '#protocol/parties.ts';
import type { ReaderInfo } from '#bridge/reader-source.ts';
import { createCard } from './card.ts';
import type { Readers } from './readers.ts';

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

/** How soon a card is tried again that another program had, or that was not where the reader said. */
const PAUSE_MS = 1_000;
/** What passes by itself. Connecting is no card command: nothing is repeated. */
const PASSING: readonly FailureCode[] = ['reader/in-use', 'card/absent', 'card/removed'];

/** `chosen`: the reader's name as remembered. */
export function createCardWatch(readers: Readers, chosen: string | null): CardWatch {
  return new ReaderWatch(readers, chosen);
}

class ReaderWatch implements CardWatch {
  readonly #readers: Readers;
  #chosen: string | null;
  /** What the last attempt to open a card ran into. */
  #problem: FailureCode | null = null;
  /** Readers whose present card is not to be opened (again). */
  readonly #held = new Set<string>();
  /** How often each reader was seen without a card: a failure may be about one that has gone since. */
  readonly #departures = new Map<string, number>();
  #wake: () => void = () => undefined;
  onView: (view: ReaderView) => void = () => undefined;

  constructor(readers: Readers, chosen: string | null) {
    this.#readers = readers;
    this.#chosen = chosen;
    readers.onChange = () => this.#readersChanged();
  }

  get view(): ReaderView {
    const { list, starting } = this.#readers;
    return { readers: list, chosen: this.#chosenReader()?.name ?? null, problem: this.#presentProblem(), starting };
  }

  async awaitCard(signal: AbortSignal, onCommands: (count: number) => void): Promise<Card> {
    for (;;) {
      throwIfAborted(signal);
      const reader = this.#readyReader();
      if (reader === undefined) {
        await this.#change(signal);
        continue;
      }
      const departures = this.#departures.get(reader.name);
      try {
        const { channel, source } = await this.#readers.connect(reader.name, signal);
        this.#problem = null;
        return createCard(channel, source, onCommands);
      } catch (thrown) {
        throwIfAborted(signal);
        // Another card, or the same one anew, lies there by now: it is tried in its own right.
        if (this.#departures.get(reader.name) === departures) this.#connectFailed(reader.name, asFailure(thrown));
      }
    }
  }

  holdPresentCard(): void {
    for (const { name, state } of this.#readers.list) if (state !== 'empty') this.#held.add(name);
  }

  choose(readerName: string | null): void {
    this.#chosen = readerName;
    this.#changed();
  }

  retry(): void {
    this.#held.clear();
    this.#problem = null;
    this.#readers.retry();
    this.#changed();
  }

  close(): void {
    this.onView = () => undefined;
    this.#readers.close();
  }

  #readersChanged(): void {
    const { list } = this.#readers;
    for (const { name, state } of list) if (state === 'empty') this.#departures.set(name, (this.#departures.get(name) ?? 0) + 1);
    // A card that was taken away may come back and be opened; so may one whose reader was.
    for (const name of [...this.#held]) {
      const state = list.find((reader) => reader.name === name)?.state;
      if (state === undefined || state === 'empty') {
        this.#held.delete(name);
        this.#problem = null;
      }
    }
    this.#changed();
  }

  #connectFailed(readerName: string, failure: Failure): void {
    this.#problem = failure.code;
    this.#held.add(readerName);
    if (PASSING.includes(failure.code)) setTimeout(() => this.#letGo(readerName), PAUSE_MS);
    this.#changed();
  }

  #letGo(readerName: string): void {
    this.#held.delete(readerName);
    if (this.#problem !== null && PASSING.includes(this.#problem)) this.#problem = null;
    this.#wake();
  }

  #readyReader(): ReaderInfo | undefined {
    const chosen = this.#chosenReader();
    return (chosen === undefined ? this.#readers.list : [chosen]).find(({ name, state }) => state === 'present' && !this.#held.has(name));
  }

  #chosenReader(): ReaderInfo | undefined {
    return this.#readers.list.find(({ name }) => name === this.#chosen);
  }

  #presentProblem(): FailureCode | null {
    const { list, problem } = this.#readers;
    if (problem !== null) return problem;
    if (this.#problem !== null) return this.#problem;
    // One of several that does not work is told where it stands in the list: a card on another is as good. Where none works, the first says why.
    const relevant = this.#chosenReader() ?? (list.length === 1 || list.every(isUnusable) ? list[0] : undefined);
    if (relevant?.problem !== undefined) return relevant.problem;
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

/** No card can be put there now: the reader itself is not ours. */
function isUnusable({ state, problem }: ReaderInfo): boolean {
  return state === 'in-use' || (problem !== undefined && !problem.startsWith('card/'));
}

function throwIfAborted(signal: AbortSignal): void {
  if (!signal.aborted) return;
  throw signal.reason instanceof Failure ? signal.reason : new Failure('payment/aborted', { cause: signal.reason });
}
