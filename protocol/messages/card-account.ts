/** What the settlement's books say of one card, for operators. */
import * as v from 'valibot';
import { amountSchema, currencySchema, signedAmountSchema } from '../amount.ts';
import { OPERATION_KINDS } from './card-record.ts';
import { cardIdSchema, paymentIdSchema, shopIdSchema, timeSchema } from './fields.ts';

export const CARD_STATES = ['active', 'blocked'] as const;

export const cardAccountSchema = v.strictObject({
  cardId: cardIdSchema,
  state: v.picklist(CARD_STATES),
  /** When it was blocked. */
  blockedAt: v.nullable(timeSchema),
  currency: currencySchema,
  limitMinor: amountSchema,
  /** Null for a card that no customer has activated yet. */
  customerId: v.nullable(v.pipe(v.string(), v.uuid())),
  /** By the ledger; what is open is not in it. */
  ledgerMinor: signedAmountSchema,
  /** What may be moved to another card once this one is blocked: the ledger's balance less everything open. */
  movableMinor: amountSchema,
  /** Unresolved operations: only a reading of the card decides them (payment-rules 5, 20). */
  open: v.pipe(
    v.array(v.strictObject({ paymentId: paymentIdSchema, kind: v.picklist(OPERATION_KINDS), amountMinor: amountSchema, shopId: v.nullable(shopIdSchema), writtenAt: timeSchema, expired: v.boolean() })),
    v.maxLength(8),
  ),
});
export type CardAccount = v.InferOutput<typeof cardAccountSchema>;
