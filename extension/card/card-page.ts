/**
 * The logic of the page "My card": reads each card that is put on a reader while somebody looks at the page, shows what it holds, links one
 * that is not linked yet, and takes what it has shown from the screen again. Each reading and each linking is one contact of its own.
 */
import { asFailure, Failure, type FailureCode } from '#protocol/failure.ts';
import type { Card } from '#protocol/parties.ts';
import type { ReadingReport } from '#protocol/resolve.ts';
import type { CardWatch, ReaderView } from '../ports/card-watch.ts';
import { parseOneTimeCode } from '../one-time-code.ts';
import type { CardPageState, DecidedPayment } from './card-state.ts';

/** What this browser can do with a card in its customer's name. */
export interface CardReadings {
  read(card: Card): Promise<ReadingReport>;
  link(card: Card, activationCode: string): Promise<ReadingReport>;
}

export interface CardPagePorts {
  readonly watch: CardWatch;
  /** Whether the readers that the browser drives are to be held. */
  readonly attendReaders: (isAttended: boolean) => void;
  /** Asked anew whenever the page comes to the front; undefined: this browser is not enrolled (yet). */
  readonly readings: () => Promise<CardReadings | undefined>;
  /** Told of each report: what it has decided is no open payment of this browser's any more. */
  readonly conclude: (report: ReadingReport) => Promise<readonly DecidedPayment[]>;
  /** Epoch milliseconds. */
  readonly now: () => number;
}

export interface CardPage {
  readonly state: CardPageState;
  /** Only while the page is looked at does it read cards and hold readers: a payment window needs them as soon as it is not. A contact that has begun is ended first. */
  attend(isLookedAt: boolean): void;
  /** Links the card on the reader; waits for it where none lies there. */
  link(typedCode: string): void;
  /** Takes what is shown from the screen now. */
  hide(): void;
  /** Reads the card that lies there once more, or starts what failed. */
  retry(): void;
  choose(readerName: string | null): void;
  close(): void;
}

/** How long a card's figures stay on the screen once the card, or the one who looks at them, has gone. */
export const CLEAR_MS = 60_000;
/** Until the browser has listed the readers that it drives. */
const SETTLE_MS = 300;

/** `show` is called with every new state, and once at the beginning. */
export function openCardPage(ports: CardPagePorts, show: (state: CardPageState) => void): CardPage {
  const page = new Page(ports, show);
  show(page.state);
  return page;
}

class Page implements CardPage {
  readonly #ports: CardPagePorts;
  readonly #show: (state: CardPageState) => void;
  state: CardPageState = { kind: 'starting' };
  #readings: CardReadings | undefined;
  #isLookedAt = false;
  #isFollowing = false;
  #isClosed = false;
  /** Ends the waiting for a card, never a contact. */
  #waiting = new AbortController();
  /** To be used up by the next contact. */
  #code: string | null = null;
  /** A linking ended without a word of the settlement's: the code may be used up and the card linked. */
  #isLinkUnsure = false;
  /** The reader on which the card lay that is shown. */
  #readerName: string | null = null;
  /** When card or customer left. */
  #leftAt: number | null = null;
  #clearing: ReturnType<typeof setTimeout> | undefined;
  #settling: ReturnType<typeof setTimeout> | undefined;

  constructor(ports: CardPagePorts, show: (state: CardPageState) => void) {
    this.#ports = ports;
    this.#show = show;
    ports.watch.onView = (view) => this.#readersChanged(view);
  }

