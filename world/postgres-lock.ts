/** An exclusive lock on a file between processes; the kernel drops it with its holder, so that no crash leaves it behind. */
import { closeSync, openSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import koffi from 'koffi';

const LOCK_EXCLUSIVE = 2;
const LOCK_WITHOUT_WAITING = 4;
const POLL_MS = 20;

type Flock = (fileDescriptor: number, operation: number) => number;
let flock: Flock | undefined;

function loadFlock(): Flock {
  const library = koffi.load(process.platform === 'darwin' ? 'libSystem.B.dylib' : 'libc.so.6');
  return library.func('int flock(int fileDescriptor, int operation)');
}

/** Runs `work` while holding the lock on `path`, alone among all processes and callers; throws if it is not free within `timeoutMs`. */
export async function withFileLock<T>(path: string, timeoutMs: number, work: () => Promise<T>): Promise<T> {
  flock ??= loadFlock();
  const fileDescriptor = openSync(path, 'a', 0o600);
  try {
    const deadline = Date.now() + timeoutMs;
    // Polling keeps the event loop free: a blocking flock would freeze the whole process.
    while (flock(fileDescriptor, LOCK_EXCLUSIVE | LOCK_WITHOUT_WAITING) !== 0) {
      const reason = koffi.errno();
      if (reason !== koffi.os.errno['EAGAIN'] && reason !== koffi.os.errno['EINTR']) throw new Error(`cannot lock ${path} (errno ${reason}): put the folder on a local disk`);
      if (Date.now() > deadline) throw new Error(`another process has held ${path} for more than ${timeoutMs / 1000} s: end it, then start again`);
      await delay(POLL_MS);
    }
    return await work();
  } finally {
    closeSync(fileDescriptor);
  }
}
