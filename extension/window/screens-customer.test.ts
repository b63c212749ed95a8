import { expect, test, vi } from 'vitest';
import { Failure } from '#protocol/failure.ts';
import type { BillView, DebitView } from '#protocol/parties.ts';
import type { CardWatch } from '../ports/card-watch.ts';
import type { Screen } from '../screens/screen.ts';
import type { OpenPayment } from '../store/bill-record.ts';
import { createMemory } from '../store/settings.ts';
import { receiptOf } from './receipt.ts';
import { createCustomer, minutesLeft } from './screens-customer.ts';
import { outcomeOf } from '#protocol/resolve.ts';

vi.mock('webextension-polyfill', async () => (await import('../messages.fixture.ts')).polyfillWith('en'));

const bill: BillView = {
  shop: { shopId: 'hanamaru', legalName: 'Hanamaru Books', origin: 'https://shop.example' },
  lines: [],
  totalMinor: 1200n,
  currency: 'JPY',
  orderId: 'order-1',
  billId: 'bill-0001',
  amountMinor: 1200n,
  expiresAt: 0,
  billDigest: 'A'.repeat(43),
};
const debit: DebitView = { bill, paymentId: '5f0c2d1e-8a67-4b8e-9a53-0d3f9d3f7c11', cardId: '04A1B2C3D4E5F6', balance: { beforeMinor: 10_000n, afterMinor: 8_800n }, statementDigest: 'B'.repeat(43) };

function createParts() {
  const screens: Screen[] = [];
  const items = new Map<string, unknown>();
  const memory = createMemory(
    {
      get: (key) => Promise.resolve(items.has(key) ? { [key]: items.get(key) } : {}),
      set: (changed) => {
        for (const [key, value] of Object.entries(changed)) items.set(key, value);
        return Promise.resolve();
      },
    },
    { speech: false, readBalance: true },
  );
  const watch = { view: { readers: [], chosen: null, problem: null, starting: false }, onView: () => undefined, holdPresentCard: vi.fn(), choose: vi.fn(), retry: vi.fn(), close: vi.fn(), awaitCard: vi.fn() } satisfies CardWatch;
  const opened: (OpenPayment | undefined)[] = [];
  const parts = {
    stage: { show: (screen: Screen) => void screens.push(screen) },
    watch,
    memory,
    speech: { say: vi.fn() },
    readBalance: true,
    openReaders: vi.fn(),
    now: () => 1000,
    showOutcome: vi.fn(),
    onOpenPayment: (payment: OpenPayment | undefined) => {
      opened.push(payment);
      return Promise.resolve();
    },
  };
  return { ...createCustomer(parts), parts, screens, memory, watch, opened };
}

function last<Kind extends Screen['kind']>(screens: readonly Screen[], kind: Kind): Extract<Screen, { kind: Kind }> {
  const screen = screens.at(-1);
  expect(screen?.kind).toBe(kind);
  return screen as Extract<Screen, { kind: Kind }>;
}

test('the estimate is asked of a new shop only', async () => {
  const { customer, screens, memory } = createParts();
  const first = customer.agreeToEstimate(bill);
  await vi.waitFor(() => last(screens, 'estimate').cancel());
  expect(await first).toBe(false);
  await memory.rememberShop(bill.shop);
  expect(await customer.agreeToEstimate(bill)).toBe(true);
  expect(screens).toHaveLength(1);
});

test('before consent nothing is remembered as open; with it the payment is stored before the flow hears of it', async () => {
  const { customer, screens, memory, opened, ...payment } = createParts();
  customer.showBill(bill);
  const declined = customer.agreeToDebit(debit);
  last(screens, 'balance').cancel();
  expect((await declined).agreed).toBe(false);
  expect(await memory.openPayments()).toEqual([]);

  const agreed = customer.agreeToDebit(debit);
  last(screens, 'balance').agree();
  expect((await agreed).agreed).toBe(true);
  expect(await memory.openPayments()).toEqual([{ paymentId: debit.paymentId, cardId: debit.cardId, at: 1000, bill }]);
  expect(opened).toEqual([expect.objectContaining({ paymentId: debit.paymentId })]);
  expect(payment.money()).toEqual({ kind: 'untouched' });
  customer.showProgress();
  expect(last(screens, 'working').cancel).toBeNull();
  expect(payment.money()).toEqual({ kind: 'unknown', amountMinor: 1200n, currency: 'JPY' });
});