  attend(isLookedAt: boolean): void {
    if (this.#isClosed || isLookedAt === this.#isLookedAt) return;
    this.#isLookedAt = isLookedAt;
    if (isLookedAt) void this.#begin();
    else this.#leave();
  }

  link(typedCode: string): void {
    if (this.state.kind !== 'not-linked') return;
    const code = parseOneTimeCode(typedCode);
    if (code === undefined) {
      this.#changeTo({ ...this.state, failure: 'customer/activation-code' });
      return;
    }
    this.#code = code;
    // A reading that is under way goes on, and the linking follows it.
    if (this.state.work === 'none' || this.state.work === 'waiting') this.#changeTo({ ...this.state, failure: null, work: 'waiting' });
    this.#ports.watch.retry();
  }

  hide(): void {
    if (this.state.kind === 'shown') this.#clear();
  }

  retry(): void {
    this.#ports.watch.retry();
  }

  choose(readerName: string | null): void {
    this.#ports.watch.choose(readerName);
  }

  close(): void {
    this.#isClosed = true;
    this.#isLookedAt = false;
    this.#stay();
    clearTimeout(this.#settling);
    this.#waiting.abort(new Failure('payment/aborted'));
    this.#ports.watch.close();
  }

  async #begin(): Promise<void> {
    // A timer may sleep with the computer.
    if (this.#leftAt !== null && this.#ports.now() - this.#leftAt >= CLEAR_MS) this.#clear();
    try {
      this.#readings = await this.#ports.readings();
    } catch (thrown) {
      this.#failed(asFailure(thrown), false);
      return;
    }
    if (!this.#isLookedAt) return;
    if (this.#readings === undefined) {
      this.#changeTo({ kind: 'not-enrolled' });
      return;
    }
    const { watch, attendReaders } = this.#ports;
    attendReaders(true);
    // Whatever lies there is read (anew): it may have paid meanwhile.
    if (!this.#isFollowing) watch.retry();
    // What has changed meanwhile; not before the browser has listed its readers, which would look like none.
    clearTimeout(this.#settling);
    this.#settling = setTimeout(() => this.#readersChanged(watch.view), SETTLE_MS);
    if (this.state.kind === 'starting' || this.state.kind === 'not-enrolled') this.#changeTo({ kind: 'waiting', reader: { ...watch.view, starting: true, problem: null }, failure: null, isHidden: false });
    await this.#follow();
  }

  #leave(): void {
    clearTimeout(this.#settling);
    this.#waiting.abort(new Failure('payment/aborted'));
    if (this.state.kind === 'shown') this.#clearSoon();
    if (!this.#isFollowing) this.#ports.attendReaders(false);
  }

  /** One card after the other, while somebody looks. */
  async #follow(): Promise<void> {
    if (this.#isFollowing) return;
    this.#isFollowing = true;
    while (this.#isLookedAt) {
      this.#waiting = new AbortController();
      const { signal } = this.#waiting;
      const card = await this.#ports.watch.awaitCard(signal, (count) => this.#commandsDone(count)).catch(() => undefined); // aborted
      if (card === undefined) continue;
      if (signal.aborted || this.#readings === undefined) await card.close();
      else await this.#contact(card, this.#readings);
    }
    this.#isFollowing = false;
    if (!this.#isClosed) this.#ports.attendReaders(false);
  }

  async #contact(card: Card, readings: CardReadings): Promise<void> {
    const code = this.#isLinkUnsure ? null : this.#code;
    this.#stay();
    this.#changeTo(this.state.kind === 'not-linked' ? { ...this.state, work: code === null ? 'reading' : 'linking' } : { kind: 'reading', done: 0 });
    try {
      const report = await contactWith(card, (opened) => (code === null ? readings.read(opened) : readings.link(opened, code)));
      await this.#succeeded(report, card.readerName, code !== null);
    } catch (thrown) {
      this.#failed(asFailure(thrown), code !== null);
    }
  }

  async #succeeded(report: ReadingReport, readerName: string, isNew: boolean): Promise<void> {
    const { cardId, balanceMinor, card, records } = report;
    const decided = await this.#ports.conclude(report);
    this.#forgetCode();
    this.#readerName = readerName;
    // Each card once: the next reading is at its return, or when somebody asks for it.
    this.#ports.watch.holdPresentCard();
    if (this.#isClosed) return;
    this.#changeTo({ kind: 'shown', shown: { cardId, balanceMinor, card, records, decided, readAt: this.#ports.now(), isNew }, isLifted: false });
    if (this.#isLookedAt) this.#readersChanged(this.#ports.watch.view);
    else this.#clearSoon();
  }

  #failed(failure: Failure, wasLink: boolean): void {
    const { code } = failure;
    const { watch } = this.#ports;
    if (code === 'internal/bug') console.error(failure.cause ?? failure);
    const goesOn = !wasLink && code === 'customer/card-not-linked' && this.#code !== null;
    // A code is sent once for each time that it was entered.
    if (!goesOn) this.#code = null;
    this.#isLinkUnsure = wasLink ? !isRefused(code) : this.#isLinkUnsure && code !== 'customer/card-not-linked';
    // The next try is the customer's, or the card's return. One that was taken away may be back already.
    if (!goesOn && code !== 'card/removed') watch.holdPresentCard();
    const reader = watch.view;
    if (!wasLink && code === 'customer/card-not-linked') this.#changeTo({ kind: 'not-linked', reader, failure: this.#keptFailure(), work: goesOn ? 'waiting' : 'none' });
    else if (this.state.kind === 'not-linked' && (wasLink || isPassing(code))) this.#changeTo({ kind: 'not-linked', reader, failure: code, work: 'none' });
    else this.#changeTo({ kind: 'waiting', reader, failure: code, isHidden: false });
  }

  /** Why the last code was refused stays said when the card is only read once more. */
  #keptFailure(): FailureCode | null {
    return this.state.kind === 'not-linked' && this.state.failure === 'customer/activation-code' ? this.state.failure : null;
  }

  #commandsDone(count: number): void {
    if (this.state.kind === 'reading') this.#changeTo({ kind: 'reading', done: this.state.done + count });
  }

  #readersChanged(reader: ReaderView): void {
    // What others do with the readers meanwhile is not news here.
    if (!this.#isLookedAt || this.#isClosed) return;
    if (this.state.kind === 'waiting' || this.state.kind === 'not-linked') this.#changeTo({ ...this.state, reader });
    if (this.state.kind === 'shown' && !this.state.isLifted && !this.#isCardThere(reader)) {
      this.#changeTo({ ...this.state, isLifted: true });
      this.#clearSoon();
    }
  }

  #isCardThere({ readers }: ReaderView): boolean {
    const name = this.#readerName;
    // A reader that is reached over two roads has a name on each.
    return name !== null && readers.some((reader) => (reader.name === name || reader.name.startsWith(`${name} (`)) && reader.state !== 'empty');
  }

  #clearSoon(): void {
    if (this.#leftAt !== null) return;
    this.#leftAt = this.#ports.now();
    this.#clearing = setTimeout(() => this.#clear(), CLEAR_MS);
  }

  /** What is shown does not go for now. */
  #stay(): void {
    clearTimeout(this.#clearing);
    this.#leftAt = null;
  }

  #clear(): void {
    this.#stay();
    if (this.state.kind === 'shown') this.#changeTo({ kind: 'waiting', reader: this.#ports.watch.view, failure: null, isHidden: true });
  }

  #forgetCode(): void {
    this.#code = null;
    this.#isLinkUnsure = false;
  }

  #changeTo(state: CardPageState): void {
    this.state = state;
    if (!this.#isClosed) this.#show(state);
  }
}

async function contactWith(card: Card, act: (card: Card) => Promise<ReadingReport>): Promise<ReadingReport> {
  try {
    return await act(card);
  } finally {
    await card.close();
  }
}

/** The settlement's own word on a code: it is not used up, and the card not linked. */
function isRefused(code: FailureCode): boolean {
  return code === 'customer/activation-code' || code === 'customer/card-not-linked';
}

/** Says nothing about the card itself, which may still be the one that is not linked: the form stays. */
function isPassing(code: FailureCode): boolean {
  return code === 'card/removed' || code === 'internal/busy' || ['reader/', 'host/', 'connector/', 'settlement/'].some((group) => code.startsWith(group));
}
