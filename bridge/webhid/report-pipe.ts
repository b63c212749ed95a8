/** The reports of one HID device: sent within a limit, received through a queue with one waiter, and ended at once by unplugging or closing. */
import type { Bytes } from '#protocol/bytes.ts';
import { Failure } from '#protocol/failure.ts';
import type { Clock } from '../clock.ts';
import type { HidDevice, HidInputReport } from './hid-device.ts';

export interface Report {
  /** 0 where the device has no report IDs. */
  readonly id: number;
  readonly bytes: Bytes;
}

const OPEN_LIMIT_MS = 3_000;
/** A report is 64 bytes on a bus that takes one each millisecond; a device that does not take it for this long is stuck. */
const SEND_LIMIT_MS = 1_000;
const CLOSE_LIMIT_MS = 500;
/** WebHID has no event on the device for its unplugging (only `navigator.hid` has): `opened` is looked at this often while waiting. */
const LOOK_MS = 100;
/** More reports than any answer of ours has (ViVOtech2: 24); a device that sends more unasked is out of order. */
const MAX_QUEUED_REPORTS = 256;

const closedFailure = (): Failure => new Failure('reader/failed', { detail: 'the reader was closed' });
const unpluggedFailure = (): Failure => new Failure('reader/failed', { detail: 'the reader was unplugged' });

export class ReportPipe {
  readonly #device: HidDevice;
  readonly #clock: Clock;
  readonly #queue: Report[] = [];
  /** Ends what is under way, each with the failure given. */
  readonly #underWay = new Set<(failure: Failure) => void>();
  #onArrival: (() => void) | undefined;
  #over: Failure | undefined;
  #opening: Promise<unknown> | undefined;
  #closing: Promise<void> | undefined;

  constructor(device: HidDevice, clock: Clock) {
    this.#device = device;
    this.#clock = clock;
  }

