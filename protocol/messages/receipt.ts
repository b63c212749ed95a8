/** The settlement's own proof of one operation: what was signed about it, and the card's transaction MAC over what it committed. */
import * as v from 'valibot';
import { amountSchema, currencySchema } from '../amount.ts';
import { digestSchema, jwsSchema } from '../signed.ts';
import { OPERATION_KINDS, operationIdSchema } from './card-record.ts';
import { billIdSchema, cardIdSchema, paymentIdSchema, shopIdSchema, timeSchema } from './fields.ts';

const hexSchema = v.pipe(v.string(), v.regex(/^([0-9A-F]{2})*$/), v.maxLength(4096));

export const receiptSchema = v.strictObject({
  format: v.literal('kessai-receipt-1'),
  paymentId: paymentIdSchema,
  kind: v.picklist(OPERATION_KINDS),
  cardId: cardIdSchema,
  /** As the card's log says it. */
  operationId: operationIdSchema,
  amountMinor: amountSchema,
  currency: currencySchema,
  /** `shopChain`: certificates of the key that signed the BILL, DER in base64url, leaf first, since the BILL itself names the key by its thumbprint only; empty if it is registered no more. */
  bill: v.nullable(
    v.strictObject({ shopId: shopIdSchema, billId: billIdSchema, billDigest: digestSchema, shopChain: v.pipe(v.array(v.pipe(v.string(), v.regex(/^[\w-]+$/), v.maxLength(8192))), v.maxLength(3)) }),
  ),
  decidedAt: timeSchema,
  /** The payment request, with the BILL in it, or the operator's order. */
  request: jwsSchema,
  /** Null where a reading decided: the PCN never came. */
  statement: v.nullable(jwsSchema),
  consent: v.nullable(jwsSchema),
  /** ACN; null for what no shop hears of. */
  notice: v.nullable(jwsSchema),
  proof: v.strictObject({
    /** Version of AppTMKey: a re-keyed card counts from zero again. */
    keyVersion: v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(255)),
    /** TMC after the commit. */
    transactionCounter: v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(0xffff_ffff)),
    /** TMV, 8 bytes. */
    transactionMac: v.pipe(v.string(), v.regex(/^[0-9A-F]{16}$/)),
    /** TMI. */
    transactionMacInput: hexSchema,
  }),
});
export type Receipt = v.InferOutput<typeof receiptSchema>;
