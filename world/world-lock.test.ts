import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { holdWorld, WorldInUseError } from './world-lock.ts';

test('a second world in one folder is refused in words that say what to do, until the first one has gone', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'kessai-world-lock-'));
  try {
    const release = await holdWorld(folder);
    await expect(holdWorld(folder)).rejects.toThrow(WorldInUseError);
    await expect(holdWorld(folder)).rejects.toThrow(/end it first, or choose another folder/);
    release();
    await expect.poll(() => holdWorld(folder).then((again) => (again(), true), () => false)).toBe(true);
  } finally {
    await rm(folder, { recursive: true });
  }
});
