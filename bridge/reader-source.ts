/** Where readers come from: the native host, or the browser's own USB and HID stacks. Readers come and go; a card on one is opened for us alone. */
import type { Failure, FailureCode } from '#protocol/failure.ts';
import type { CardChannel } from './card-channel.ts';

/** `in-use`: another program holds the card or the reader. `mute`: something lies there that does not answer as a card. */
export type ReaderState = 'empty' | 'present' | 'in-use' | 'mute';

export interface ReaderInfo {
  /** What a person calls the reader; unique within its source. */
  readonly name: string;
  readonly state: ReaderState;
  /** Answer to reset of the card that lies there, in hex, where the road tells it. */
  readonly atr?: string | undefined;
  /** Why this reader cannot be used now: `reader/permission`, `card/several` and the like. */
  readonly problem?: FailureCode | undefined;
}

export interface ReaderSource {
  /** The readers as of the latest news; empty when there is none. */
  readonly readers: readonly ReaderInfo[];
  /** Why there may be no readers at all: `reader/no-service` and the like; undefined when all is well. */
  readonly problem: Failure | undefined;
  /** Calls back after every change of `readers` or `problem`. Returns the way to stop. */
  onReaders(callback: (readers: readonly ReaderInfo[]) => void): () => void;
  /**
   * Opens the card on that reader for us alone. Fails with `reader/…`, `card/absent`, `card/silent`, `host/…`.
   * The channel gives each batch `transmitLimitMs` (10 s unless told otherwise).
   */
  connect(readerName: string, signal: AbortSignal, transmitLimitMs?: number): Promise<CardChannel>;
  /** Gives everything back, and resolves when it has been: only then may somebody else open the same readers. Never throws; safe to call twice. */
  close(): Promise<void>;
}
