/** Files that are replaced as a whole: whatever happens, the old or the new one is there. */
import { open, readFile, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { Bytes } from '#protocol/bytes.ts';

/** A card image holds the card's keys. */
export const OWNER_ONLY = 0o600;

/** The file's content; undefined if there is no such file, RangeError if it is larger than `maxBytes`. */
export async function readIfThere(path: string, maxBytes: number): Promise<Bytes | undefined> {
  try {
    if ((await stat(path)).size > maxBytes) throw new RangeError('too large for a card image');
    return new Uint8Array(await readFile(path));
  } catch (error) {
    if (isSystemError(error, 'ENOENT')) return undefined;
    throw error;
  }
}

/** Once it resolves, the file holds `content`, also after a loss of power. */
export async function replaceFile(path: string, content: Uint8Array): Promise<void> {
  await writeDurably(temporaryPath(path), content);
  await rename(temporaryPath(path), path);
  // The new name itself is durable only with its folder.
  await syncFolder(dirname(path));
}

/** What a kill in the middle of replaceFile left behind was never the file's content. */
export async function removeLeftovers(path: string): Promise<void> {
  await rm(temporaryPath(path), { force: true });
}

function temporaryPath(path: string): string {
  return join(dirname(path), `.${basename(path)}.new`);
}

async function writeDurably(path: string, content: Uint8Array): Promise<void> {
  const file = await open(path, 'w', OWNER_ONLY);
  try {
    await file.writeFile(content);
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

export function isSystemError(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}
