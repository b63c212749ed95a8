/** An EEPROM in a file: each page is written in one call, each barrier puts all that was written on the disk; what is read comes from the file as it was opened and the writes since. */
import { closeSync, fdatasync, openSync, readFileSync, writeSync } from 'node:fs';
import { promisify } from 'node:util';
import { CarriedEeprom, PAGE_BYTES } from './eeprom.ts';
import type { WriteObserver } from './eeprom.ts';

const synchronize = promisify(fdatasync);

export class FileEeprom extends CarriedEeprom {
  readonly #file: number;
  #isOpen = true;
  #pendingBarriers = 0;

  private constructor(file: number, onWrite: WriteObserver | undefined) {
    super(new Uint8Array(readFileSync(file)), onWrite);
    this.#file = file;
  }

  /** The whole file is the EEPROM. */
  static open(path: string, onWrite?: WriteObserver): FileEeprom {
    const file = openSync(path, 'r+');
    try {
      return new FileEeprom(file, onWrite);
    } catch (error) {
      closeSync(file);
      throw error;
    }
  }

  protected override store(page: number, content: Uint8Array): void {
    this.#requireOpen();
    if (writeSync(this.#file, content, 0, PAGE_BYTES, page * PAGE_BYTES) !== PAGE_BYTES) throw new Error('the disk took only a part of a page');
  }

  override async barrier(): Promise<void> {
    this.#requireOpen();
    this.#pendingBarriers++;
    try {
      await synchronize(this.#file);
    } finally {
      this.#pendingBarriers--;
      this.#closeIfDone();
    }
  }

  /** Nothing is written from now on, not even the rest of a commit that is under way: the next one to open the file does it. */
  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#closeIfDone();
  }

  #requireOpen(): void {
    if (!this.#isOpen) throw new Error('the EEPROM is closed');
  }

  #closeIfDone(): void {
    if (!this.#isOpen && this.#pendingBarriers === 0) closeSync(this.#file);
  }
}
