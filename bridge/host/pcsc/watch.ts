/** Watches the readers on a context and thread of its own: the list now and after every change, through hot plug and a service that restarts. */
import { encodeHex } from '#protocol/bytes.ts';
import { Failure, type FailureCode } from '#protocol/failure.ts';
import { MAX_READERS, type ReaderList } from '#bridge/native/messages.ts';
import type { ReaderInfo } from '#bridge/reader-source.ts';
import { within } from '../within.ts';
import type { ContextHandle, PcscLibrary, ReaderEvent } from './library.ts';
import { CardSights, POLL_MS, wakeCard } from './card-sights.ts';
import { SCARD, STATE, statusFailure } from './status.ts';

/** A reader by this name stands for "readers have come or gone" (pcsc-lite, Windows). */
const PNP_NOTIFICATION = '\\\\?PnP?\\Notification';
/** pcsc-lite does not announce that another program took or left a card, macOS no reader that comes or goes; so we look again this often. */
const LOOK_AGAIN_MS = 1_000;
/** A card that does not answer must not keep the watch; the call is then left alone. */
const WAKE_LIMIT_MS = 2_000;

/** Something happened, nothing happened in time, or a reader has left. */
const LOOK_AGAIN: ReadonlySet<number> = new Set([SCARD.S_SUCCESS, SCARD.E_TIMEOUT, SCARD.E_UNKNOWN_READER]);

export interface ReaderWatch {
  /** May be called again: a call that wakes nobody because nobody waits yet is lost. */
  stop(): void;
}

/** `load` may fail with `reader/no-service`; `isOurs` tells which readers this process itself holds exclusively. */
export function watchReaders(load: () => PcscLibrary, isOurs: (reader: string) => boolean, onChange: (list: ReaderList) => void): ReaderWatch {
  const watcher = new Watcher(load, isOurs, onChange);
  void watcher.run();
  return watcher;
}

class Watcher implements ReaderWatch {
  readonly #load: () => PcscLibrary;
  readonly #isOurs: (reader: string) => boolean;
  readonly #onChange: (list: ReaderList) => void;
  readonly #sights = new CardSights();
  #waking: Promise<void> | undefined;
  #reported = '';
  #stopped = false;
  #wake: (() => void) | undefined;

  constructor(load: () => PcscLibrary, isOurs: (reader: string) => boolean, onChange: (list: ReaderList) => void) {
    this.#load = load;
    this.#isOurs = isOurs;
    this.#onChange = onChange;
  }

  async run(): Promise<void> {
    while (!this.#stopped) {
      try {
        const library = this.#load();
        const { status, context } = await library.establishContext();
        if (status !== SCARD.S_SUCCESS) throw statusFailure(status, 'SCardEstablishContext', false);
        try {
          await this.#follow(library, context);
        } finally {
          this.#wake = undefined;
          await library.releaseContext(context);
        }
      } catch (reason) {
        this.#report({ readers: [], problem: listProblem(reason) });
        await this.#pause();
      }
    }
  }

  stop(): void {
    this.#stopped = true;
    this.#wake?.();
  }

  /** Looks, reports, and waits for the next reason to look. */
  async #follow(library: PcscLibrary, context: ContextHandle): Promise<void> {
    this.#wake = () => library.cancel(context);
    while (!this.#stopped) {
      const names = await this.#list(library, context);
      const seen = await this.#look(library, context, names);
      if (seen === undefined) continue;
      const { forgotten, exchanged } = this.#sights.take(seen, performance.now());
      if (library.abi.forgetsCards && (await this.#wakeFirst(library, forgotten))) continue;
      const readers = seen.filter(isThere).map((event) => readerInfo(event, this.#isOurs));
      // Whoever waits for a card to be taken away must hear of it, also if we looked too late to see the reader without one.
      if (exchanged.length > 0) this.#report({ readers: readers.map((info) => (exchanged.includes(info.name) ? { name: info.name, state: 'empty' } : info)) });
      this.#report({ readers });
      const known = seen.map(({ name, event }) => ({ name, current: event & ~STATE.CHANGED }));
      // In the upper half of this entry stands the number of readers that we know of.
      if (library.abi.pnp) known.push({ name: PNP_NOTIFICATION, current: names.length << 16 });
      if (known.length === 0) {
        await this.#pause();
        continue;
      }
      const { status } = await library.getStatusChange(context, this.#sights.isInDoubt ? POLL_MS : LOOK_AGAIN_MS, known);
      if (status === SCARD.E_CANCELLED) return;
      if (!LOOK_AGAIN.has(status)) throw statusFailure(status, 'SCardGetStatusChange', false);
    }
  }

  /** Whether a card was woken, so that the states must be looked at again. */
  async #wakeFirst(library: PcscLibrary, [name]: readonly string[]): Promise<boolean> {
    // One at a time, and none while an earlier one holds its thread.
    if (name === undefined || this.#waking !== undefined || this.#stopped) return false;
    this.#waking = wakeCard(library, name).finally(() => (this.#waking = undefined));
    return !(await within(WAKE_LIMIT_MS, this.#waking)).late;
  }

  /** The present states; undefined if a reader left since it was listed. */
  async #look(library: PcscLibrary, context: ContextHandle, names: readonly string[]): Promise<readonly ReaderEvent[] | undefined> {
    if (names.length === 0) return [];
    const { status, events } = await library.getStatusChange(context, 0, names.map((name) => ({ name, current: 0 })));
    if (status === SCARD.E_UNKNOWN_READER) return undefined;
    if (status !== SCARD.S_SUCCESS) throw statusFailure(status, 'SCardGetStatusChange', false);
    return events;
  }

  async #list(library: PcscLibrary, context: ContextHandle): Promise<string[]> {
    const { status, names } = await library.listReaders(context);
    if (status === SCARD.E_NO_READERS_AVAILABLE) return [];
    if (status !== SCARD.S_SUCCESS) throw statusFailure(status, 'SCardListReaders', false);
    return names.slice(0, MAX_READERS);
  }

  #report(list: ReaderList): void {
    const text = JSON.stringify(list);
    if (this.#stopped || text === this.#reported) return;
    this.#reported = text;
    this.#onChange(list);
  }

  #pause(): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, LOOK_AGAIN_MS);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

/** A service that dies breaks off the conversation (SCARD_F_COMM_ERROR), which would be the card's fault in one with a card. */
function listProblem(reason: unknown): FailureCode {
  const code = reason instanceof Failure ? reason.code : 'reader/failed';
  return code.startsWith('card/') ? 'reader/no-service' : code;
}

function isThere({ event }: ReaderEvent): boolean {
  return (event & (STATE.UNKNOWN | STATE.UNAVAILABLE)) === 0;
}

/** The list as the extension sees it: a card that this very host holds is `present`, not in somebody's use. */
export function readerInfo({ name, event, atr }: ReaderEvent, isOurs: (reader: string) => boolean): ReaderInfo {
  if ((event & STATE.PRESENT) === 0) return { name, state: 'empty' };
  if ((event & STATE.MUTE) !== 0) return { name, state: 'mute' };
  const taken = (event & (STATE.EXCLUSIVE | STATE.INUSE)) !== 0 && !isOurs(name);
  return { name, state: taken ? 'in-use' : 'present', atr: encodeHex(atr) };
}
