/** The end-to-end suite: real Chromium, real PC/SC, one stage shared by all; what a failure leaves behind lies below var/e2e/. */
import { defineConfig } from 'playwright/test';

export default defineConfig({
  testDir: 'e2e',
  globalSetup: './e2e/clean-up.ts',
  outputDir: 'var/e2e/failures',
  // One card, one reader: payments take turns.
  workers: 1,
  forbidOnly: true,
  timeout: 60_000,
  expect: { timeout: 15_000 },
  reporter: 'list',
  use: { screenshot: 'only-on-failure' },
});
