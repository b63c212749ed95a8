import { expect, test } from 'vitest';
import { environmentOf } from './environment.ts';

test('Chromium tells its brands, and its made-up one is left out', () => {
  const brands = [{ brand: 'Not;A=Brand', version: '8' }, { brand: 'Chromium', version: '156' }, { brand: 'Google Chrome', version: '156' }];
  const environment = environmentOf({ userAgent: 'Mozilla/5.0', platform: 'Linux x86_64', userAgentData: { platform: 'Windows', brands }, usb: {}, hid: {} }, '0.1.0');
  expect(environment).toEqual({ system: 'windows', browser: 'Chromium 156, Google Chrome 156', roads: { webusb: true, webhid: true }, version: '0.1.0' });
});

test.each([
  ['Mozilla/5.0 (X11; Linux x86_64; rv:153.0) Gecko/20100101 Firefox/153.0', 'Firefox 153.0'],
  ['Mozilla/5.0 (Macintosh) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.1 Safari/605.1.15', 'Safari 26.1'],
  ['odd', 'unknown'],
])('%s is %s, without either road', (userAgent, browser) => {
  expect(environmentOf({ userAgent, platform: 'Linux' }, '0.1.0')).toMatchObject({ browser, roads: { webusb: false, webhid: false } });
});
