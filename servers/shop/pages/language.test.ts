import { expect, test } from 'vitest';
import { chooseLanguage, formatMoney, formatTime } from './language.ts';

test.each([
  [undefined, 'en'],
  ['', 'en'],
  ['ja', 'ja'],
  ['ja-JP,ja;q=0.9,en-US;q=0.8,en;q=0.7', 'ja'],
  ['en-US,en;q=0.9,ja;q=0.8', 'en'],
  ['fr-FR,fr;q=0.9,ja;q=0.5,en;q=0.4', 'ja'],
  ['de', 'en'],
  ['ja;q=0', 'en'],
  ['*', 'en'],
  ['en;q=0.1,JA;q=0.2', 'ja'],
  ['ja;q=banana', 'en'],
  [`${'x,'.repeat(50)}ja`, 'en'],
])('a browser that asks for %j reads %s', (header, language) => {
  expect(chooseLanguage(header)).toBe(language);
});

test('money names its currency', () => {
  expect(formatMoney(1200n, 'JPY', 'en')).toBe('JPY\u00a01,200');
  expect(formatMoney(1200n, 'JPY', 'ja')).toBe('1,200円');
  expect(formatMoney(1205n, 'EUR', 'en')).toBe('EUR\u00a012.05');
});

test('a time names its time zone', () => {
  expect(formatTime(Date.UTC(2026, 10, 22, 3, 4, 5), 'Asia/Tokyo', 'en')).toBe('November 22, 2026 at 12:04:05 PM GMT+9');
  expect(formatTime(Date.UTC(2026, 10, 22, 3, 4, 5), 'Asia/Tokyo', 'ja')).toBe('2026年11月22日 12:04:05 JST');
});
