/** An operator's order about one card, for the application server and, for itself, the security server; used once. */
import * as v from 'valibot';
import { amountSchema, currencySchema } from '../amount.ts';
import { defineMessage, digestSchema } from '../signed.ts';
import { cardIdSchema, challengeSchema, nonceSchema, paymentIdSchema, timeSchema } from './fields.ts';

/** An order is good for this long by the settlement's clock: it is given with the card on the reader. */
export const MAX_ORDER_LIFE_MS = 10 * 60_000;

const common = {
  cardId: cardIdSchema,
  /** The card's half of the mutual authentication: key 0 to issue, key 1 to load. */
  cardChallenge: challengeSchema,
  currency: currencySchema,
  orderNonce: nonceSchema,
  expiresAt: timeSchema,
};

export const operatorOrder = defineMessage(
  'kessai-operator-order',
  v.variant('kind', [
    v.strictObject({
      kind: v.literal('issue'),
      ...common,
      /** The most that the card may ever hold. */
      limitMinor: v.pipe(amountSchema, v.minValue(1n)),
      /** Whom the new customer's record names; stays in the information server. */
      customerName: v.nullable(v.pipe(v.string(), v.minLength(1), v.maxLength(120))),
    }),
    v.strictObject({ kind: v.literal('load'), ...common, amountMinor: v.pipe(amountSchema, v.minValue(1n)) }),
  ]),
);

/** Application server to operator: an order carried out. */
export const operatorReport = defineMessage(
  'kessai-operator-report',
  v.variant('kind', [
    v.strictObject({
      kind: v.literal('issue'),
      paymentId: paymentIdSchema,
      previous: digestSchema,
      cardId: cardIdSchema,
      customerId: v.pipe(v.string(), v.uuid()),
      /** One-time code with which the customer's browser enrols. */
      enrolmentCode: v.pipe(v.string(), v.maxLength(64)),
    }),
    v.strictObject({
      kind: v.literal('load'),
      paymentId: paymentIdSchema,
      previous: digestSchema,
      cardId: cardIdSchema,
      amountMinor: amountSchema,
      /** Null if the card's last answer was lost after the commit was proved. */
      balanceAfterMinor: v.nullable(amountSchema),
    }),
  ]),
  'settlement/signature',
);
