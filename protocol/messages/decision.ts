/** ST2, PC to shop: what the customer wants. Signed with a key made for this message: the shop does not learn yet who asks. */
import * as v from 'valibot';
import { defineMessage } from '../signed.ts';
import { nonceSchema, originSchema } from './fields.ts';

export const MAX_ORDER_LINES = 50;

export const orderLinesSchema = v.pipe(
  v.array(
    v.strictObject({
      productId: v.pipe(v.string(), v.regex(/^[a-z0-9][a-z0-9-]{0,39}$/)),
      quantity: v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(99)),
    }),
  ),
  v.minLength(1),
  v.maxLength(MAX_ORDER_LINES),
);

/** What a page hands to `icCard.pay`. */
export const orderSchema = v.strictObject({ lines: orderLinesSchema });
export type Order = v.InferOutput<typeof orderSchema>;

export const decision = defineMessage('kessai-decision', v.strictObject({ origin: originSchema, lines: orderLinesSchema, nonce: nonceSchema }));
