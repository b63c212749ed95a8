/** Time as drivers and carriers need it: injected, so that tests do not wait. */
export interface Clock {
  /** Milliseconds; only differences matter. */
  now(): number;
  /** Calls back once after `ms`. Returns the way to stop it. */
  after(ms: number, callback: () => void): () => void;
}

export const SYSTEM_CLOCK: Clock = {
  now: () => performance.now(),
  after: (ms, callback) => {
    const timer = setTimeout(callback, ms);
    return () => clearTimeout(timer);
  },
};

export function pause(clock: Clock, ms: number): Promise<void> {
  return new Promise((resolve) => void clock.after(ms, resolve));
}

export const LATE = Symbol('late');

/** The work's outcome if it comes within `limitMs`; the work itself goes on. */
export async function within<T>(clock: Clock, limitMs: number, work: Promise<T>): Promise<T | typeof LATE> {
  let callOff = (): void => undefined;
  const limit = new Promise<typeof LATE>((resolve) => {
    callOff = clock.after(limitMs, () => resolve(LATE));
  });
  try {
    return await Promise.race([work, limit]);
  } finally {
    callOff();
  }
}
