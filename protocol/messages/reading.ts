/** Resolving: an authenticated reading of a card decides what is open on it (payment-rules 3 to 6, 12). */
import * as v from 'valibot';
import { amountSchema } from '../amount.ts';
import { defineMessage, digestSchema, jwsSchema } from '../signed.ts';
import { billIdSchema, cardIdSchema, challengeSchema, nonceSchema, paymentIdSchema, shopIdSchema } from './fields.ts';

/** PC to application server; the answers travel as card-dialog and card-answer messages under `paymentId`, here the reading's own number. */
export const readingRequest = defineMessage(
  'kessai-reading-request',
  v.strictObject({
    cardId: cardIdSchema,
    readingNonce: nonceSchema,
    cardChallenge: challengeSchema,
    /** A payment whose outcome is wanted even if it was decided before. */
    about: v.nullable(paymentIdSchema),
  }),
);

/** Application server to PC: what the reading decided. */
export const readingReport = defineMessage(
  'kessai-reading-report',
  v.strictObject({
    paymentId: paymentIdSchema,
    previous: digestSchema,
    readingNonce: nonceSchema,
    cardId: cardIdSchema,
    balanceMinor: amountSchema,
    /** The payments of this card that were open and are decided now, and the one asked about; a paid one with its ACN. */
    decided: v.pipe(
      v.array(v.strictObject({ paymentId: paymentIdSchema, billDigest: digestSchema, shopId: shopIdSchema, billId: billIdSchema, amountMinor: amountSchema, outcome: v.picklist(['paid', 'not-paid']), notice: v.nullable(jwsSchema) })),
      v.maxLength(8),
    ),
  }),
  'settlement/signature',
);
