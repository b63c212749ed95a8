import { expect, test, vi } from 'vitest';
import type { ReadingReport } from '#protocol/resolve.ts';
import type { OpenPayment } from '../store/bill-record.ts';
import { concludeReport } from './conclude.ts';

const shop = { shopId: 'hanamaru', legalName: 'Hanamaru Books', origin: 'https://shop.example' };
const bill = { shop, lines: [], totalMinor: 720n, currency: 'JPY' as const, orderId: 'order-1', billId: 'bill-0001', amountMinor: 720n, expiresAt: 1, billDigest: 'A'.repeat(43) };
const open: OpenPayment = { paymentId: '5f0c2d1e-8a67-4b8e-9a53-000000000001', cardId: '04A1B2C3D4E5F6', at: 1, bill };
const decided = { paymentId: open.paymentId, billDigest: bill.billDigest, shopId: shop.shopId, billId: bill.billId, amountMinor: 720n, outcome: 'paid', notice: 'jws' } as const;

const reportOf = (...payments: ReadingReport['decided']): ReadingReport => ({
  paymentId: '5f0c2d1e-8a67-4b8e-9a53-000000000009',
  previous: 'A'.repeat(43),
  readingNonce: 'A'.repeat(22),
  cardId: open.cardId,
  balanceMinor: 1n,
  decided: payments,
  card: { state: 'active', currency: 'JPY', limitMinor: 50_000n },
  records: [],
});

function createMemory(payments: readonly OpenPayment[]) {
  return { openPayments: () => Promise.resolve([...payments]), removeOpenPayment: vi.fn(() => Promise.resolve()), rememberShop: vi.fn(() => Promise.resolve()) };
}

test('a payment that went through is told with its shop, is open no more, and its shop is known', async () => {
  const memory = createMemory([open]);
  expect(await concludeReport(reportOf(decided), memory)).toEqual([{ amountMinor: 720n, outcome: 'paid', shopName: 'Hanamaru Books' }]);
  expect(memory.removeOpenPayment).toHaveBeenCalledExactlyOnceWith(open.paymentId);
  expect(memory.rememberShop).toHaveBeenCalledExactlyOnceWith(shop);
});

test('one that was not taken is open no more either, and makes no shop known', async () => {
  const memory = createMemory([open]);
  expect(await concludeReport(reportOf({ ...decided, outcome: 'not-paid', notice: null }), memory)).toEqual([{ amountMinor: 720n, outcome: 'not-paid', shopName: 'Hanamaru Books' }]);
  expect(memory.removeOpenPayment).toHaveBeenCalledExactlyOnceWith(open.paymentId);
  expect(memory.rememberShop).not.toHaveBeenCalled();
});

test.each<[string, ReadingReport, OpenPayment]>([
  ['of another bill', reportOf({ ...decided, billDigest: 'B'.repeat(43) }), open],
  ['paid without its notice', reportOf({ ...decided, notice: null }), open],
  ['of another card', reportOf(decided), { ...open, cardId: '04FFFFFFFFFFFF' }],
  ['that another browser made', reportOf(decided), { ...open, paymentId: '5f0c2d1e-8a67-4b8e-9a53-000000000002' }],
])('a decision %s is told without a name, and settles nothing here', async (_, report, payment) => {
  const memory = createMemory([payment]);
  expect(await concludeReport(report, memory)).toEqual([{ amountMinor: 720n, outcome: 'paid', shopName: null }]);
  expect(memory.removeOpenPayment).not.toHaveBeenCalled();
});
