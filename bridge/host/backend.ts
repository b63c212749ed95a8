/** What the host's session needs from whatever reaches a reader: PC/SC, or the simulated card of a machine without it. */
import type { ReaderList } from '#bridge/native/messages.ts';
import type { Bytes } from '#protocol/bytes.ts';

/** One exclusive connection to one card. Any failure ends it: later calls fail with `card/removed` and touch no reader. */
export interface CardConnection {
  /** Answer to reset of the card that lay there at the time of connecting. */
  readonly atr: Bytes;
  /**
   * One command, at most `timeoutMs`. Fails with `card/removed` (lost; the command may or may not have been carried out),
   * `card/silent` (no answer in time; the connection is abandoned), `reader/failed` or `reader/no-service`.
   */
  transmit(apdu: Bytes, timeoutMs: number): Promise<Bytes>;
  /** Resets the card, so that the next program finds neither an authenticated session nor an open transaction; safe to call twice. */
  close(): Promise<void>;
}

export interface ReaderBackend {
  readonly name: 'pcsc' | 'sim';
  /** Calls back with the list now and after every change, until `stop` is called. A service that is missing is looked for again. */
  watch(onChange: (list: ReaderList) => void): { stop(): void };
  /** Fails with `reader/none`, `reader/in-use`, `reader/no-service`, `reader/failed`, `card/absent` or `card/silent`. */
  connect(readerName: string): Promise<CardConnection>;
  /** Lets go of everything; resolves to whether nothing is left running in a native call (then the process must be killed to end). */
  close(): Promise<{ idle: boolean }>;
}
