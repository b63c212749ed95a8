/** ST1, shop to PC: the well-known document in which a shop says who it is; nothing is told to a page that has not shown one. */
import * as v from 'valibot';
import { defineMessage } from '../signed.ts';
import { originSchema, shopIdSchema } from './fields.ts';

/** Where a shop publishes it. */
export const SHOP_STATEMENT_PATH = '/.well-known/kessai-shop';

export const shopStatement = defineMessage(
  'kessai-shop-statement',
  v.strictObject({
    shopId: shopIdSchema,
    origin: originSchema,
    /** The oldest extension that the shop works with: major.minor.patch. */
    minimumVersion: v.pipe(v.string(), v.regex(/^\d{1,3}\.\d{1,3}\.\d{1,3}$/)),
  }),
);
