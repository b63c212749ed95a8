import { expect, test } from 'vitest';
import type { BillStatus, ShopOrder } from '../store.ts';
import { receiptStatus } from './receipt-page.ts';

const ORDER: ShopOrder = { orderId: 'order-1', decisionDigest: 'd', estimateDigest: 'e', lines: [], totalMinor: 720n, currency: 'JPY', createdAt: 0 };
const EXPIRES_AT = 1_000_000;
const BILL: BillStatus = { billId: 'bill-1', orderId: 'order-1', billDigest: 'b', amountMinor: 720n, currency: 'JPY', payer: 'p', expiresAt: EXPIRES_AT, jws: 'j', outcome: null };
const outcome = (said: 'paid' | 'not-paid') => ({ ...BILL, outcome: { outcome: said, paymentId: 'p-1', decidedAt: 0, notice: 'n', recordedAt: 0 } });
const stateOf = (bill: BillStatus | undefined, now: number) => receiptStatus({ order: ORDER, bill }, 'Asia/Tokyo', 'en', now).state;

test('an order without a bill is unbilled', () => {
  expect(stateOf(undefined, EXPIRES_AT)).toBe('unbilled');
});

test('a bill is open until the settlement must have said something, and then lapsed, never "not paid" by the shop alone', () => {
  expect(stateOf(BILL, 0)).toBe('open');
  expect(stateOf(BILL, EXPIRES_AT + 5 * 60_000)).toBe('open');
  expect(stateOf(BILL, EXPIRES_AT + 7 * 60_000)).toBe('lapsed');
  expect(stateOf(BILL, Number.MAX_SAFE_INTEGER)).toBe('lapsed');
});

test('what the settlement said stays, however late it is', () => {
  expect(stateOf(outcome('paid'), Number.MAX_SAFE_INTEGER)).toBe('paid');
  expect(stateOf(outcome('not-paid'), 0)).toBe('not-paid');
});
