/** An operation as PostgreSQL keeps it: one row of card_operations. */
import { strict as assert } from 'node:assert';
import type { Generated, GeneratedAlways, Insertable, Selectable } from 'kysely';
import { isCurrency, type Currency } from '#protocol/amount.ts';
import type { OperationKind } from '#protocol/messages/card-record.ts';
import type { BillOfOperation, Evidence, Intent, Operation, OperationState } from './store.ts';

export interface OperationRow {
  payment_id: string;
  /** Oldest first; gaps are usual. */
  position: GeneratedAlways<bigint>;
  kind: OperationKind;
  state: Generated<OperationState>;
  card_id: string;
  operation_id: string;
  amount_minor: bigint;
  currency: string;
  shop_id: string | null;
  bill_id: string | null;
  bill_digest: string | null;
  bill_expires_at: bigint | null;
  session_id: string;
  transaction_counter: bigint | null;
  key_version: number | null;
  expected_tmi: string;
  source_card_id: string | null;
  counted_as_not_debited: string[] | null;
  request: string;
  written_at: bigint;
  decided_at: Generated<bigint | null>;
  /** Written as text, read as parsed by pg; amounts are decimal strings in it. */
  evidence: Generated<unknown>;
  notice: Generated<string | null>;
}

export function encodeIntent(intent: Intent): Insertable<OperationRow> {
  const { paymentId, kind, cardId, operationId, amountMinor, currency, bill, sessionId, transactionCounter, keyVersion, expectedTmi, source, request, writtenAt } = intent;
  return {
    payment_id: paymentId,
    kind,
    card_id: cardId,
    operation_id: operationId,
    amount_minor: amountMinor,
    currency,
    shop_id: bill?.shopId ?? null,
    bill_id: bill?.billId ?? null,
    bill_digest: bill?.billDigest ?? null,
    bill_expires_at: bill === null ? null : BigInt(bill.expiresAt),
    session_id: sessionId,
    transaction_counter: transactionCounter === null ? null : BigInt(transactionCounter),
    key_version: keyVersion,
    expected_tmi: expectedTmi,
    source_card_id: source?.cardId ?? null,
    counted_as_not_debited: source === null ? null : [...source.countedAsNotDebited],
    request,
    written_at: BigInt(writtenAt),
  };
}

export function parseOperation(row: Selectable<OperationRow>): Operation {
  return {
    paymentId: row.payment_id,
    kind: row.kind,
    cardId: row.card_id,
    operationId: row.operation_id,
    amountMinor: row.amount_minor,
    currency: currencyOf(row),
    bill: parseBill(row),
    sessionId: row.session_id,
    transactionCounter: row.transaction_counter === null ? null : Number(row.transaction_counter),
    keyVersion: row.key_version,
    expectedTmi: row.expected_tmi,
    source: row.source_card_id === null ? null : { cardId: row.source_card_id, countedAsNotDebited: row.counted_as_not_debited ?? [] },
    request: row.request,
    writtenAt: Number(row.written_at),
    state: row.state,
    decidedAt: row.decided_at === null ? null : Number(row.decided_at),
    evidence: parseEvidence(row.evidence),
    notice: row.notice,
  };
}

function parseBill({ shop_id: shopId, bill_id: billId, bill_digest: billDigest, bill_expires_at: expiresAt }: Selectable<OperationRow>): BillOfOperation | null {
  if (shopId === null || billId === null || billDigest === null || expiresAt === null) return null;
  return { shopId, billId, billDigest, expiresAt: Number(expiresAt) };
}

function parseEvidence(stored: unknown): Evidence | null {
  if (stored === null) return null;
  const evidence = stored as Exclude<Evidence, { by: 'reading' }> | (Omit<Extract<Evidence, { by: 'reading' }>, 'balanceMinor'> & { readonly balanceMinor: string | null });
  return evidence.by === 'reading' ? { ...evidence, balanceMinor: evidence.balanceMinor === null ? null : BigInt(evidence.balanceMinor) } : evidence;
}

function currencyOf({ currency }: { readonly currency: string }): Currency {
  assert(isCurrency(currency), 'a currency that was never written');
  return currency;
}
