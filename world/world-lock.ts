/** One world at a time in a folder: a second one would move the ports that the first one's extension and certificates name. */
import { mkdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { withFileLock } from './postgres-lock.ts';

/** A folder in which another process runs a world; the message is for the person. */
export class WorldInUseError extends Error {
  override readonly name = 'WorldInUseError';
}

/** Answers how to let go of it. The kernel drops the lock with its holder, however that dies. */
export async function holdWorld(folder: string): Promise<() => void> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  return new Promise((resolveHeld, reject) => {
    withFileLock(join(folder, 'world.lock'), 0, () => new Promise<void>((release) => resolveHeld(release))).catch((cause: unknown) => {
      reject(new WorldInUseError(`another command (npm start, demo or a test) runs its servers in ${resolve(folder)}: end it first, or choose another folder with --folder`, { cause }));
    });
  });
}
