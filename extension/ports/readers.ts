/** All readers of this browser as one list: those that it drives by itself (WebUSB, WebHID) and the native host's; each road may be missing. */
import { asFailure, Failure, type FailureCode } from '#protocol/failure.ts';
import type { CardChannel } from '#bridge/card-channel.ts';
import type { NativeHost } from '#bridge/native/client.ts';
import type { ReaderInfo, ReaderSource } from '#bridge/reader-source.ts';

export type OpenHost = () => Promise<NativeHost>;

export interface Readers {
  readonly list: readonly ReaderInfo[];
  /** Why there is no reader at all; null while one is there. */
  readonly problem: FailureCode | null;
  /** The native host is being started, and no other road has a reader. */
  readonly starting: boolean;
  /** The native host while it runs. */
  readonly host: NativeHost | undefined;
  /** Why the native host does not run, whatever else there is. */
  readonly hostProblem: FailureCode | null;
  /** Called after each change of the above. */
  onChange: () => void;
  /** Opens the card on that reader; fails as ReaderSource.connect does. `source` tells when the card goes. */
  connect(readerName: string, signal: AbortSignal): Promise<{ readonly channel: CardChannel; readonly source: ReaderSource }>;
  /** Starts the host again if it does not run. */
  retry(): void;
  close(): void;
}

/** Starts at once: the host needs time that the customer spends reading. `devices`: undefined where the browser has neither WebUSB nor WebHID. */
export function createReaders(openHost: OpenHost, devices: ReaderSource | undefined): Readers {
  const readers = new AllReaders(openHost, devices);
  readers.retry();
  return readers;
}

interface Place {
  readonly info: ReaderInfo;
  readonly source: ReaderSource;
  /** What the source calls it. */
  readonly nameAtSource: string;
}

class AllReaders implements Readers {
  readonly #openHost: OpenHost;
  readonly #devices: ReaderSource | undefined;
  host: NativeHost | undefined;
  hostProblem: FailureCode | null = null;
  #hostStarting = false;
  #closed = false;
  onChange: () => void = () => undefined;

  constructor(openHost: OpenHost, devices: ReaderSource | undefined) {
    this.#openHost = openHost;
    this.#devices = devices;
    devices?.onReaders(() => this.onChange());
  }

  get list(): readonly ReaderInfo[] {
    return this.#places().map(({ info }) => info);
  }

  get problem(): FailureCode | null {
    if (this.#places().length > 0 || this.#hostStarting) return null;
    return this.hostProblem ?? this.host?.problem?.code ?? 'reader/none';
  }

  get starting(): boolean {
    return this.#hostStarting && this.#places().length === 0;
  }

  async connect(readerName: string, signal: AbortSignal): Promise<{ channel: CardChannel; source: ReaderSource }> {
    const place = this.#places().find(({ info }) => info.name === readerName);
    if (place === undefined) throw new Failure('reader/none');
    const { source, nameAtSource } = place;
    try {
      return { channel: await source.connect(nameAtSource, signal), source };
    } catch (thrown) {
      const failure = asFailure(thrown);
      // A host that answers nonsense is not asked again until somebody says so.
      if (source === this.host && failure.code.startsWith('host/')) {
        void this.host.close();
        this.#hostEnded(failure.code);
      }
      throw failure;
    }
  }

  retry(): void {
    if (this.#hostStarting || this.host !== undefined || this.#closed) return;
    this.#hostStarting = true;
    this.hostProblem = null;
    this.#openHost().then(
      (host) => this.#hostStarted(host),
      (thrown: unknown) => this.#hostEnded(asFailure(thrown).code),
    );
  }

  close(): void {
    this.#closed = true;
    this.onChange = () => undefined;
    void this.host?.close();
    void this.#devices?.close();
  }

  #hostStarted(host: NativeHost): void {
    this.#hostStarting = false;
    if (this.#closed) {
      void host.close();
      return;
    }
    this.host = host;
    host.onReaders(() => {
      if (host.problem?.code === 'host/failed') this.#hostEnded(host.problem.code);
      else this.onChange();
    });
    this.onChange();
  }

  #hostEnded(code: FailureCode): void {
    this.#hostStarting = false;
    this.host = undefined;
    this.hostProblem = code;
    this.onChange();
  }

  /** A reader that the browser drives comes first: it was paired by hand. The same name at the host gets a tail. */
  #places(): Place[] {
    const places: Place[] = [];
    for (const source of [this.#devices, this.host]) {
      for (const info of source?.readers ?? []) {
        const isTaken = places.some((place) => place.info.name === info.name);
        if (source !== undefined) places.push({ info: isTaken ? { ...info, name: `${info.name} (PC/SC)` } : info, source, nameAtSource: info.name });
      }
    }
    return places;
  }
}
