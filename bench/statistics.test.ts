import { describe, expect, test } from 'vitest';
import { median, quantile, summarize } from './statistics.ts';

describe('summary of measured times', () => {
  test('the median of an even count lies between the two in the middle', () => {
    expect(median([4, 1, 3, 2])).toBe(2.5);
    expect(median([3, 1, 2])).toBe(2);
    expect(median([7])).toBe(7);
  });

  test('the 99th percentile of 1 to 200 is 198, by nearest rank', () => {
    const values = Array.from({ length: 200 }, (_, i) => 200 - i);
    expect(summarize(values)).toEqual({ count: 200, medianMs: 100.5, p99Ms: 198, quartilesMs: [50, 150], minMs: 1, maxMs: 200 });
  });

  test('a quantile is one of the values, by nearest rank, in any order', () => {
    expect(quantile([4, 1, 3, 2], 0.95)).toBe(4);
    expect(quantile(Array.from({ length: 100 }, (_, i) => 100 - i), 0.95)).toBe(95);
  });

  test('nothing measured is not a result', () => {
    expect(() => summarize([])).toThrow('nothing was measured');
  });
});
