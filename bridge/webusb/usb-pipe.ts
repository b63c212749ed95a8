/**
 * A pair of bulk endpoints with time limits, which WebUSB has not. One read at most is pending at any time: one that came
 * too late stays, and the next caller takes it over, so that no read steals the answer of another.
 */
import type { Bytes } from '#protocol/bytes.ts';
import { Failure, type FailureCode } from '#protocol/failure.ts';
import { LATE, within, type Clock } from '../clock.ts';
import type { UsbDevice } from './usb-device.ts';

export interface UsbPipe {
  /** Sends all bytes, and what tells their end where they fill their last packet. Fails with `reader/failed`. */
  write(data: Bytes, limitMs: number): Promise<void>;
  /** The bytes of the next transfer, at least one; undefined: none within `limitMs`. Fails with `reader/failed`. */
  read(limitMs: number): Promise<Bytes | undefined>;
  /** Throws away what comes until nothing comes for `quietMs`. */
  drain(quietMs: number): Promise<void>;
  /** Whatever is done or under way on this pipe fails with `reader/failed` from now on; the endpoints go on in the pipe that is returned. */
  retire(): UsbPipe;
  /** Gives the interface and the device back; never throws. */
  close(): Promise<void>;
}

/** Full and high speed both divide it: a read that is no multiple of the packet size can end in babble. */
const READ_BYTES = 1024;
/** Transfers without a byte, and leftovers of an earlier user, that are borne in a row. */
const MAX_EMPTY_TRANSFERS = 16;
const MAX_DRAINED_TRANSFERS = 64;
/** What the system may take to open, claim, release and close; no reader is asked anything. */
const SYSTEM_LIMIT_MS = 3000;

export interface PipeOptions {
  readonly clock: Clock;
  /** What it means that the interface cannot be claimed. */
  readonly claimRefused: 'reader/in-use' | 'reader/driver';
}

/** Opens the device and takes its first vendor-specific interface (class FF) with bulk endpoints both ways. Fails as ReaderDriver.open does. */
export async function openUsbPipe(device: UsbDevice, { clock, claimRefused }: PipeOptions): Promise<UsbPipe> {
  const limited = async <T>(work: Promise<T>, refusals: Readonly<Record<string, FailureCode>> = {}): Promise<T> => {
    const outcome = await within(clock, SYSTEM_LIMIT_MS, work.catch((cause: unknown) => Promise.reject(usbFailure(cause, refusals))));
    if (outcome === LATE) throw new Failure('reader/failed', { detail: 'the system does not answer' });
    return outcome;
  };
  // Closing ends the reads that an earlier user of this object has left pending.
  if (device.opened) await limited(device.close());
  await limited(device.open(), { SecurityError: 'reader/permission' });
  try {
    // Set only where it is not: the system refuses while another program has the reader's other interface.
    if (!device.configuration) await limited(device.selectConfiguration(1), { NetworkError: claimRefused });
    const place = findVendorInterface(device);
    await limited(device.claimInterface(place.interfaceNumber), { NetworkError: claimRefused, SecurityError: 'reader/permission' });
    return new BulkPipe({ device, clock, ...place, pendingRead: undefined });
  } catch (reason) {
    await within(clock, SYSTEM_LIMIT_MS, device.close().catch(() => undefined)); // A device that is gone need not be closed.
    throw reason;
  }
}

interface Place {
  readonly interfaceNumber: number;
  readonly input: number;
  readonly output: number;
  readonly packetBytes: number;
}

function findVendorInterface(device: UsbDevice): Place {
  for (const { interfaceNumber, alternate } of device.configuration?.interfaces ?? []) {
    const bulk = alternate.endpoints.filter(({ type }) => type === 'bulk');
    const input = bulk.find(({ direction }) => direction === 'in');
    const output = bulk.find(({ direction }) => direction === 'out');
    if (alternate.interfaceClass === 0xff && input && output) {
      return { interfaceNumber, input: input.endpointNumber, output: output.endpointNumber, packetBytes: output.packetSize };
    }
  }
  throw new Failure('reader/failed', { detail: 'no interface of class FF' });
}

/** WebUSB's errors in our words; NotFoundError, NetworkError, AbortError and all others: the reader is gone or out of order. */
function usbFailure(cause: unknown, refusals: Readonly<Record<string, FailureCode>> = {}): Failure {
  const name = cause instanceof Error || cause instanceof DOMException ? cause.name : '';
  return new Failure(Object.hasOwn(refusals, name) ? (refusals[name] ?? 'reader/failed') : 'reader/failed', { cause, detail: name });
}

