/** The readers that the browser drives by itself, as one source: every paired device that we know, as it is plugged in and out. */
import { Failure } from '#protocol/failure.ts';
import type { CardChannel } from '../card-channel.ts';
import type { ReaderInfo, ReaderSource } from '../reader-source.ts';
import { AttachedReader, READER_PACE, type ReaderPace } from './attached-reader.ts';
import type { ReaderDriver } from './reader-driver.ts';

/** A bus of the browser: what is paired and plugged in now, and news of it. `Device` is the browser's own object, the same for the same device. */
export interface DeviceBus<Device extends object> {
  /** The paired and connected devices that we have a driver for. */
  devices(): Promise<readonly Device[]>;
  /** Calls back when a paired device came or went. Returns the way to stop. */
  onChange(callback: () => void): () => void;
  createDriver(device: Device): ReaderDriver;
}

const TRANSMIT_LIMIT_MS = 10_000;
/** A desk has one or two. */
const MAX_READERS = 16;

/** Opens every reader of these buses as soon as it is there, and looks for cards on it until `close`. */
export function openDeviceReaders(buses: readonly DeviceBus<object>[], pace: ReaderPace = READER_PACE): ReaderSource {
  return new DeviceReaders(buses, pace);
}

class DeviceReaders implements ReaderSource {
  readonly problem = undefined;
  readonly #pace: ReaderPace;
  readonly #attached = new Map<object, AttachedReader>();
  readonly #callbacks = new Set<(readers: readonly ReaderInfo[]) => void>();
  readonly #stops: (() => void)[];
  /** Settles when every reader has been given back. */
  #closing: Promise<void> | undefined;

  constructor(buses: readonly DeviceBus<object>[], pace: ReaderPace) {
    this.#pace = pace;
    this.#stops = buses.map((bus) => this.#follow(bus));
  }

  get readers(): readonly ReaderInfo[] {
    return [...this.#attached.values()].map(({ name, state, problem }) => ({ name, state, problem }));
  }

  onReaders(callback: (readers: readonly ReaderInfo[]) => void): () => void {
    this.#callbacks.add(callback);
    return () => void this.#callbacks.delete(callback);
  }

  async connect(readerName: string, signal: AbortSignal, transmitLimitMs: number = TRANSMIT_LIMIT_MS): Promise<CardChannel> {
    const reader = [...this.#attached.values()].find(({ name }) => name === readerName);
    if (reader === undefined) throw new Failure('reader/none');
    const channel = await reader.lend(transmitLimitMs);
    if (!signal.aborted) return channel;
    await channel.close();
    throw signal.reason instanceof Failure ? signal.reason : new Failure('payment/aborted', { cause: signal.reason });
  }

  close(): Promise<void> {
    return (this.#closing ??= this.#giveBack());
  }

  async #giveBack(): Promise<void> {
    this.#callbacks.clear();
    for (const stop of this.#stops) stop();
    const readers = [...this.#attached.values()];
    this.#attached.clear();
    await Promise.all(readers.map((reader) => reader.detach()));
  }

  /** News of a bus are looked up one after another: the latest look decides. */
  #follow(bus: DeviceBus<object>): () => void {
    const mine = new Set<object>();
    let looking: Promise<void> = Promise.resolve();
    const look = (): void => {
      looking = looking.then(() => this.#attach(bus, mine)).catch((thrown: unknown) => console.error('the paired readers could not be listed', thrown));
    };
    const stop = bus.onChange(look);
    look();
    return stop;
  }

  async #attach(bus: DeviceBus<object>, mine: Set<object>): Promise<void> {
    const devices = await bus.devices();
    if (this.#closing !== undefined) return;
    for (const device of mine) {
      if (devices.includes(device)) continue;
      mine.delete(device);
      void this.#attached.get(device)?.detach();
      this.#attached.delete(device);
    }
    for (const device of devices.slice(0, MAX_READERS - this.#attached.size)) {
      if (this.#attached.has(device)) continue;
      mine.add(device);
      const driver = bus.createDriver(device);
      this.#attached.set(device, new AttachedReader(this.#uniqueName(driver.readerName), driver, this.#pace, () => this.#tell()));
    }
    this.#tell();
  }

  #uniqueName(name: string): string {
    const taken = new Set([...this.#attached.values()].map((reader) => reader.name));
    for (let number = 2, unique = name; ; number++) {
      if (!taken.has(unique)) return unique;
      unique = `${name} (${number})`;
    }
  }

  #tell(): void {
    for (const callback of [...this.#callbacks]) callback(this.readers);
  }
}
