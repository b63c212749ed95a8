/** Files with secrets: read only when nobody else may read them, written whole or not at all. */
import { randomBytes } from 'node:crypto';
import { closeSync, constants, fchmodSync, fstatSync, fsyncSync, openSync, readFileSync, statSync, writeFileSync, type BigIntStats } from 'node:fs';
import { dirname } from 'node:path';
import { encodeHex } from '#protocol/bytes.ts';
import { KeyStoreError } from './key-store.ts';

const MAX_FILE_BYTES = 1n << 20n;

export interface PrivateFile {
  readonly text: string;
  /** Differs between any two files that were ever at this path. */
  readonly mark: string;
}

/** A file that only its owner may read; undefined if there is none. */
export function readPrivateFile(path: string, what: string): PrivateFile | undefined {
  let descriptor: number;
  try {
    descriptor = openSync(path, 'r');
  } catch (cause) {
    if (isMissing(cause)) return undefined;
    throw new KeyStoreError(`the ${what} file ${path} cannot be read`, { cause });
  }
  try {
    // Asked of the open file, so that it cannot be exchanged in between.
    const status = fstatSync(descriptor, { bigint: true });
    const forOthers = BigInt(constants.S_IRWXG | constants.S_IRWXO);
    // Windows has no such bits; there the folder's access list protects it.
    if (process.platform !== 'win32' && (status.mode & forOthers) !== 0n) throw new KeyStoreError(`the ${what} file ${path} is open to others: chmod 600 it`);
    if (status.size > MAX_FILE_BYTES) throw new KeyStoreError(`the ${what} file ${path} is too large`);
    return { text: readFileSync(descriptor, 'utf8'), mark: markOf(status) };
  } finally {
    closeSync(descriptor);
  }
}

/** The mark of the file that is there now; undefined if none can be seen. */
export function markOfFile(path: string): string | undefined {
  try {
    return markOf(statSync(path, { bigint: true }));
  } catch {
    // Whatever the reason: there is nothing to compare with, and reading it will say why.
    return undefined;
  }
}

/** From the environment, or else the first line of a file that only its owner may read; undefined if there is neither. */
export function readSecret(fromEnvironment: string | undefined, file: string | undefined, what: string): string | undefined {
  return fromEnvironment ?? (file === undefined ? undefined : readPrivateFile(file, what))?.text.split(/\r?\n/)[0];
}

/** A file of its own beside `path`, mode 0600, whole on the disk before this returns: a crash leaves no half store in the store's place. */
export function writeBeside(path: string, text: string): string {
  const beside = `${path}.${encodeHex(randomBytes(4))}.new`;
  let descriptor: number;
  try {
    descriptor = openSync(beside, 'wx', 0o600);
  } catch (cause) {
    throw new KeyStoreError(`the key store ${path} cannot be created`, { cause });
  }
  try {
    // The process's umask may have taken bits away that the owner needs.
    fchmodSync(descriptor, 0o600);
    writeFileSync(descriptor, text);
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
  return beside;
}

export function syncFolder(path: string): void {
  // Windows cannot open a folder to sync it, and needs none.
  if (process.platform === 'win32') return;
  const folder = openSync(dirname(path), 'r');
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}

function markOf({ dev, ino, size, mtimeNs, ctimeNs }: BigIntStats): string {
  return [dev, ino, size, mtimeNs, ctimeNs].join(':');
}

function isMissing(cause: unknown): boolean {
  return cause instanceof Error && 'code' in cause && cause.code === 'ENOENT';
}
