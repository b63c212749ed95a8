/** Readings: an authenticated reading of a card decides what is open on it (payment-rules 3 to 6, 12), shows its holder what it holds, or links it. */
import * as v from 'valibot';
import { amountSchema, currencySchema } from '../amount.ts';
import { defineMessage, digestSchema, jwsSchema } from '../signed.ts';
import { CARD_STATES } from './card-account.ts';
import { cardRecordsSchema } from './card-record.ts';
import { oneTimeCodeSchema, billIdSchema, cardIdSchema, challengeSchema, nonceSchema, paymentIdSchema, shopIdSchema } from './fields.ts';

const contact = { cardId: cardIdSchema, readingNonce: nonceSchema, cardChallenge: challengeSchema };

/** PC to application server; the answers travel as card-dialog and card-answer messages under `paymentId`, here the reading's own number. */
export const readingRequest = defineMessage(
  'kessai-reading-request',
  v.strictObject({
    ...contact,
    /** A payment whose outcome is wanted even if it was decided before. */
    about: v.nullable(paymentIdSchema),
    /** All records of the log, not only the newest. */
    history: v.boolean(),
  }),
);

/** PC to application server: this card shall be mine; goes on as a reading with its history does. */
export const linkRequest = defineMessage('kessai-link-request', v.strictObject({ ...contact, activationCode: oneTimeCodeSchema }));

/** Application server to PC: what the reading decided and showed. */
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
    card: v.strictObject({ state: v.picklist(CARD_STATES), currency: currencySchema, limitMinor: amountSchema }),
    /** Empty unless the history was asked for. */
    records: cardRecordsSchema,
  }),
  'settlement/signature',
);