/** A transfer's outcome as a value: a read may be left alone for long, and then nobody is there to catch. */
type Received = { readonly bytes: Bytes } | { readonly failure: Failure } | 'stall';

/** The device's endpoints, and the read that is pending on them, whoever asked for it. */
interface Endpoints extends Place {
  readonly device: UsbDevice;
  readonly clock: Clock;
  pendingRead: Promise<Received> | undefined;
}

class BulkPipe implements UsbPipe {
  readonly #ends: Endpoints;
  #isRetired = false;
  #interrupt: ((failure: Failure) => void) | undefined;

  constructor(ends: Endpoints) {
    this.#ends = ends;
  }

  async write(data: Bytes, limitMs: number): Promise<void> {
    await this.#send(data, limitMs);
    // USB 2.0, 5.8.3: a transfer that fills its last packet is ended by an empty one.
    if (data.length % this.#ends.packetBytes === 0) await this.#send(new Uint8Array(), limitMs);
  }

  async #send(data: Bytes, limitMs: number): Promise<void> {
    const { device, output } = this.#ends;
    const sent = await this.#limited(limitMs, () => device.transferOut(output, data));
    if (sent === LATE) throw new Failure('reader/failed', { detail: 'takes no data' });
    if (sent.status === 'stall') await this.#limited(limitMs, () => device.clearHalt('out', output));
    // Never sent again: what the reader has taken of it cannot be known.
    if (sent.status !== 'ok' || sent.bytesWritten !== data.length) throw new Failure('reader/failed', { detail: `sending ended in ${sent.status}` });
  }

  async read(limitMs: number): Promise<Bytes | undefined> {
    const ends = this.#ends;
    const deadline = ends.clock.now() + limitMs;
    let hasStalled = false;
    for (let empty = 0; empty < MAX_EMPTY_TRANSFERS; empty++) {
      const received = await this.#limited(Math.max(0, deadline - ends.clock.now()), () => (ends.pendingRead ??= receive(ends)));
      if (received === LATE) return undefined;
      ends.pendingRead = undefined;
      if (received === 'stall') {
        // Reading once more repeats nothing: the answer may still be there.
        if (hasStalled) throw new Failure('reader/failed', { detail: 'stalled twice' });
        hasStalled = true;
        await this.#limited(limitMs, () => ends.device.clearHalt('in', ends.input));
        continue;
      }
      if ('failure' in received) throw received.failure;
      if (received.bytes.length > 0) return received.bytes;
    }
    throw new Failure('reader/failed', { detail: 'sends nothing but empty packets' });
  }

  async drain(quietMs: number): Promise<void> {
    for (let transfers = 0; transfers < MAX_DRAINED_TRANSFERS; transfers++) {
      if (!(await this.read(quietMs))) return;
    }
    throw new Failure('reader/failed', { detail: 'does not stop sending' });
  }

  retire(): UsbPipe {
    this.#isRetired = true;
    this.#interrupt?.(closed());
    return new BulkPipe(this.#ends);
  }

  async close(): Promise<void> {
    this.retire();
    const { device, clock, interfaceNumber } = this.#ends;
    // A reader that is gone fails in each of these, and needs none of them.
    const quietly = (work: Promise<unknown>) => within(clock, SYSTEM_LIMIT_MS, work.catch(() => undefined));
    await quietly(device.releaseInterface(interfaceNumber));
    await quietly(device.close());
  }

  /** The work's outcome within the limit, unless this pipe is retired before. */
  async #limited<T>(limitMs: number, work: () => Promise<T>): Promise<T | typeof LATE> {
    if (this.#isRetired) throw closed();
    const interrupted = new Promise<never>((_resolve, reject) => {
      this.#interrupt = reject;
    });
    try {
      const attempt = work().catch((cause: unknown) => Promise.reject(usbFailure(cause)));
      return await within(this.#ends.clock, limitMs, Promise.race([attempt, interrupted]));
    } finally {
      this.#interrupt = undefined;
    }
  }
}

async function receive({ device, input }: Endpoints): Promise<Received> {
  try {
    const { status, data } = await device.transferIn(input, READ_BYTES);
    if (status === 'stall') return 'stall';
    if (status !== 'ok') return { failure: new Failure('reader/failed', { detail: `receiving ended in ${status}` }) };
    return { bytes: data ? new Uint8Array(new Uint8Array(data.buffer, data.byteOffset, data.byteLength)) : new Uint8Array() };
  } catch (cause) {
    return { failure: usbFailure(cause) };
  }
}

const closed = (): Failure => new Failure('reader/failed', { detail: 'closed' });