  /** Opens the device. Fails with `reader/in-use` (this page has it open already), `reader/permission`, `reader/failed`. */
  async open(): Promise<void> {
    if (this.#device.opened) throw new Failure('reader/in-use', { detail: 'another part of this page has the reader open' });
    // The listener comes before the device: no report is missed.
    this.#device.addEventListener('inputreport', this.#receive);
    this.#opening = this.#device.open();
    try {
      await this.#within(this.#opening, OPEN_LIMIT_MS, 'opening');
    } catch (thrown) {
      this.#device.removeEventListener('inputreport', this.#receive);
      throw this.#over ?? openFailure(thrown);
    }
  }

  async send(id: number, bytes: Bytes): Promise<void> {
    this.#assertUsable();
    try {
      await this.#within(this.#device.sendReport(id, bytes), SEND_LIMIT_MS, 'sending');
    } catch (thrown) {
      if (thrown instanceof Failure) throw thrown;
      throw this.#device.opened ? new Failure('reader/failed', { cause: thrown, detail: 'a report could not be sent' }) : unpluggedFailure();
    }
  }

  /** The next report, or undefined if none comes in `limitMs`. One caller at a time. Fails with `reader/failed` at once when the device goes. */
  next(limitMs: number): Promise<Report | undefined> {
    if (this.#onArrival !== undefined) return Promise.reject(new Failure('internal/bug', { detail: 'two wait for one report' }));
    if (this.#over !== undefined) return Promise.reject(this.#over);
    const arrived = this.#queue.shift();
    if (arrived !== undefined) return Promise.resolve(arrived);
    if (!this.#device.opened) return Promise.reject(unpluggedFailure());
    return new Promise((resolve, reject) => {
      const deadline = this.#clock.now() + limitMs;
      let stopTimer = (): void => undefined;
      const settle = (then: () => void): void => {
        stopTimer();
        this.#underWay.delete(breakOff);
        this.#onArrival = undefined;
        then();
      };
      const breakOff = (failure: Failure): void => settle(() => reject(failure));
      const look = (): void => {
        const leftMs = deadline - this.#clock.now();
        if (!this.#device.opened) breakOff(unpluggedFailure());
        else if (leftMs <= 0) settle(() => resolve(undefined));
        else stopTimer = this.#clock.after(Math.min(leftMs, LOOK_MS), look);
      };
      this.#underWay.add(breakOff);
      this.#onArrival = () => settle(() => resolve(this.#queue.shift()));
      look();
    });
  }

  /** A report that has arrived already. */
  take(): Report | undefined {
    return this.#queue.shift();
  }

  /** Forgets what has arrived: before a request, it answers an earlier one. */
  drain(): void {
    this.#queue.length = 0;
  }

  /** Ends what is under way, says farewell as far as the device still listens, and gives it back. Never throws; safe to call twice. */
  close(farewell: readonly Report[] = []): Promise<void> {
    this.#closing ??= this.#giveBack(farewell);
    return this.#closing;
  }

  readonly #receive = ({ reportId, data }: HidInputReport): void => {
    if (this.#queue.length >= MAX_QUEUED_REPORTS) {
      this.#end(new Failure('reader/failed', { detail: 'more reports than anybody asked for' }));
      return;
    }
    // Copied: the browser may use its buffer again.
    this.#queue.push({ id: reportId, bytes: new Uint8Array(data.buffer, data.byteOffset, data.byteLength).slice() });
    this.#onArrival?.();
  };

  async #giveBack(farewell: readonly Report[]): Promise<void> {
    this.#end(closedFailure());
    this.#device.removeEventListener('inputreport', this.#receive);
    // Not opened by us: another's to close.
    if (this.#opening === undefined) return;
    try {
      await limited(this.#opening, CLOSE_LIMIT_MS, this.#clock);
      for (const { id, bytes } of farewell) await limited(this.#device.sendReport(id, bytes), CLOSE_LIMIT_MS, this.#clock);
    } catch {
      // A reader that is unplugged or stuck hears no farewell.
    }
    try {
      await limited(this.#device.close(), CLOSE_LIMIT_MS, this.#clock);
    } catch {
      // Nothing of it is left to give back.
    }
  }

  #assertUsable(): void {
    if (this.#over !== undefined) throw this.#over;
    if (!this.#device.opened) throw unpluggedFailure();
  }

  #end(failure: Failure): void {
    this.#over ??= failure;
    this.#queue.length = 0;
    for (const breakOff of [...this.#underWay]) breakOff(failure);
  }

  async #within<T>(work: Promise<T>, limitMs: number, what: string): Promise<T> {
    let forget = (): void => undefined;
    const broken = new Promise<never>((_, reject) => {
      this.#underWay.add(reject);
      forget = () => void this.#underWay.delete(reject);
    });
    try {
      return await limited(Promise.race([work, broken]), limitMs, this.#clock, what);
    } finally {
      forget();
    }
  }
}

async function limited<T>(work: Promise<T>, limitMs: number, clock: Clock, what = 'closing'): Promise<T> {
  let stopTimer = (): void => undefined;
  const late = new Promise<never>((_, reject) => {
    stopTimer = clock.after(limitMs, () => reject(new Failure('reader/failed', { detail: `${what} took longer than ${limitMs} ms` })));
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    stopTimer();
  }
}

/** What `open()` of WebHID rejects with (WICG, 6.2): Chromium says NotAllowedError whenever the system does not let it open the device. */
function openFailure(thrown: unknown): Failure {
  if (thrown instanceof Failure) return thrown;
  const name = thrown instanceof Error || thrown instanceof DOMException ? thrown.name : '';
  if (name === 'NotAllowedError' || name === 'SecurityError') return new Failure('reader/permission', { cause: thrown });
  if (name === 'InvalidStateError') return new Failure('reader/in-use', { cause: thrown });
  return new Failure('reader/failed', { cause: thrown, detail: 'the reader could not be opened' });
}
