import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['**/*.test.ts'],
    exclude: ['node_modules/**', 'var/**', 'e2e/**'],
    globalSetup: ['world/test-database.ts'],
    testTimeout: 30_000,
    hookTimeout: 60_000,
  },
});
