/** Time that passes at once: whatever waits for a timer in memory waits no longer than the work before it takes. */
import { vi } from 'vitest';

let stop = (): void => undefined;

/** The next timer is due as soon as nothing else is to do; those of `node:timers/promises` by `delayByTimer`. */
export function startVirtualTime(): void {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
  let isRunning = true;
  stop = () => {
    isRunning = false;
  };
  // A turn of the event loop ends when no promise has anything left to do.
  const turn = (): void => {
    if (!isRunning) return;
    vi.advanceTimersToNextTimer();
    setImmediate(turn);
  };
  setImmediate(turn);
}

export function endVirtualTime(): void {
  stop();
  vi.useRealTimers();
}

/** In the place of `setTimeout` of `node:timers/promises`, which fake timers leave alone. */
export function delayByTimer(ms: number, value: unknown, { signal }: { readonly signal?: AbortSignal } = {}): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const end = (settle: () => void) => (): void => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', abort);
      settle();
    };
    const abort = end(() => reject(signal?.reason as Error));
    const timer = setTimeout(end(() => resolve(value)), ms);
    if (signal?.aborted === true) abort();
    else signal?.addEventListener('abort', abort);
  });
}
