/** The extension's side of the native-messaging host: readers as they come and go, and an exclusive channel to the card on one of them. */
import { MAX_BATCH_COMMANDS, isShortCommand, type CardCommand } from '#protocol/apdu.ts';
import { encodeHex, parseHex, type Bytes } from '#protocol/bytes.ts';
import { asFailure, Failure, isFailureCode } from '#protocol/failure.ts';
import { TransmitFailure, type CardChannel } from '../card-channel.ts';
import type { Finding } from '../doctor-findings.ts';
import { Turns } from '../turns.ts';
import type { ReaderInfo, ReaderSource } from '../reader-source.ts';
import { ConnectResult, DiagnoseResult, DisconnectResult, HelloResult, MAX_TRANSMIT_MS, NATIVE_HOST_NAME, NATIVE_PROTOCOL_VERSION, TransmitResult, ReaderList } from './messages.ts';
import { HostPort, type NativePort } from './port.ts';

export { NATIVE_HOST_NAME };
export type { NativePort };

/** A cold start of Node on a slow computer; afterwards the host answers in milliseconds. */
const START_LIMIT_MS = 15_000;
/** The host's own limit for connecting is 5 s; it answers before this. */
const ANSWER_LIMIT_MS = 8_000;
/** The host asks other programs of the system, each with a limit of its own. */
const DIAGNOSE_LIMIT_MS = 20_000;
const TRANSMIT_LIMIT_MS = 10_000;
/** What the host's answer may take beyond the time of the batch. */
const GRACE_MS = 2_000;

export interface NativeHost extends ReaderSource {
  /** The host's version; equal to the one that was expected. */
  readonly version: string;
  readonly platform: string;
  /** What the host sees of the PC/SC service, readers, drivers and permissions, now. Fails with `host/…`. */
  diagnose(): Promise<readonly Finding[]>;
}

export interface NativeHostOptions {
  /** `() => browser.runtime.connectNative(NATIVE_HOST_NAME)`. */
  readonly connect: () => NativePort;
  /** `() => chrome.runtime.lastError?.message` (or Firefox's `port.error?.message`): the browser's reason for a port that closed. */
  readonly lastError?: () => string | undefined;
  /** The extension's version; the host must have the same. */
  readonly expectedVersion: string;
  readonly signal: AbortSignal;
}

/** Starts the host and learns the readers. Fails with `host/missing`, `host/version`, `host/failed`, `host/malformed`. */
export async function openNativeHost({ connect, lastError = () => undefined, expectedVersion, signal }: NativeHostOptions): Promise<NativeHost> {
  const host = new OpenHost(startPort(connect), lastError);
  try {
    await host.begin(expectedVersion, signal);
    return host;
  } catch (reason) {
    void host.close();
    throw reason;
  }
}

function startPort(connect: () => NativePort): NativePort {
  try {
    return connect();
  } catch (cause) {
    // connectNative throws where the permission or the whole function is missing.
    throw new Failure('host/missing', { cause });
  }
}

class OpenHost implements NativeHost {
  readonly #port: HostPort;
  readonly #callbacks = new Set<(readers: readonly ReaderInfo[]) => void>();
  version = '';
  platform = '';
  readers: readonly ReaderInfo[] = [];
  problem: Failure | undefined;

