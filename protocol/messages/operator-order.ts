/** An operator's order about one card, customer or payment, for the application server and, for itself, the security server; used once. */
import * as v from 'valibot';
import { amountSchema, currencySchema } from '../amount.ts';
import { defineMessage, digestSchema } from '../signed.ts';
import { cardAccountSchema } from './card-account.ts';
import { cardRecordsSchema, OPERATION_KINDS } from './card-record.ts';
import { oneTimeCodeSchema, cardIdSchema, challengeSchema, nonceSchema, paymentIdSchema, timeSchema } from './fields.ts';
import { receiptSchema } from './receipt.ts';

/** An order is good for this long by the settlement's clock: it is given with the card on the reader. */
export const MAX_ORDER_LIFE_MS = 10 * 60_000;
/** A card has at most one unresolved operation; an operator counts no more than these at once. */
const MAX_COUNTED = 8;

const common = { orderNonce: nonceSchema, expiresAt: timeSchema };
/** `cardChallenge`: the card's half of the mutual authentication under key 1. */
const withCard = { ...common, cardId: cardIdSchema, cardChallenge: challengeSchema };
const customerIdSchema = v.pipe(v.string(), v.uuid());
const positiveAmountSchema = v.pipe(amountSchema, v.minValue(1n));

export const operatorOrder = defineMessage(
  'kessai-operator-order',
  v.variant('kind', [
    v.strictObject({
      kind: v.literal('issue'),
      ...common,
      cardId: cardIdSchema,
      /** Under key 0; null for a blank card, which has no application yet. */
      cardChallenge: v.nullable(challengeSchema),
      currency: currencySchema,
      /** The most that the card may ever hold. */
      limitMinor: positiveAmountSchema,
      /** A new customer gets the card at once; otherwise whoever has the one-time activation code may link it. A name is read by the information server only, but the order that carries it is kept as evidence. */
      holder: v.variant('is', [
        v.strictObject({ is: v.literal('new-customer'), name: v.nullable(v.pipe(v.string(), v.minLength(1), v.maxLength(120))) }),
        v.strictObject({ is: v.literal('bearer-of-code') }),
      ]),
    }),
    v.strictObject({ kind: v.literal('load'), ...withCard, currency: currencySchema, amountMinor: positiveAmountSchema }),
    /** Moves value by the books from a blocked card to the one on the reader (payment-rules 20). */
    v.strictObject({
      kind: v.literal('replace'),
      ...withCard,
      currency: currencySchema,
      amountMinor: positiveAmountSchema,
      lostCardId: cardIdSchema,
      /** Unresolved payments of the lost card that the operator decides to count as not debited: the institution bears it if they were. */
      countAsNotDebited: v.pipe(v.array(paymentIdSchema), v.maxLength(MAX_COUNTED)),
    }),
    /** Reads the card and what the books say of it. */
    v.strictObject({ kind: v.literal('show'), ...withCard }),
    /** What the books say of a card that is not here. */
    v.strictObject({ kind: v.literal('account'), ...common, cardId: cardIdSchema }),
    /** A card that was reported lost: for good. */
    v.strictObject({ kind: v.literal('block'), ...common, cardId: cardIdSchema }),
    /** The settlement's own proof of one operation. */
    v.strictObject({ kind: v.literal('receipt'), ...common, paymentId: paymentIdSchema }),
    /** Another one-time code for a customer who has lost the first, or has another browser. */
    v.strictObject({ kind: v.literal('enrolment-code'), ...common, customerId: customerIdSchema }),
    /** The same for a card that nobody has linked yet. */
    v.strictObject({ kind: v.literal('activation-code'), ...common, cardId: cardIdSchema }),
  ]),
);

const report = { paymentId: paymentIdSchema, previous: digestSchema };
/** What was open on the card and has been decided by the reading that the order began with. */
const decided = v.pipe(
  v.array(v.strictObject({ paymentId: paymentIdSchema, kind: v.picklist(OPERATION_KINDS), amountMinor: amountSchema, outcome: v.picklist(['done', 'not-done', 'refund-due']) })),
  v.maxLength(8),
);
const oneTimeCode = v.nullable(oneTimeCodeSchema);
/** Null if the card's last answer was lost after the commit was proved. */
const balanceAfterMinor = v.nullable(amountSchema);

/** Application server to operator: an order carried out; `paymentId` is the order's own number. */
export const operatorReport = defineMessage(
  'kessai-operator-report',
  v.variant('kind', [
    v.strictObject({
      kind: v.literal('issue'),
      ...report,
      cardId: cardIdSchema,
      /** For a new customer, with the one-time code with which the browser enrols. */
      customerId: v.nullable(customerIdSchema),
      enrolmentCode: oneTimeCode,
      /** For whoever shall link the card. */
      activationCode: oneTimeCode,
    }),
    v.strictObject({ kind: v.literal('load'), ...report, cardId: cardIdSchema, amountMinor: amountSchema, balanceAfterMinor, decided }),
    v.strictObject({ kind: v.literal('replace'), ...report, cardId: cardIdSchema, lostCardId: cardIdSchema, amountMinor: amountSchema, balanceAfterMinor, decided }),
    v.strictObject({ kind: v.literal('show'), ...report, account: cardAccountSchema, balanceMinor: amountSchema, records: cardRecordsSchema, decided }),
    v.strictObject({ kind: v.literal('account'), ...report, account: cardAccountSchema }),
    v.strictObject({ kind: v.literal('block'), ...report, account: cardAccountSchema }),
    v.strictObject({ kind: v.literal('receipt'), ...report, receipt: receiptSchema }),
    v.strictObject({ kind: v.literal('enrolment-code'), ...report, customerId: customerIdSchema, enrolmentCode: oneTimeCodeSchema }),
    v.strictObject({ kind: v.literal('activation-code'), ...report, cardId: cardIdSchema, activationCode: oneTimeCodeSchema }),
  ]),
  'settlement/signature',
);
