/** What every ShopStore must do; run against each of them. */
import { beforeEach, describe, expect, test } from 'vitest';
import type { BillOutcome, ShopBill, ShopOrder, ShopStore } from './store.ts';

const PAID: BillOutcome = { outcome: 'paid', paymentId: '0a4ad2b1-6d43-4f5e-9a52-0f8a2d1a7c01', decidedAt: 1_763_800_100_000, notice: 'acn-paid', recordedAt: 1_763_800_100_500 };
const NOT_PAID: BillOutcome = { outcome: 'not-paid', paymentId: '0a4ad2b1-6d43-4f5e-9a52-0f8a2d1a7c02', decidedAt: 1_763_800_900_000, notice: 'acn-not-paid', recordedAt: 1_763_800_900_500 };

export function describeShopStore(name: string, openStore: () => Promise<ShopStore>): void {
  describe(name, () => {
    let store: ShopStore;
    let count = 0;

    /** Different for every test: the stores may share a database. */
    const newOrder = (otherwise: Partial<ShopOrder> = {}): ShopOrder => {
      count += 1;
      const orderId = `order-${count}`;
      const lines = [
        { productId: 'sencha', name: 'Uji Sencha "一番茶"', quantity: 2, unitMinor: 720n, lineMinor: 1440n },
        { productId: 'book', name: "Book's <end>", quantity: 1, unitMinor: 2_147_482_207n, lineMinor: 2_147_482_207n },
      ];
      return { orderId, decisionDigest: `decision-${count}`, estimateDigest: `estimate-${count}`, lines, totalMinor: 2_147_483_647n, currency: 'JPY', createdAt: 1_763_800_000_000, ...otherwise };
    };
    const newBill = ({ orderId, totalMinor, currency }: ShopOrder, otherwise: Partial<ShopBill> = {}): ShopBill => {
      count += 1;
      return { billId: `bill-${count}`, orderId, billDigest: `digest-${count}`, amountMinor: totalMinor, currency, payer: 'payer', expiresAt: 1_763_800_840_000, jws: 'bill-jws', ...otherwise };
    };
    const addBilled = async (): Promise<ShopBill> => {
      const order = newOrder();
      await store.addOrder(order);
      const bill = newBill(order);
      await store.addBill(bill);
      return bill;
    };

    beforeEach(async () => {
      store = await openStore();
    });

    test('an order is found as it was added, and others are not', async () => {
      const order = newOrder();
      expect(await store.addOrder(order)).toBe(true);
      expect(await store.findOrder(order.orderId)).toEqual(order);
      expect(await store.findOrder('nobody')).toBeUndefined();
      expect(await store.billOf(order.orderId)).toBeUndefined();
    });

    test('a decision works once, also when it comes many times at once', async () => {
      const { decisionDigest } = newOrder();
      const added = await Promise.all(Array.from({ length: 8 }, () => store.addOrder(newOrder({ decisionDigest }))));
      expect(added.filter(Boolean)).toHaveLength(1);
    });

    test('an order number works once', async () => {
      const order = newOrder();
      await store.addOrder(order);
      expect(await store.addOrder(newOrder({ orderId: order.orderId }))).toBe(false);
      expect(await store.findOrder(order.orderId)).toEqual(order);
    });

    test('an order has one bill, also when several are asked for at once', async () => {
      const order = newOrder();
      await store.addOrder(order);
      const bills = Array.from({ length: 8 }, () => newBill(order));
      const added = await Promise.all(bills.map((bill) => store.addBill(bill)));
      expect(added.filter(Boolean)).toHaveLength(1);
      const winner = bills[added.indexOf(true)]!;
      expect(await store.billOf(order.orderId)).toEqual({ ...winner, outcome: null });
      expect(await store.findBill(winner.billId)).toEqual({ ...winner, outcome: null });
      for (const loser of bills.filter((bill) => bill !== winner)) expect(await store.findBill(loser.billId)).toBeUndefined();
    });

    test('a bill number works once', async () => {
      const bill = await addBilled();
      const other = newOrder();
      await store.addOrder(other);
      expect(await store.addBill(newBill(other, { billId: bill.billId }))).toBe(false);
      expect(await store.billOf(other.orderId)).toBeUndefined();
    });

    test('a bill without an order is a bug', async () => {
      await expect(store.addBill(newBill(newOrder()))).rejects.toThrow();
    });

    test.each([PAID, NOT_PAID])('the outcome $outcome is recorded once, and the same again changes nothing', async (outcome) => {
      const bill = await addBilled();
      expect(await store.recordOutcome(bill.billId, outcome)).toBe('recorded');
      expect(await store.recordOutcome(bill.billId, { ...outcome, notice: 'again', recordedAt: outcome.recordedAt + 1 })).toBe('recorded');
      expect(await store.findBill(bill.billId)).toEqual({ ...bill, outcome });
    });

    test.each([
      ['not paid after paid', PAID, NOT_PAID],
      ['paid after not paid', NOT_PAID, PAID],
      ['paid a second time by another payment', PAID, { ...PAID, paymentId: NOT_PAID.paymentId }],
    ])('%s is a conflict, and the first stays', async (_what, first, second) => {
      const bill = await addBilled();
      await store.recordOutcome(bill.billId, first);
      expect(await store.recordOutcome(bill.billId, second)).toBe('conflict');
      expect(await store.findBill(bill.billId)).toEqual({ ...bill, outcome: first });
    });

    test('a bill that expired unpaid in two attempts is not paid, without conflict', async () => {
      const bill = await addBilled();
      await store.recordOutcome(bill.billId, NOT_PAID);
      expect(await store.recordOutcome(bill.billId, { ...NOT_PAID, paymentId: PAID.paymentId })).toBe('recorded');
    });

    test('of two outcomes at once exactly one is recorded', async () => {
      const bill = await addBilled();
      const said = await Promise.all([PAID, NOT_PAID, PAID, NOT_PAID].map((outcome) => store.recordOutcome(bill.billId, outcome)));
      const { outcome } = (await store.findBill(bill.billId))!;
      expect(said).toEqual(outcome?.outcome === 'paid' ? ['recorded', 'conflict', 'recorded', 'conflict'] : ['conflict', 'recorded', 'conflict', 'recorded']);
    });

    test('an outcome of a bill that nobody made is unknown', async () => {
      expect(await store.recordOutcome('nobody', PAID)).toBe('unknown');
    });

    test('old orders without a bill are forgotten, others stay', async () => {
      const createdBefore = 1_700_000_000_000;
      const [old, oldBilled, young] = [newOrder({ createdAt: createdBefore - 1 }), newOrder({ createdAt: createdBefore - 1 }), newOrder({ createdAt: createdBefore })];
      for (const order of [old, oldBilled, young]) await store.addOrder(order);
      await store.addBill(newBill(oldBilled));
      expect(await store.forgetUnbilled(createdBefore)).toBe(1);
      expect(await store.findOrder(old.orderId)).toBeUndefined();
      expect(await store.findOrder(oldBilled.orderId)).toEqual(oldBilled);
      expect(await store.findOrder(young.orderId)).toEqual(young);
    });
  });
}
