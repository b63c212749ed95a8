/** ST3, shop to PC: items, prices and total that the shop asks for a decision. */
import * as v from 'valibot';
import { amountSchema, currencySchema } from '../amount.ts';
import { defineMessage, digestSchema } from '../signed.ts';
import { MAX_ORDER_LINES } from './decision.ts';
import { orderIdSchema, originSchema, shopIdSchema } from './fields.ts';

const lineSchema = v.strictObject({
  productId: v.pipe(v.string(), v.maxLength(40)),
  name: v.pipe(v.string(), v.minLength(1), v.maxLength(120)),
  quantity: v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(99)),
  unitMinor: amountSchema,
  lineMinor: amountSchema,
});

/** The sums are the shop's word: the schema checks that they add up. */
export const estimate = defineMessage(
  'kessai-estimate',
  v.pipe(
    v.strictObject({
      shopId: shopIdSchema,
      origin: originSchema,
      orderId: orderIdSchema,
      decisionDigest: digestSchema,
      lines: v.pipe(v.array(lineSchema), v.minLength(1), v.maxLength(MAX_ORDER_LINES)),
      totalMinor: amountSchema,
      currency: currencySchema,
    }),
    v.check(({ lines }) => lines.every((line) => line.lineMinor === line.unitMinor * BigInt(line.quantity)), 'a line does not multiply'),
    v.check(({ lines, totalMinor }) => lines.reduce((sum, line) => sum + line.lineMinor, 0n) === totalMinor, 'the lines do not add up'),
  ),
);
