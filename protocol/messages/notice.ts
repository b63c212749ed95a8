/** ST19, application server to PC and shop: ACN, the settlement-completed notice (payment-rules 17). */
import * as v from 'valibot';
import { amountSchema, currencySchema } from '../amount.ts';
import { defineMessage, digestSchema } from '../signed.ts';
import { operationIdSchema } from './card-record.ts';
import { billIdSchema, paymentIdSchema, shopIdSchema, timeSchema } from './fields.ts';

export const notice = defineMessage(
  'kessai-notice',
  v.strictObject({
    paymentId: paymentIdSchema,
    /** As the card's log says it: ties what is signed here to what the card has committed. */
    operationId: operationIdSchema,
    billDigest: digestSchema,
    shopId: shopIdSchema,
    billId: billIdSchema,
    amountMinor: amountSchema,
    currency: currencySchema,
    outcome: v.picklist(['paid', 'not-paid']),
    at: timeSchema,
  }),
  'settlement/signature',
);

/** Shop to application server: the notice is recorded for good and need not be sent again. */
export const acknowledgement = defineMessage(
  'kessai-acknowledgement',
  v.strictObject({ noticeDigest: digestSchema, shopId: shopIdSchema, billId: billIdSchema }),
);
