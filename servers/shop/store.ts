/** What a shop must never forget: its orders, the one bill of each, and whether it is paid. */
import type { Currency } from '#protocol/amount.ts';
import type { Jws } from '#protocol/signed.ts';

export interface OrderLine {
  readonly productId: string;
  readonly name: string;
  readonly quantity: number;
  readonly unitMinor: bigint;
  readonly lineMinor: bigint;
}

export interface ShopOrder {
  /** Random: whoever knows it may see the receipt. */
  readonly orderId: string;
  readonly decisionDigest: string;
  readonly estimateDigest: string;
  readonly lines: readonly OrderLine[];
  readonly totalMinor: bigint;
  readonly currency: Currency;
  /** Epoch milliseconds by the shop's clock. */
  readonly createdAt: number;
}

export interface ShopBill {
  readonly billId: string;
  readonly orderId: string;
  readonly billDigest: string;
  readonly amountMinor: bigint;
  readonly currency: Currency;
  readonly payer: string;
  readonly expiresAt: number;
  readonly jws: Jws;
}

/** What the settlement has said about a bill. */
export interface BillOutcome {
  readonly outcome: 'paid' | 'not-paid';
  readonly paymentId: string;
  /** When it was decided, by the settlement's clock. */
  readonly decidedAt: number;
  /** The ACN that said so. */
  readonly notice: Jws;
  /** When it reached the shop, by the shop's clock. */
  readonly recordedAt: number;
}

export interface BillStatus extends ShopBill {
  /** Null: not known yet. */
  readonly outcome: BillOutcome | null;
}

export interface ShopStore {
  /** Durable before it resolves. False if an order for this decision exists already (a decision works once). */
  addOrder(order: ShopOrder): Promise<boolean>;
  findOrder(orderId: string): Promise<ShopOrder | undefined>;
  /** Durable before it resolves. False if the order has a bill already. */
  addBill(bill: ShopBill): Promise<boolean>;
  findBill(billId: string): Promise<BillStatus | undefined>;
  billOf(orderId: string): Promise<BillStatus | undefined>;
  /**
   * Durable before it resolves, once for each bill (payment-rules 11): the first outcome stays. The same outcome again changes
   * nothing and is `recorded` too. The other outcome is a `conflict`, and so is a second payment: that money must not vanish in silence.
   */
  recordOutcome(billId: string, outcome: BillOutcome): Promise<'recorded' | 'conflict' | 'unknown'>;
  /** Removes orders from before `createdBefore` that nobody asked a bill for; answers how many. */
  forgetUnbilled(createdBefore: number): Promise<number>;
}

/** Whether `again` says what was recorded already. A bill may expire unpaid in more than one attempt; it is paid by exactly one. */
export function isSameOutcome(recorded: BillOutcome, again: BillOutcome): boolean {
  return recorded.outcome === again.outcome && (recorded.outcome === 'not-paid' || recorded.paymentId === again.paymentId);
}
