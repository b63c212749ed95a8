/** A card's memory in a file that survives kill and power cut at every point, and that one process holds at a time. */
import { existsSync } from 'node:fs';
import { CardImageError } from './memory/card-image-error.ts';
import { CARD_BYTES, createCardContent, JournalledCardMemory } from './memory/journalled-card-memory.ts';
import { FileEeprom } from './memory/file-eeprom.ts';
import { parseJsonImage } from './memory/json-image.ts';
import { readIfThere, removeLeftovers, replaceFile } from './memory/durable-file.ts';
import { takeLock } from './memory/file-lock.ts';
import type { Bytes } from '#protocol/bytes.ts';
import type { CardImage } from './card-image.ts';
import type { CardMemory } from './card-memory.ts';
import type { FileLock } from './memory/file-lock.ts';
import type { WriteObserver } from './memory/eeprom.ts';

const MISSING = 'there is no such card image';
/** Far above any image of the family. */
const MAX_FILE_BYTES = 1 << 20;
/** The text formats of former versions begin so, and no card's memory does. */
const JSON_OBJECT = 0x7b;

export class FileCardMemory implements CardMemory {
  readonly #path: string;
  readonly #lock: FileLock;
  readonly #onWrite: WriteObserver | undefined;
  #eeprom: FileEeprom;
  #memory: JournalledCardMemory;
  #isOpen = true;
  #isPoweringUp = false;

  private constructor(path: string, lock: FileLock, onWrite: WriteObserver | undefined, eeprom: FileEeprom, memory: JournalledCardMemory) {
    this.#path = path;
    this.#lock = lock;
    this.#onWrite = onWrite;
    this.#eeprom = eeprom;
    this.#memory = memory;
  }

  /**
   * Takes the image file for this process. If there is none, it is made from `createImage`; without that it is an error. An image
   * in one of the text formats of former versions is converted. `onWrite` hears of each page that is written.
   * Throws CardImageError for a missing, damaged or already used image.
   */
  static async open(path: string, createImage?: () => CardImage, onWrite?: WriteObserver): Promise<FileCardMemory> {
    if (createImage === undefined && !existsSync(path)) throw new CardImageError(`${path}: ${MISSING}`);
    const lock = takeLock(`${path}.lock`);
    let eeprom: FileEeprom | undefined;
    try {
      await removeLeftovers(path);
      const image = imageToBegin(await readIfThere(path, MAX_FILE_BYTES), createImage);
      if (image !== undefined) await replaceFile(path, createCardContent(image));
      eeprom = FileEeprom.open(path, onWrite);
      return new FileCardMemory(path, lock, onWrite, eeprom, await JournalledCardMemory.powerUp(eeprom));
    } catch (error) {
      eeprom?.close();
      lock.release();
      throw named(path, error);
    }
  }

  get image(): CardImage {
    return this.#memory.image;
  }

  async commit(next: CardImage): Promise<void> {
    if (!this.#isOpen) throw new CardImageError(`${this.#path}: closed`);
    await this.#memory.commit(next);
  }

  async powerUp(): Promise<void> {
    if (!this.#isOpen || this.#memory.hasPower || this.#isPoweringUp) return;
    this.#isPoweringUp = true;
    try {
      this.#eeprom.close();
      // What reads back after a write that failed need not be on the disk: written anew as a whole it is.
      await replaceFile(this.#path, await this.#content());
      this.#eeprom = FileEeprom.open(this.#path, this.#onWrite);
      this.#memory = await JournalledCardMemory.powerUp(this.#eeprom);
    } catch (error) {
      throw named(this.#path, error);
    } finally {
      this.#isPoweringUp = false;
      this.#releaseIfDone();
    }
  }

  /** Gives the file free for another process. Call it after the chip's last command. */
  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#releaseIfDone();
  }

  async #content(): Promise<Bytes> {
    const content = await readIfThere(this.#path, MAX_FILE_BYTES);
    if (content === undefined) throw new CardImageError(MISSING);
    return content;
  }

  /** A file that is just being replaced is given free after that. */
  #releaseIfDone(): void {
    if (this.#isOpen || this.#isPoweringUp) return;
    this.#eeprom.close();
    this.#lock.release();
  }
}

/** The image that a new file begins with, in place of what is there; undefined if a card's memory is there. */
function imageToBegin(content: Bytes | undefined, createImage: (() => CardImage) | undefined): CardImage | undefined {
  if (content === undefined) {
    if (createImage === undefined) throw new CardImageError(MISSING);
    return createImage();
  }
  if (content[0] === JSON_OBJECT) return parseJsonImage(content);
  if (content.length !== CARD_BYTES) throw new CardImageError(`not the memory of a card: ${content.length} bytes instead of ${CARD_BYTES}`);
  return undefined;
}

function named(path: string, error: unknown): unknown {
  if (!(error instanceof CardImageError || error instanceof RangeError)) return error;
  return new CardImageError(`${path}: ${error.message}`, { cause: error });
}
