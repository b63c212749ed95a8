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
