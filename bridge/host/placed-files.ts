/** Files as an installation writes and takes away: each whole or not at all, and only folders that are empty go. */
import { chmod, lstat, mkdir, readdir, readFile, rename, rm, rmdir, stat, writeFile } from 'node:fs/promises';
import { pathsOf, type Platform } from './platform.ts';

/** What a write under way is called; one that a power cut left behind is overwritten by the next. */
const UNFINISHED = '.kessai-new';

/** Undefined where it is not there or cannot be read. */
export async function readPlaced(platform: Platform, path: string): Promise<Buffer | undefined> {
  try {
    return await readFile(platform.locate(path));
  } catch {
    return undefined; // the caller asks whether it is there
  }
}

export async function isPlaced(platform: Platform, path: string): Promise<boolean> {
  return stat(platform.locate(path)).then(() => true, () => false);
}

/** Whether `path` already has exactly these bytes and this mode. */
export async function isSame(platform: Platform, path: string, bytes: Uint8Array, mode: number): Promise<boolean> {
  const [there, status] = await Promise.all([readPlaced(platform, path), lstat(platform.locate(path)).catch(() => undefined)]);
  if (there === undefined || status?.isFile() !== true) return false;
  const sameMode = platform.system === 'windows' || (status.mode & 0o777) === mode;
  return sameMode && Buffer.compare(there, bytes) === 0;
}

export async function writePlaced(platform: Platform, path: string, bytes: Uint8Array, mode: number): Promise<void> {
  const [target, unfinished] = [platform.locate(path), platform.locate(path + UNFINISHED)];
  await rm(unfinished, { force: true });
  await writeFile(unfinished, bytes, { mode, flush: true });
  // Node applies the umask to the mode above.
  await chmod(unfinished, mode);
  await rename(unfinished, target);
}

/** Whether there was something to remove. */
export async function removePlaced(platform: Platform, path: string): Promise<boolean> {
  await rm(platform.locate(path + UNFINISHED), { force: true });
  if (!(await isPlaced(platform, path))) return false;
  await rm(platform.locate(path), { force: true });
  return true;
}

/** The folders that must be made so that `folder` exists, outermost first. */
export async function missingFolders(platform: Platform, folder: string): Promise<string[]> {
  const missing: string[] = [];
  const paths = pathsOf(platform);
  for (let each = folder; !(await isPlaced(platform, each)) && paths.dirname(each) !== each; each = paths.dirname(each)) missing.unshift(each);
  return missing;
}

export async function makeFolder(platform: Platform, folder: string): Promise<void> {
  await mkdir(platform.locate(folder), { recursive: true });
}

/** Whether the folder was there and empty, and is gone now. */
export async function removeIfEmpty(platform: Platform, folder: string): Promise<boolean> {
  return rmdir(platform.locate(folder)).then(() => true, () => false);
}

/** Every file below a folder of this machine, as paths relative to it, with `/`. */
export async function filesBelow(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => `${entry.parentPath}/${entry.name}`.slice(folder.length + 1).replaceAll('\\', '/'))
    .sort();
}
