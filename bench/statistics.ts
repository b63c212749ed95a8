/** What a row of measured times says: its middle, its tail and its spread, in milliseconds to three decimals. */

export interface Summary {
  readonly count: number;
  readonly medianMs: number;
  /** Nearest rank: with fewer than 100 values it is the largest. */
  readonly p99Ms: number;
  /** Half of all values lie between these two. */
  readonly quartilesMs: readonly [number, number];
  readonly minMs: number;
  readonly maxMs: number;
}

export function summarize(valuesMs: readonly number[]): Summary {
  if (valuesMs.length === 0) throw new RangeError('nothing was measured');
  const sorted = [...valuesMs].sort((a, b) => a - b);
  const at = (share: number): number => ofSorted(sorted, share);
  return { count: sorted.length, medianMs: medianOf(sorted), p99Ms: at(0.99), quartilesMs: [at(0.25), at(0.75)], minMs: at(0), maxMs: at(1) };
}

/** The value that this share of all does not exceed, by nearest rank. */
export function quantile(valuesMs: readonly number[], share: number): number {
  return ofSorted([...valuesMs].sort((a, b) => a - b), share);
}

function ofSorted(sorted: readonly number[], share: number): number {
  return roundMs(sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? 0);
}

export function median(valuesMs: readonly number[]): number {
  return medianOf([...valuesMs].sort((a, b) => a - b));
}

function medianOf(sorted: readonly number[]): number {
  const middle = sorted.length / 2;
  return roundMs(((sorted[Math.ceil(middle) - 1] ?? 0) + (sorted[Math.floor(middle)] ?? 0)) / 2);
}

export function roundMs(ms: number): number {
  return Math.round(ms * 1000) / 1000;
}