  constructor(port: NativePort, lastError: () => string | undefined) {
    this.#port = new HostPort(
      port,
      lastError,
      (list) => this.#update(list),
      (failure) => this.#update({ readers: [], problem: failure.code }),
    );
  }

  async begin(expectedVersion: string, signal: AbortSignal): Promise<void> {
    const hello = await this.#port.request({ op: 'hello', protocol: NATIVE_PROTOCOL_VERSION }, HelloResult, START_LIMIT_MS, signal);
    if (hello.protocol !== NATIVE_PROTOCOL_VERSION || hello.version !== expectedVersion) {
      throw new Failure('host/version', { detail: `host ${hello.version}, extension ${expectedVersion}` });
    }
    this.version = hello.version;
    this.platform = hello.platform;
    this.#update(await this.#port.request({ op: 'watch' }, ReaderList, ANSWER_LIMIT_MS, signal));
  }

  onReaders(callback: (readers: readonly ReaderInfo[]) => void): () => void {
    this.#callbacks.add(callback);
    return () => void this.#callbacks.delete(callback);
  }

  async connect(readerName: string, signal: AbortSignal, transmitLimitMs: number = TRANSMIT_LIMIT_MS): Promise<CardChannel> {
    const limitMs = Math.min(Math.max(1, Math.floor(transmitLimitMs)), MAX_TRANSMIT_MS);
    // Not aborted on the wire: a channel that opens after the signal must be given back, so its number is awaited.
    const { channel } = await this.#port.request({ op: 'connect', reader: readerName }, ConnectResult, ANSWER_LIMIT_MS);
    const opened = new NativeChannel(this.#port, channel, readerName, limitMs);
    if (!signal.aborted) return opened;
    await opened.close();
    throw signal.reason instanceof Failure ? signal.reason : new Failure('payment/aborted', { cause: signal.reason });
  }

  async diagnose(): Promise<readonly Finding[]> {
    return (await this.#port.request({ op: 'diagnose' }, DiagnoseResult, DIAGNOSE_LIMIT_MS)).findings;
  }

  /** The host gives the cards back when its port closes. */
  close(): Promise<void> {
    this.#callbacks.clear();
    this.#port.close();
    return Promise.resolve();
  }

  #update({ readers, problem }: ReaderList): void {
    this.readers = readers;
    this.problem = problem === undefined ? undefined : new Failure(isFailureCode(problem) ? problem : 'host/malformed');
    for (const callback of [...this.#callbacks]) callback(readers);
  }
}

class NativeChannel implements CardChannel {
  readonly readerName: string;
  readonly #port: HostPort;
  readonly #id: number;
  readonly #limitMs: number;
  readonly #turns = new Turns();
  #open = true;

  constructor(port: HostPort, id: number, readerName: string, limitMs: number) {
    this.#port = port;
    this.#id = id;
    this.readerName = readerName;
    this.#limitMs = limitMs;
  }

  transmit(commands: readonly CardCommand[], signal: AbortSignal): Promise<Bytes[]> {
    return this.#turns.take(() => this.#exchangeBatch(commands, signal));
  }

  async #exchangeBatch(commands: readonly CardCommand[], signal: AbortSignal): Promise<Bytes[]> {
    if (!this.#open) throw new TransmitFailure('card/removed', [], { detail: 'the channel is over' });
    if (commands.length === 0) return [];
    if (commands.length > MAX_BATCH_COMMANDS || !commands.every(({ apdu }) => isShortCommand(apdu))) {
      throw new Failure('internal/bug', { detail: 'a batch that no reader takes' });
    }
    const batch = commands.map(({ apdu, expectedStatus }) => ({ apdu: encodeHex(apdu), expect: expectedStatus.toString(16).padStart(4, '0').toUpperCase() }));
    try {
      // One native message a batch: the fewest crossings, and the host stops at the first unexpected answer by itself.
      const { responses } = await this.#port.request({ op: 'transmit', channel: this.#id, commands: batch, timeoutMs: this.#limitMs }, TransmitResult, this.#limitMs + GRACE_MS, signal);
      if (responses.length === 0 || responses.length > batch.length) throw new Failure('host/malformed', { detail: 'more or fewer answers than commands' });
      return responses.map((hex) => parseHex(hex));
    } catch (reason) {
      this.#open = false;
      this.#giveBack();
      const failure = asFailure(reason);
      throw failure instanceof TransmitFailure ? failure : new TransmitFailure(failure.code, [], { cause: failure });
    }
  }

  async close(): Promise<void> {
    if (!this.#open) return;
    this.#open = false;
    await this.#disconnect();
  }

  #giveBack(): void {
    void this.#disconnect();
  }

  async #disconnect(): Promise<void> {
    try {
      await this.#port.request({ op: 'disconnect', channel: this.#id }, DisconnectResult, ANSWER_LIMIT_MS);
    } catch {
      // A host that has died has given the card back already.
    }
  }
}
