/** ST14, application server to PC: what SIG_APL signs, {BI, SPC} and everything that identifies the payment (payment-rules 15). */
import * as v from 'valibot';
import { amountSchema, currencySchema } from '../amount.ts';
import { defineMessage, digestSchema } from '../signed.ts';
import { billIdSchema, cardIdSchema, commandsSchema, nonceSchema, paymentIdSchema, shopIdSchema, timeSchema } from './fields.ts';

/** How long the SPC may wait for the customer's consent. */
export const STATEMENT_LIFE_MS = 120_000;

const subject = {
  paymentId: paymentIdSchema,
  previous: digestSchema,
  billDigest: digestSchema,
  shopId: shopIdSchema,
  billId: billIdSchema,
  amountMinor: amountSchema,
  currency: currencySchema,
  cardId: cardIdSchema,
  paymentNonce: nonceSchema,
};

export const statement = defineMessage(
  'kessai-statement',
  v.strictObject({
    ...subject,
    /** Null where the balance is not read out (0064). */
    balance: v.nullable(v.strictObject({ beforeMinor: amountSchema, afterMinor: amountSchema })),
    spc: commandsSchema,
    expiresAt: timeSchema,
  }),
  'settlement/signature',
);

/** Instead of a statement: the settlement declines before any debit. A refusal is a value, not a failure. */
export const refusal = defineMessage(
  'kessai-refusal',
  v.strictObject({ ...subject, reason: v.picklist(['balance-too-low']), balanceMinor: amountSchema }),
  'settlement/signature',
);
