import { expect, test, vi } from 'vitest';
import { amountParts, formatAmount, formatDateTime } from './language.ts';
import { moneySentence } from './screens/money.ts';

vi.mock('webextension-polyfill', async () => (await import('./messages.fixture.ts')).polyfillWith('en'));

const NBSP = '\u00a0';

test('an amount names its currency by a code that no other currency shares', () => {
  expect(formatAmount(1200n, 'JPY')).toBe(`JPY${NBSP}1,200`);
  expect(formatAmount(123456n, 'EUR')).toBe(`EUR${NBSP}1,234.56`);
  expect(formatAmount(2_147_483_647n, 'CHF')).toBe(`CHF${NBSP}21,474,836.47`);
});

test('the figures of an amount are one part, so that they can be set large and never apart', () => {
  expect(amountParts(123456n, 'EUR')).toEqual([
    { kind: 'currency', text: 'EUR' },
    { kind: 'space', text: NBSP },
    { kind: 'figures', text: '1,234.56' },
  ]);
});

test('times are written as the interface language writes them', () => {
  expect(formatDateTime(Date.UTC(2026, 10, 22, 12))).toMatch(/22 Nov 2026/);
});

test('each state of the money has its own plain sentence with the sum', () => {
  const sum = { amountMinor: 1200n, currency: 'JPY' } as const;
  expect(moneySentence({ kind: 'untouched' })).toBe('Nothing has been taken from your card.');
  expect(moneySentence({ kind: 'not-taken' })).toBe('It is certain: nothing was taken from your card.');
  expect(moneySentence({ kind: 'under-way', ...sum })).toBe(`JPY${NBSP}1,200 is being taken from your card now.`);
  expect(moneySentence({ kind: 'taken', shopTold: true, ...sum })).toBe(`JPY${NBSP}1,200 was taken from your card; the shop has been told.`);
  expect(moneySentence({ kind: 'taken', shopTold: false, ...sum })).toBe(`JPY${NBSP}1,200 was taken from your card.`);
  expect(moneySentence({ kind: 'unknown', ...sum })).toBe(`We do not know yet whether JPY${NBSP}1,200 was taken. Put the card back and we will find out.`);
});
