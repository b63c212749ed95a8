/** The pairing page's samples by name: for tests, which run where no extension's messages are. */
export const READERS_NAMES = [
  'readers-none',
  'readers-starting',
  'readers-paired',
  'readers-well',
  'readers-old-program',
  'readers-permission',
  'readers-windows',
  'readers-testing',
  'readers-tested',
  'readers-test-failed',
  'readers-chromeos',
  'readers-firefox',
  'readers-firefox-bare',
] as const;
export type ReadersName = (typeof READERS_NAMES)[number];
