/** Malformed commands, alone and in live sessions: a sample of what `npm run fuzz-card` sends by the million. */
import { describe, expect, it } from 'vitest';
import { fuzzChip } from './fuzz.ts';

describe('a chip that is sent malformed commands', () => {
  it('neither throws nor hangs nor changes what it keeps, and it is reached at every depth', async () => {
    const progress: number[] = [];
    const report = await fuzzChip({ count: 20_000, seed: 20_261_122, onProgress: (done) => progress.push(done) });
    expect(report.finding).toBeUndefined();
    expect(Object.values(report.answers).reduce((sum, times) => sum + times, 0)).toBe(20_000);
    // Framing, class, selection, unknown commands, lengths, MACs, files, keys, rights, interruption, frames, refused authentications.
    for (const status of ['6700', '6E00', '6D00', '6A86', '911C', '917E', '911E', '91F0', '9140', '919D', '91AE', '91CA', '91AF']) expect(Object.keys(report.answers)).toContain(status);
    expect(progress.at(-1)).toBe(20_000);
  });

  it('the same seed sends the same bytes, another one others', async () => {
    const answers = async (seed: number): Promise<unknown> => (await fuzzChip({ count: 300, seed })).answers;
    expect(await answers(7)).toEqual(await answers(7));
    expect(await answers(8)).not.toEqual(await answers(7));
  });
});
