/** A record of a card's log, as the card says it, with what the settlement knows of it. */
import * as v from 'valibot';
import { amountSchema } from '../amount.ts';

/** 8 bytes, hex: new for every attempt; it stands in the card's log. */
export const operationIdSchema = v.pipe(v.string(), v.regex(/^[0-9A-F]{16}$/));

/** What moves value on a card, or makes it ours. */
export const OPERATION_KINDS = ['pay', 'load', 'refund', 'issue'] as const;
export type OperationKind = (typeof OPERATION_KINDS)[number];

/** More than any card of ours keeps. */
const MAX_RECORDS = 16;

export const cardRecordsSchema = v.pipe(
  v.array(
    v.strictObject({
      operationId: operationIdSchema,
      amountMinor: amountSchema,
      /** By the settlement's clock when the operation was ordered. */
      timeSeconds: v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(0xffff_ffff)),
      /** Null for a record that the settlement has no operation for. `shopName`: from the shop's registration. */
      known: v.nullable(
        v.strictObject({ kind: v.picklist(OPERATION_KINDS), outcome: v.picklist(['done', 'open', 'refund-due']), shopName: v.nullable(v.pipe(v.string(), v.minLength(1), v.maxLength(200))) }),
      ),
    }),
  ),
  v.maxLength(MAX_RECORDS),
);
/** Newest first. */
export type CardRecords = v.InferOutput<typeof cardRecordsSchema>;
