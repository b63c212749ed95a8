/** A lock in a file that names its holder, made whole in one step (link), and taken over only when the holder is dead. */
import { linkSync, readFileSync, rmSync, unlinkSync, writeFileSync } from 'node:fs';
import { CardImageError } from './card-image-error.ts';
import { encodeHex } from '#protocol/bytes.ts';
import { isSystemError, OWNER_ONLY } from './durable-file.ts';
import { secureRandom } from '../crypto.ts';

export interface FileLock {
  release(): void;
}

/** Takes the lock at `path` for this process, or throws CardImageError. */
export function takeLock(path: string): FileLock {
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
