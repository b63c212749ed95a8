/** The shop's store in memory, with the semantics of a crash: what is committed stays. For simulation and tests. */
import { isSameOutcome, type BillStatus, type ShopOrder, type ShopStore } from './store.ts';

export function createMemoryShopStore(): ShopStore {
  const orders = new Map<string, ShopOrder>();
  const decisions = new Set<string>();
  const bills = new Map<string, BillStatus>();
  const billIds = new Map<string, string>();
  const billOf = (orderId: string): BillStatus | undefined => bills.get(billIds.get(orderId) ?? '');
  return {
    addOrder: (order) => {
      if (orders.has(order.orderId) || decisions.has(order.decisionDigest)) return Promise.resolve(false);
      orders.set(order.orderId, order);
      decisions.add(order.decisionDigest);
      return Promise.resolve(true);
    },
    findOrder: (orderId) => Promise.resolve(orders.get(orderId)),
    addBill: (bill) => {
      if (billIds.has(bill.orderId) || bills.has(bill.billId)) return Promise.resolve(false);
      if (!orders.has(bill.orderId)) return Promise.reject(new Error('a bill without an order'));
      bills.set(bill.billId, { ...bill, outcome: null });
      billIds.set(bill.orderId, bill.billId);
      return Promise.resolve(true);
    },
    findBill: (billId) => Promise.resolve(bills.get(billId)),
    billOf: (orderId) => Promise.resolve(billOf(orderId)),
    recordOutcome: (billId, outcome) => {
      const bill = bills.get(billId);
      if (bill === undefined) return Promise.resolve('unknown');
      if (bill.outcome !== null) return Promise.resolve(isSameOutcome(bill.outcome, outcome) ? 'recorded' : 'conflict');
      bills.set(billId, { ...bill, outcome });
      return Promise.resolve('recorded');
    },
    forgetUnbilled: (createdBefore) => {
      const forgotten = [...orders.values()].filter((order) => order.createdAt < createdBefore && !billIds.has(order.orderId));
      for (const { orderId, decisionDigest } of forgotten) {
        orders.delete(orderId);
        decisions.delete(decisionDigest);
      }
      return Promise.resolve(forgotten.length);
    },
  };
}
