/** One connected reader, served for as long as it is: opened, searched for a card, the card lent to one caller at a time, everything brought in order after a failure. */
import { asFailure, Failure, type FailureCode } from '#protocol/failure.ts';
import type { ReaderState } from '../reader-source.ts';
import { DeviceChannel, type ChannelEnd } from './device-channel.ts';
import type { CardInField, ReaderDriver } from './reader-driver.ts';

export interface ReaderPace {
  /** Between two looks for a card. */
  readonly seekMs: number;
  /** Between two looks whether the card still lies there. */
  readonly presenceMs: number;
  /** Before a reader that could not be opened, or that failed, is tried again; twice as long each time, up to `longestReopenMs`. */
  readonly reopenMs: number;
  readonly longestReopenMs: number;
}

export const READER_PACE: ReaderPace = { seekMs: 250, presenceMs: 400, reopenMs: 500, longestReopenMs: 4_000 };

interface Loan {
  readonly transmitLimitMs: number;
  readonly lend: (channel: DeviceChannel) => void;
  readonly refuse: (failure: Failure) => void;
}

export class AttachedReader {
  readonly name: string;
  state: ReaderState = 'empty';
  problem: FailureCode | undefined;
  readonly #driver: ReaderDriver;
  readonly #pace: ReaderPace;
  readonly #onChange: () => void;
  #detached = false;
  #loan: Loan | undefined;
  #channel: DeviceChannel | undefined;
  #wake: () => void = () => undefined;
  /** Settles when the reader has been given back. */
  readonly #served: Promise<void>;

  constructor(name: string, driver: ReaderDriver, pace: ReaderPace, onChange: () => void) {
    this.name = name;
    this.#driver = driver;
    this.#pace = pace;
    this.#onChange = onChange;
    this.#served = this.#serve();
  }

  /** A channel to the card that lies there; fails with `card/absent`, `reader/in-use`, or with what is wrong with the reader. */
  lend(transmitLimitMs: number): Promise<DeviceChannel> {
    if (this.#detached) return Promise.reject(new Failure('reader/failed', { detail: 'the reader is being given back' }));
    if (this.state !== 'present') return Promise.reject(new Failure(this.problem ?? 'card/absent'));
    if (this.#loan !== undefined || this.#channel !== undefined) return Promise.reject(new Failure('reader/in-use', { detail: 'another part of this page has the card' }));
    return new Promise((resolve, reject) => {
      this.#loan = { transmitLimitMs, lend: resolve, refuse: reject };
      this.#wake();
    });
  }

  /** Gives the reader back, or notes that it was unplugged; whatever waits for it fails. */
  detach(): Promise<void> {
    this.#detached = true;
    this.#channel?.cutOff('broken');
    this.#refuseLoan('reader/failed');
    this.#wake();
    // What the driver waits for ends now, not at its own time limit.
    void this.#driver.close();
    return this.#served;
  }

  async #serve(): Promise<void> {
    let pauseMs = this.#pace.reopenMs;
    while (!this.#isDetached()) {
      try {
        await this.#driver.open();
        this.#become('empty');
        pauseMs = this.#pace.reopenMs;
        // Left in the middle of a command: only opening it anew tells what state it is in.
        if ((await this.#serveCards()) === 'left-in-the-middle') continue;
      } catch (thrown) {
        const { code } = asFailure(thrown);
        if (!this.#isDetached()) this.#become(code === 'reader/in-use' ? 'in-use' : 'empty', code);
      } finally {
        await this.#driver.close();
      }
      await this.#pause(pauseMs);
      pauseMs = Math.min(2 * pauseMs, this.#pace.longestReopenMs);
    }
  }

  /** Until the reader is detached or must be opened anew; throws when it fails. */
  async #serveCards(): Promise<'detached' | 'left-in-the-middle'> {
    while (!this.#isDetached()) {
      const card = await this.#findCard();
      if (card === undefined) await this.#pause(this.#pace.seekMs);
      else if ((await this.#keep(card)) === 'broken') return 'left-in-the-middle';
    }
    return 'detached';
  }

  async #findCard(): Promise<CardInField | undefined> {
    try {
      const card = await this.#driver.findCard();
      if (card === undefined) this.#become('empty');
      return card;
    } catch (thrown) {
      const { code } = asFailure(thrown);
      if (!code.startsWith('card/')) throw thrown;
      this.#become('mute', code);
      return undefined;
    }
  }

  /** While the card lies there: lent when somebody asks, looked for otherwise. */
  async #keep(card: CardInField): Promise<ChannelEnd | undefined> {
    this.#become('present');
    for (;;) {
      const loan = this.#loan;
      if (loan !== undefined) {
        this.#loan = undefined;
        return this.#lendOut(card, loan);
      }
      await this.#pause(this.#pace.presenceMs);
      if (this.#isDetached()) break;
      if (this.#loan === undefined && !(await card.isPresent())) {
        this.#become('empty');
        break;
      }
    }
    this.#refuseLoan('card/absent');
    await card.release();
    return undefined;
  }

  async #lendOut(card: CardInField, { transmitLimitMs, lend }: Loan): Promise<ChannelEnd> {
    const channel = new DeviceChannel({ readerName: this.name, card, transmitLimitMs, presenceIntervalMs: this.#pace.presenceMs });
    this.#channel = channel;
    lend(channel);
    const end = await channel.end;
    this.#channel = undefined;
    if (end !== 'closed') this.#become('empty');
    if (end !== 'broken') await card.release();
    return end;
  }

  #isDetached(): boolean {
    return this.#detached;
  }

  #become(state: ReaderState, problem?: FailureCode): void {
    if (state !== 'present') this.#refuseLoan(problem ?? 'card/absent');
    if (this.state === state && this.problem === problem) return;
    this.state = state;
    this.problem = problem;
    if (!this.#detached) this.#onChange();
  }

  #refuseLoan(code: FailureCode): void {
    this.#loan?.refuse(new Failure(code));
    this.#loan = undefined;
  }

  /** Ends early when there is something to do. */
  #pause(ms: number): Promise<void> {
    if (this.#detached || this.#loan !== undefined) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