test('what was shown is put down in words: shop, origin, sums and the button', async () => {
  const { customer, screens } = createParts();
  const answer = customer.agreeToDebit(debit);
  last(screens, 'balance').agree();
  const nbsp = '\u00a0';
  expect((await answer).shown.split('\n')).toEqual([
    'Hanamaru Books',
    'https://shop.example',
    `Will be taken from your card JPY${nbsp}1,200`,
    `Balance JPY${nbsp}10,000`,
    `This payment −JPY${nbsp}1,200`,
    `Afterwards JPY${nbsp}8,800`,
    `Pay JPY${nbsp}1,200`,
  ]);
});

test('when the card is asked for again nothing is open any more', async () => {
  const { customer, screens, memory, opened, watch, ...payment } = createParts();
  customer.showBill(bill);
  customer.askForCard(null);
  const agreed = customer.agreeToDebit(debit);
  last(screens, 'balance').agree();
  await agreed;
  customer.askForCard(new Failure('card/silent'));
  expect(last(screens, 'card').again).toBe('card/silent');
  expect(opened.at(-1)).toBeUndefined();
  expect(payment.openPayment()).toBeUndefined();
  expect(watch.holdPresentCard).toHaveBeenCalledOnce();
  await vi.waitFor(async () => expect(await memory.openPayments()).toEqual([]));
});

test('a card that was only lifted is opened as soon as it is back', () => {
  const { customer, watch } = createParts();
  customer.showBill(bill);
  customer.askForCard(new Failure('card/removed'));
  expect(watch.holdPresentCard).not.toHaveBeenCalled();
});

test('stopping is possible until the customer has agreed, and says so to the flow', () => {
  const { customer, screens, signal, ...payment } = createParts();
  customer.showBill(bill);
  payment.cardOpened();
  const { cancel } = last(screens, 'working');
  cancel?.();
  expect(signal.reason).toMatchObject({ code: 'payment/aborted' });
});

test('how long a bill lives is told only when little is left, and never by a clock that must be wrong', () => {
  const at = (leftMs: number) => minutesLeft({ expiresAt: 1_000_000 + leftMs }, 1_000_000);
  expect([at(10 * 60_000), at(179_000), at(61_000), at(1), at(0), at(-5_000)]).toEqual([null, 3, 2, 1, null, null]);
});

test('a reading decides only about exactly this payment and this bill', () => {
  const payment: OpenPayment = { paymentId: debit.paymentId, cardId: debit.cardId, at: 0, bill };
  const entry = { paymentId: debit.paymentId, billDigest: bill.billDigest, shopId: 'hanamaru', billId: bill.billId, amountMinor: 1200n, outcome: 'paid' as const, notice: 'jws' };
  const read = (decided: (typeof entry | (Omit<typeof entry, 'outcome' | 'notice'> & { outcome: 'not-paid' | 'paid'; notice: null }))[]) => outcomeOf({ balanceMinor: 8_800n, decided }, payment.paymentId, payment.bill);
  expect(read([entry])).toMatchObject({ kind: 'paid', balanceAfterMinor: 8_800n });
  expect(read([{ ...entry, outcome: 'not-paid', notice: null }])).toMatchObject({ kind: 'not-paid', reason: 'not-debited' });
  expect(read([])).toBeUndefined();
  expect(read([{ ...entry, notice: null }])).toBeUndefined();
  expect(read([{ ...entry, billDigest: 'C'.repeat(43) }])).toBeUndefined();
  expect(read([{ ...entry, paymentId: 'other' }])).toBeUndefined();
});

test('the page is told numbers that the shop knows, the notice, and no balance', () => {
  const receipt = receiptOf({ kind: 'paid', bill, paymentId: debit.paymentId, balanceAfterMinor: 8_800n, notice: 'jws' });
  expect(receipt).toEqual({ outcome: 'paid', orderId: 'order-1', billId: 'bill-0001', paymentId: debit.paymentId, notice: 'jws' });
  expect(receiptOf({ kind: 'not-paid', bill: null, reason: 'estimate-declined', balanceMinor: null })).toEqual({ outcome: 'not-paid' });
  expect(receiptOf({ kind: 'not-paid', bill, reason: 'balance-too-low', balanceMinor: 900n })).toEqual({ outcome: 'not-paid', orderId: 'order-1', billId: 'bill-0001' });
});
