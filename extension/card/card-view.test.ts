import { expect, test, vi } from 'vitest';
import type { CardRecords } from '#protocol/messages/card-record.ts';
import type { ReaderView } from '../ports/card-watch.ts';
import { announcement, decidedWords, groupedCardNumber } from './card-view.ts';
import type { ShownCard } from './card-state.ts';
import { recordAmount, recordTitle } from './records-view.ts';

vi.mock('webextension-polyfill', async () => (await import('../messages.fixture.ts')).polyfillWith('en'));

const JPY_1200 = 'JPY\u00a01,200';
const record = (known: CardRecords[number]['known'], amountMinor = 1200n): CardRecords[number] => ({ operationId: 'A'.repeat(16), amountMinor, timeSeconds: 1_790_000_000, known });
const known = (kind: NonNullable<CardRecords[number]['known']>['kind'], shopName: string | null = null) => record({ kind, outcome: 'done', shopName });
const reader: ReaderView = { readers: [{ name: 'RC-S300', state: 'empty' }], chosen: null, problem: null, starting: false };
const shown: ShownCard = { cardId: '04A1B2C3D4E5F6', balanceMinor: 1200n, card: { state: 'active', currency: 'JPY', limitMinor: 50_000n }, records: [], decided: [], readAt: 0, isNew: false };

test.each([
  ['a payment leaves, under its shop\'s name', known('pay', 'Hanamaru Books'), 'Hanamaru Books', `−${JPY_1200}`],
  ['a payment whose shop is not known', known('pay'), 'Payment', `−${JPY_1200}`],
  ['a load comes in', known('load'), 'Loaded', `+${JPY_1200}`],
  ['a refund comes in', known('refund'), 'Refund', `+${JPY_1200}`],
  ['a refund of a shop\'s is a refund first', known('refund', 'Hanamaru Books'), 'Refund', `+${JPY_1200}`],
  ['a card that was issued with money', known('issue'), 'Issued', `+${JPY_1200}`],
  ['a card that was issued empty', record({ kind: 'issue', outcome: 'done', shopName: null }, 0n), 'Issued', 'JPY\u00a00'],
  ['what the settlement does not know has neither name nor sign', record(null), 'Unknown entry', JPY_1200],
])('%s', (_, entry, title, amount) => {
  expect([recordTitle(entry), recordAmount(entry, 'JPY')]).toEqual([title, amount]);
});

test('a decided payment is told with its sum, and with its shop where that is known', () => {
  expect(decidedWords({ amountMinor: 1200n, outcome: 'paid', shopName: 'Hanamaru Books' }, 'JPY')).toBe(`Your payment of ${JPY_1200} to Hanamaru Books went through.`);
  expect(decidedWords({ amountMinor: 1200n, outcome: 'paid', shopName: null }, 'JPY')).toBe(`Your payment of ${JPY_1200} went through.`);
  expect(decidedWords({ amountMinor: 1200n, outcome: 'not-paid', shopName: 'Hanamaru Books' }, 'JPY')).toBe(`Your payment of ${JPY_1200} to Hanamaru Books was not taken from your card.`);
  expect(decidedWords({ amountMinor: 1200n, outcome: 'not-paid', shopName: null }, 'JPY')).toBe(`Your payment of ${JPY_1200} was not taken from your card.`);
});

test('the card\'s number is grouped', () => {
  expect(groupedCardNumber('04A1B2C3D4E5F6')).toBe('04A1 B2C3 D4E5 F6');
});

test('what a screen reader hears says the one thing that matters', () => {
  expect(announcement({ kind: 'waiting', reader, failure: null, isHidden: false })).toBe('Put your card on RC-S300');
  expect(announcement({ kind: 'waiting', reader, failure: 'card/removed', isHidden: false })).toMatch(/taken away too early/);
  expect(announcement({ kind: 'waiting', reader: { ...reader, problem: 'reader/none' }, failure: null, isHidden: true })).toMatch(/No card reader/);
  expect(announcement({ kind: 'shown', shown, isLifted: false })).toBe(`Balance: ${JPY_1200}`);
  expect(announcement({ kind: 'shown', shown: { ...shown, isNew: true, decided: [{ amountMinor: 1200n, outcome: 'paid', shopName: null }] }, isLifted: false })).toMatch(/yours now.*went through.*Balance/);
  expect(announcement({ kind: 'shown', shown: { ...shown, card: { ...shown.card, state: 'blocked' } }, isLifted: false })).toMatch(/reported lost/);
  expect(announcement({ kind: 'not-linked', reader, failure: null, work: 'none' })).toBe('This card is not linked to you');
  expect(announcement({ kind: 'not-linked', reader, failure: 'customer/activation-code', work: 'none' })).toMatch(/activation code is wrong/);
  expect(announcement({ kind: 'not-linked', reader: { ...reader, problem: 'reader/none' }, failure: null, work: 'waiting' })).toMatch(/No card reader/);
});
