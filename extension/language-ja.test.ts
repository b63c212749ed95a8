import { expect, test, vi } from 'vitest';
import { amountParts, formatAmount } from './language.ts';
import { moneySentence } from './screens/money.ts';

vi.mock('webextension-polyfill', async () => (await import('./messages.fixture.ts')).polyfillWith('ja'));

test('Japanese amounts end in the name of their currency', () => {
  expect(formatAmount(1200n, 'JPY')).toMatch(/^1,200\s?円$/);
  expect(amountParts(1200n, 'JPY').map(({ kind }) => kind).filter((kind) => kind !== 'space')).toEqual(['figures', 'currency']);
  expect(formatAmount(123456n, 'EUR')).toMatch(/^1,234\.56\s?ユーロ$/);
});

test('the money sentence is Japanese', () => {
  expect(moneySentence({ kind: 'untouched' })).toBe('カードからは何も引き落とされていません。');
  expect(moneySentence({ kind: 'taken', shopTold: true, amountMinor: 1200n, currency: 'JPY' })).toMatch(/^カードから1,200\s?円が引き落とされ、お店にも通知されました。$/);
});
