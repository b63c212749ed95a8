/** A payment whose outcome is not known yet, as plain JSON: everything that a later window needs to settle it and to say what it was. */
import * as v from 'valibot';
import { amountSchema, currencySchema } from '#protocol/amount.ts';
import { billIdSchema, cardIdSchema, orderIdSchema, originSchema, paymentIdSchema, shopIdSchema } from '#protocol/messages/fields.ts';
import type { BillView } from '#protocol/parties.ts';
import { digestSchema } from '#protocol/signed.ts';

const lineSchema = v.strictObject({ name: v.string(), quantity: v.number(), lineMinor: amountSchema });

const billSchema = v.strictObject({
  shop: v.strictObject({ shopId: shopIdSchema, legalName: v.string(), origin: originSchema }),
  lines: v.array(lineSchema),
  totalMinor: amountSchema,
  currency: currencySchema,
  orderId: orderIdSchema,
  billId: billIdSchema,
  amountMinor: amountSchema,
  expiresAt: v.number(),
  billDigest: digestSchema,
});

const openPaymentSchema = v.strictObject({ paymentId: paymentIdSchema, cardId: cardIdSchema, at: v.number(), bill: billSchema });

export interface OpenPayment {
  readonly paymentId: string;
  /** The card that was about to be debited: only its reading decides. */
  readonly cardId: string;
  /** When the customer agreed, epoch milliseconds. */
  readonly at: number;
  readonly bill: BillView;
}

export function encodeOpenPayment({ paymentId, cardId, at, bill }: OpenPayment): unknown {
  const { shop, lines, totalMinor, currency, orderId, billId, amountMinor, expiresAt, billDigest } = bill;
  return {
    paymentId,
    cardId,
    at,
    bill: {
      shop: { shopId: shop.shopId, legalName: shop.legalName, origin: shop.origin },
      lines: lines.map(({ name, quantity, lineMinor }) => ({ name, quantity, lineMinor: String(lineMinor) })),
      totalMinor: String(totalMinor),
      currency,
      orderId,
      billId,
      amountMinor: String(amountMinor),
      expiresAt,
      billDigest,
    },
  };
}

/** Undefined for anything that this version did not write. */
export function parseOpenPayment(value: unknown): OpenPayment | undefined {
  const result = v.safeParse(openPaymentSchema, value);
  return result.success ? result.output : undefined;
}
