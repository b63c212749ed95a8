/** ST4, PC to shop: the customer agrees to the estimate and asks for the bill; the first message that tells the shop who asks. */
import * as v from 'valibot';
import { defineMessage, digestSchema } from '../signed.ts';
import { nonceSchema, orderIdSchema, originSchema } from './fields.ts';

export const billRequest = defineMessage(
  'kessai-bill-request',
  v.strictObject({ origin: originSchema, orderId: orderIdSchema, estimateDigest: digestSchema, billNonce: nonceSchema }),
);
