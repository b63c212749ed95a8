/** A card's memory in a file that survives kill and power cut at every point, and that one process holds at a time. */
import { linkSync, readFileSync, rmSync, unlinkSync, writeFileSync } from 'node:fs';
import { open, readFile, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { CardImageError, encodeCardImage, parseCardImage } from './image-codec.ts';
import { encodeHex } from '#protocol/bytes.ts';
import { secureRandom } from './crypto.ts';
import type { CardImage } from './card-image.ts';
import type { CardMemory } from './card-memory.ts';

/** Far above any image of the family. */
const MAX_IMAGE_CHARACTERS = 1 << 20;
/** The image holds the card's keys. */
const OWNER_ONLY = 0o600;

export class FileCardMemory implements CardMemory {
  readonly #path: string;
  readonly #lock: FileLock;
  #image: CardImage;
  #isOpen = true;

  private constructor(path: string, lock: FileLock, image: CardImage) {
    this.#path = path;
    this.#lock = lock;
    this.#image = image;
  }

  /**
   * Takes the image file for this process. If there is none, it is made from `createImage`; without that it is an error.
   * Throws CardImageError for a missing, damaged or already used image.
   */
  static async open(path: string, createImage?: () => CardImage): Promise<FileCardMemory> {
    const missing = new CardImageError(`${path}: there is no such card image`);
    if (createImage === undefined && (await readIfThere(path)) === undefined) throw missing;
    const lock = takeLock(`${path}.lock`);
    try {
      // What a kill in the middle of a commit left behind was never the card's state.
      await rm(temporaryPath(path), { force: true });
      const text = await readIfThere(path);
      if (text !== undefined) return new FileCardMemory(path, lock, parseStored(path, text));
      if (createImage === undefined) throw missing;
      const memory = new FileCardMemory(path, lock, createImage());
      await memory.commit(memory.#image);
      return memory;
    } catch (error) {
      lock.release();
      throw error;
    }
  }

  get image(): CardImage {
    return this.#image;
  }

  async commit(next: CardImage): Promise<void> {
    if (!this.#isOpen) throw new CardImageError(`${this.#path}: closed`);
    await writeDurably(temporaryPath(this.#path), encodeCardImage(next));
    await rename(temporaryPath(this.#path), this.#path);
    this.#image = next;
    // The new name itself is durable only with its folder.
    await syncFolder(dirname(this.#path));
  }

  /** Gives the file free for another process. Call it after the chip's last command. */
  close(): void {
    if (this.#isOpen) this.#lock.release();
    this.#isOpen = false;
  }
}

function temporaryPath(path: string): string {
  return join(dirname(path), `.${basename(path)}.new`);
}

function parseStored(path: string, text: string): CardImage {
  if (text.length > MAX_IMAGE_CHARACTERS) throw new CardImageError(`${path}: too large for a card image`);
  try {
    return parseCardImage(text);
  } catch (cause) {
    throw new CardImageError(`${path}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
  }
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (isSystemError(error, 'ENOENT')) return undefined;
    throw error;
  }
}

async function writeDurably(path: string, text: string): Promise<void> {
  const file = await open(path, 'w', OWNER_ONLY);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
}

async function syncFolder(path: string): Promise<void> {
  // Windows cannot open a folder for this, and keeps its names durable by itself.
  if (process.platform === 'win32') return;
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

interface FileLock {
  release(): void;
}

/** A file that names its holder, made whole in one step (link), taken over only when the holder is dead. */
function takeLock(path: string): FileLock {
  const own = `${process.pid} ${startOf(process.pid)} ${encodeHex(secureRandom(8))}`;
  const draft = `${path}.${own.slice(-16)}`;
  writeFileSync(draft, own, { mode: OWNER_ONLY });
  try {
    if (!linkIfFree(draft, path)) takeOver(draft, path);
  } finally {
    unlinkSync(draft);
  }
  return {
    release: () => {
      if (readLock(path) === own) rmSync(path, { force: true });
    },
  };
}

function linkIfFree(draft: string, path: string): boolean {
  try {
    linkSync(draft, path);
    return true;
  } catch (error) {
    if (isSystemError(error, 'EEXIST')) return false;
    throw error;
  }
}

/** Only one process at a time may judge a lock to be stale and remove it; else the second would remove the first one's new lock. */
function takeOver(draft: string, path: string): void {
  const judging = `${path}.takeover`;
  const inUse = new CardImageError(`${path}: the card image is in use by another process`);
  if (isHeld(path)) throw inUse;
  if (!linkIfFree(draft, judging)) throw new CardImageError(`${judging}: another process is taking over this card image; delete this file if it is left over from a crash`);
  try {
    if (isHeld(path)) throw inUse;
    rmSync(path, { force: true });
    if (!linkIfFree(draft, path)) throw inUse;
  } finally {
    unlinkSync(judging);
  }
}

function isHeld(path: string): boolean {
  const [pid = '', start = ''] = (readLock(path) ?? '').split(' ');
  if (!/^\d+$/.test(pid)) return false;
  try {
    process.kill(Number(pid), 0);
  } catch (error) {
    // EPERM: it lives, as another user.
    if (isSystemError(error, 'ESRCH')) return false;
  }
  // A process number is given again after a restart; the time of its start is not.
  return start === startOf(Number(pid));
}

function readLock(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (isSystemError(error, 'ENOENT')) return undefined;
    throw error;
  }
}

/** When a process started, in clock ticks since the machine's; '-' where the platform does not say. A process that only waits to be buried has no start. */
function startOf(pid: number): string {
  try {
    // proc(5): field 22, counted from after the name, which may hold spaces and brackets.
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/^.*\) /s, '').split(' ');
    return fields[0] === 'Z' ? 'dead' : (fields[19] ?? '-');
  } catch {
    // No /proc on this platform: the process number alone has to do.
    return '-';
  }
}

function isSystemError(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}
