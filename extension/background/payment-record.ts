/** What the background hands to a payment window: kept in the session's storage, so that neither its own death nor a reload of the window loses it. */
import * as v from 'valibot';
import { orderSchema } from '#protocol/messages/decision.ts';
import { originSchema } from '#protocol/messages/fields.ts';
import { jwsSchema } from '#protocol/signed.ts';

const paymentRecordSchema = v.strictObject({
  paymentId: v.pipe(v.string(), v.uuid()),
  tabId: v.number(),
  /** The very document that asked; undefined where the browser does not name documents. */
  documentId: v.optional(v.string()),
  windowId: v.nullable(v.number()),
  /** From the browser, never from the page. */
  origin: originSchema,
  /** Verified by the background for this origin; the flow verifies it again. */
  statement: jwsSchema,
  order: orderSchema,
  /** The window shows an end; the next payment of this tab may take its place. */
  over: v.boolean(),
  /** The customer agreed to the debit: a reload of the window settles this payment, and never begins its order again. */
  agreed: v.optional(v.boolean()),
});
export type PaymentRecord = v.InferOutput<typeof paymentRecordSchema>;

/** One window a tab, so one record a tab. */
const RECORD_PREFIX = 'payment.tab.';

export function recordKey(tabId: number): string {
  return `${RECORD_PREFIX}${tabId}`;
}

export function parsePaymentRecord(value: unknown): PaymentRecord | undefined {
  const result = v.safeParse(paymentRecordSchema, value);
  return result.success ? result.output : undefined;
}

/** All records of a session's storage, as `storage.session.get()` answers. */
export function recordsIn(stored: Record<string, unknown>): PaymentRecord[] {
  return Object.entries(stored).flatMap(([key, value]) => (key.startsWith(RECORD_PREFIX) ? (parsePaymentRecord(value) ?? []) : []));
}
