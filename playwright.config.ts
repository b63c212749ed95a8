/** The end-to-end suite: real Chromium, real PC/SC and emulated USB readers, one stage a worker; what a failure leaves behind lies below var/e2e/. */
import { defineConfig } from 'playwright/test';

export default defineConfig({
  testDir: 'e2e',
  globalSetup: './e2e/clean-up.ts',
  outputDir: 'var/e2e/failures',
  // Each has a card and a reader of its own, on which its payments take turns; much of the time is waiting.
  workers: 2,
  forbidOnly: true,
  timeout: 60_000,
  expect: { timeout: 15_000 },
  reporter: 'list',
  use: { screenshot: 'only-on-failure' },
});
