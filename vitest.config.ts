import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['**/*.test.ts'],
    exclude: ['node_modules/**', 'var/**', 'e2e/**'],
    globalSetup: ['world/test-database.ts'],
    testTimeout: 30_000,
    hookTimeout: 60_000,
    // Many tests wait for a reader, a browser or a database: one worker alone would leave two cores idle.
    maxWorkers: Math.max(2, availableParallelism() - 1),
  },
});
