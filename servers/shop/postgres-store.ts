/** The shop's store on PostgreSQL: everything it answers "yes" to is on the disk, and unique constraints decide who was first. */
import { strict as assert } from 'node:assert';
import type { Selectable } from 'kysely';
import { isCurrency, type Currency } from '#protocol/amount.ts';
import { encodeStrictJson } from '#protocol/json.ts';
import { uniqueViolation, type Database } from '../shared/database.ts';
import { isSameOutcome, type BillOutcome, type BillStatus, type OrderLine, type ShopOrder, type ShopStore } from './store.ts';

interface OrderRow {
  order_id: string;
  decision_digest: string;
  estimate_digest: string;
  /** Written as text, read as parsed by pg; amounts are decimal strings in it. */
  lines: unknown;
  total_minor: bigint;
  currency: string;
  created_at: bigint;
}

interface BillRow {
  bill_id: string;
  order_id: string;
  bill_digest: string;
  amount_minor: bigint;
  currency: string;
  payer: string;
  expires_at: bigint;
  jws: string;
  outcome: 'paid' | 'not-paid' | null;
  payment_id: string | null;
  decided_at: bigint | null;
  notice: string | null;
  recorded_at: bigint | null;
}

export interface ShopSchema {
  orders: OrderRow;
  bills: BillRow;
}

/** The database is opened with SHOP_MIGRATIONS, and closed by whoever opened it. */
export function createPostgresShopStore({ read, durably, relaxed }: Database<ShopSchema>): ShopStore {
  const findBill = async (column: 'bill_id' | 'order_id', value: string): Promise<BillStatus | undefined> => {
    const row = await read.selectFrom('bills').selectAll().where(column, '=', value).executeTakeFirst();
    return row === undefined ? undefined : parseBill(row);
  };
  return {
    addOrder: (order) => firstOnly(durably((transaction) => transaction.insertInto('orders').values(encodeOrder(order)).execute())),
    findOrder: async (orderId) => {
      const row = await read.selectFrom('orders').selectAll().where('order_id', '=', orderId).executeTakeFirst();
      return row === undefined ? undefined : parseOrder(row);
    },
    addBill: ({ billId, orderId, billDigest, amountMinor, currency, payer, expiresAt, jws }) => {
      const row = { bill_id: billId, order_id: orderId, bill_digest: billDigest, amount_minor: amountMinor, currency, payer, expires_at: BigInt(expiresAt), jws };
      return firstOnly(durably((transaction) => transaction.insertInto('bills').values({ ...row, ...encodeOutcome(null) }).execute()));
    },
    findBill: (billId) => findBill('bill_id', billId),
    billOf: (orderId) => findBill('order_id', orderId),
    recordOutcome: async (billId, outcome) => {
      const taken = await durably((transaction) => transaction.updateTable('bills').set(encodeOutcome(outcome)).where('bill_id', '=', billId).where('outcome', 'is', null).returning('bill_id').execute());
      if (taken.length === 1) return 'recorded';
      // Nobody took it but somebody has: that row does not change any more, and its commit is on the disk or we would not see it.
      const bill = await findBill('bill_id', billId);
      if (bill === undefined) return 'unknown';
      assert(bill.outcome !== null, 'an outcome was neither recorded nor there');
      return isSameOutcome(bill.outcome, outcome) ? 'recorded' : 'conflict';
    },
    forgetUnbilled: (createdBefore) =>
      relaxed(async (transaction) => {
        const { numDeletedRows } = await transaction
          .deleteFrom('orders')
          .where('created_at', '<', BigInt(createdBefore))
          .where((order) => order.not(order.exists(order.selectFrom('bills').select('bill_id').whereRef('bills.order_id', '=', 'orders.order_id'))))
          .executeTakeFirst();
        return Number(numDeletedRows);
      }),
  };
}

/** True, or false where a unique constraint says that another one was first. */
async function firstOnly(insertion: Promise<unknown>): Promise<boolean> {
  try {
    await insertion;
    return true;
  } catch (error) {
    if (uniqueViolation(error) !== undefined) return false;
    throw error;
  }
}

function encodeOrder(order: ShopOrder): OrderRow {
  const { orderId, decisionDigest, estimateDigest, lines, totalMinor, currency, createdAt } = order;
  return {
    order_id: orderId,
    decision_digest: decisionDigest,
    estimate_digest: estimateDigest,
    lines: encodeStrictJson(lines),
    total_minor: totalMinor,
    currency,
    created_at: BigInt(createdAt),
  };
}

function parseOrder(row: Selectable<OrderRow>): ShopOrder {
  const lines = row.lines as readonly (Pick<OrderLine, 'productId' | 'name' | 'quantity'> & { readonly unitMinor: string; readonly lineMinor: string })[];
  return {
    orderId: row.order_id,
    decisionDigest: row.decision_digest,
    estimateDigest: row.estimate_digest,
    lines: lines.map((line) => ({ productId: line.productId, name: line.name, quantity: line.quantity, unitMinor: BigInt(line.unitMinor), lineMinor: BigInt(line.lineMinor) })),
    totalMinor: row.total_minor,
    currency: currencyOf(row),
    createdAt: Number(row.created_at),
  };
}

function encodeOutcome(outcome: BillOutcome | null): Pick<BillRow, 'outcome' | 'payment_id' | 'decided_at' | 'notice' | 'recorded_at'> {
  if (outcome === null) return { outcome: null, payment_id: null, decided_at: null, notice: null, recorded_at: null };
  return { outcome: outcome.outcome, payment_id: outcome.paymentId, decided_at: BigInt(outcome.decidedAt), notice: outcome.notice, recorded_at: BigInt(outcome.recordedAt) };
}

function parseBill(row: Selectable<BillRow>): BillStatus {
  return {
    billId: row.bill_id,
    orderId: row.order_id,
    billDigest: row.bill_digest,
    amountMinor: row.amount_minor,
    currency: currencyOf(row),
    payer: row.payer,
    expiresAt: Number(row.expires_at),
    jws: row.jws,
    outcome: parseOutcome(row),
  };
}

function parseOutcome({ outcome, payment_id: paymentId, decided_at: decidedAt, notice, recorded_at: recordedAt }: Selectable<BillRow>): BillOutcome | null {
  if (outcome === null || paymentId === null || decidedAt === null || notice === null || recordedAt === null) return null;
  return { outcome, paymentId, decidedAt: Number(decidedAt), notice, recordedAt: Number(recordedAt) };
}

function currencyOf({ currency }: { readonly currency: string }): Currency {
  assert(isCurrency(currency), 'a currency that was never written');
  return currency;
}
