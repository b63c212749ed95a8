/** The clock of a world in one process: begins at a fixed time, runs with real time, never twice at the same instant, and can be put forward. */

export interface WorldClock {
  /** Epoch milliseconds with fraction. */
  readonly now: () => number;
  readonly advance: (ms: number) => void;
}

export function createWorldClock(startMs: number): WorldClock {
  let offsetMs = startMs - performance.now();
  let last = startMs;
  return {
    // Strictly rising, so that a journal sorted by time is sorted by what happened.
    now: () => (last = Math.max(last + 0.001, performance.now() + offsetMs)),
    advance: (ms) => void (offsetMs += ms),
  };
}
