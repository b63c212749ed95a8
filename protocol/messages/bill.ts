/** ST5, shop to PC, and on to the settlement: BILL, the amount that the shop claims from one payer (payment-rules 13). */
import * as v from 'valibot';
import { amountSchema, currencySchema } from '../amount.ts';
import { defineMessage, digestSchema } from '../signed.ts';
import { billIdSchema, nonceSchema, originSchema, shopIdSchema, timeSchema } from './fields.ts';

/** A BILL lives at most this long, by the application server's clock. */
export const MAX_BILL_LIFE_MS = 15 * 60_000;

export const bill = defineMessage(
  'kessai-bill',
  v.strictObject({
    shopId: shopIdSchema,
    origin: originSchema,
    billId: billIdSchema,
    estimateDigest: digestSchema,
    amountMinor: v.pipe(amountSchema, v.minValue(1n)),
    currency: currencySchema,
    expiresAt: timeSchema,
    /** Thumbprint of the customer's certificate: nobody else can pay it. */
    payer: digestSchema,
    billNonce: nonceSchema,
  }),
  'bill/signature',
);
