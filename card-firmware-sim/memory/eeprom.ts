/** A card's EEPROM: pages that are written one at a time; between two writes, and in the middle of one, the power may go. */
import type { Bytes } from '#protocol/bytes.ts';

export const PAGE_BYTES = 64;

export interface Eeprom {
  readonly pageCount: number;
  /** A copy of `count` pages from `page` on. */
  read(page: number, count: number): Bytes;
  /** Replaces one page: one cycle of erasing and writing. If it throws, nobody knows what that page holds now. */
  writePage(page: number, content: Uint8Array): void;
  /** Once it resolves, all that was written before is permanent, and ahead of all that is written later. */
  barrier(): Promise<void>;
}

/** Hears of each page write: a chip spends its time and its life on them. */
export type WriteObserver = (page: number) => void;

/** What every carrier has in common: its content in memory, to read from, over the bytes that it was made with. */
export abstract class CarriedEeprom implements Eeprom {
  readonly pageCount: number;
  readonly #content: Bytes;
  readonly #onWrite: WriteObserver | undefined;

  constructor(content: Bytes, onWrite?: WriteObserver) {
    if (content.length % PAGE_BYTES !== 0) throw new RangeError('not a whole number of EEPROM pages');
    this.pageCount = content.length / PAGE_BYTES;
    this.#content = content;
    this.#onWrite = onWrite;
  }

  read(page: number, count: number): Bytes {
    this.#requirePages(page, count);
    return this.#content.slice(page * PAGE_BYTES, (page + count) * PAGE_BYTES);
  }

  writePage(page: number, content: Uint8Array): void {
    this.#requirePages(page, 1);
    if (content.length !== PAGE_BYTES) throw new RangeError('an EEPROM is written by whole pages');
    this.store(page, content);
    this.#content.set(content, page * PAGE_BYTES);
    this.#onWrite?.(page);
  }

  abstract barrier(): Promise<void>;

  /** Puts a page where the carrier keeps it, before it counts as written. */
  protected abstract store(page: number, content: Uint8Array): void;

  #requirePages(page: number, count: number): void {
    if (!Number.isInteger(page) || page < 0 || page + count > this.pageCount) throw new RangeError(`the EEPROM has no page ${page + count - 1}`);
  }
}

/** An EEPROM that lives as long as the object. */
export class MemoryEeprom extends CarriedEeprom {
  override barrier(): Promise<void> {
    return Promise.resolve();
  }

  protected override store(): void {
    // The content in memory is all there is.
  }
}
