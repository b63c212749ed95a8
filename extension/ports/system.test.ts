import { expect, test } from 'vitest';
import { systemOf } from './system.ts';

test.each([
  ['Linux', 'linux'],
  ['Linux x86_64', 'linux'],
  ['Windows', 'windows'],
  ['Win32', 'windows'],
  ['macOS', 'macos'],
  ['MacIntel', 'macos'],
  ['Chrome OS', 'chromeos'],
  ['Chromium OS', 'chromeos'],
  ['Android', 'other'],
  ['', 'other'],
])('the platform %j is %s', (platform, system) => {
  expect(systemOf({ userAgent: 'Mozilla/5.0', platform })).toBe(system);
  expect(systemOf({ userAgent: 'Mozilla/5.0', platform: 'Odd', userAgentData: { platform } })).toBe(system);
});

test('an older ChromeOS names its platform Linux: what it calls itself decides', () => {
  expect(systemOf({ userAgent: 'Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36', platform: 'Linux x86_64' })).toBe('chromeos');
});
