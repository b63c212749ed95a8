/** Readers that the browser drives, held only while somebody attends to them: meanwhile whoever else needs them finds them free. */
import { Failure } from '#protocol/failure.ts';
import type { CardChannel } from '#bridge/card-channel.ts';
import type { ReaderInfo, ReaderSource } from '#bridge/reader-source.ts';

/** Without attention there are no readers in it. */
export interface AttendedReaders extends ReaderSource {
  /** False gives the readers back; true takes them, as soon as an earlier giving back is done. Nobody attends at the beginning. */
  attend(isAttended: boolean): void;
}

/** `open` is called anew for each stretch of attention. */
export function createAttendedReaders(open: () => ReaderSource): AttendedReaders {
  return new Attended(open);
}

class Attended implements AttendedReaders {
  readonly #open: () => ReaderSource;
  readonly #callbacks = new Set<(readers: readonly ReaderInfo[]) => void>();
  #isAttended = false;
  #isClosed = false;
  #source: ReaderSource | undefined;
  /** While readers are being given back: taken before, they would be closed under whoever has just opened them. */
  #givingBack: Promise<void> | undefined;

  constructor(open: () => ReaderSource) {
    this.#open = open;
  }

  get readers(): readonly ReaderInfo[] {
    return this.#source?.readers ?? [];
  }

  get problem(): Failure | undefined {
    return this.#source?.problem;
  }

  onReaders(callback: (readers: readonly ReaderInfo[]) => void): () => void {
    this.#callbacks.add(callback);
    return () => void this.#callbacks.delete(callback);
  }

  connect(readerName: string, signal: AbortSignal, transmitLimitMs?: number): Promise<CardChannel> {
    return this.#source?.connect(readerName, signal, transmitLimitMs) ?? Promise.reject(new Failure('reader/none', { detail: 'nobody attends' }));
  }

  attend(isAttended: boolean): void {
    if (this.#isClosed || this.#isAttended === isAttended) return;
    this.#isAttended = isAttended;
    if (isAttended) this.#take();
    else this.#giveBack();
  }

  async close(): Promise<void> {
    this.#callbacks.clear();
    this.attend(false);
    this.#isClosed = true;
    await this.#givingBack;
  }

  #take(): void {
    if (!this.#isAttended || this.#source !== undefined || this.#givingBack !== undefined) return;
    const source = (this.#source = this.#open());
    source.onReaders(() => {
      if (source === this.#source) this.#tell();
    });
  }

  #giveBack(): void {
    const source = this.#source;
    if (source === undefined) return;
    this.#source = undefined;
    this.#givingBack = source.close().then(() => {
      this.#givingBack = undefined;
      this.#take();
    });
    this.#tell();
  }

  #tell(): void {
    for (const callback of [...this.#callbacks]) callback(this.readers);
  }
}
