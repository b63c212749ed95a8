/** The application store on PostgreSQL: a straight payment is two durable commits, and unique indexes decide who was first. */
import { strict as assert } from 'node:assert';
import { sql, type Generated, type GeneratedAlways, type Insertable, type Selectable } from 'kysely';
import { isCurrency, type Currency } from '#protocol/amount.ts';
import { encodeStrictJson } from '#protocol/json.ts';
import { uniqueViolation, type Database } from '../shared/database.ts';
import { ONE_ATTEMPT_HOLDS_A_BILL, ONE_UNRESOLVED_A_CARD } from './migrations.ts';
import { TRANSITIONS, type ApplicationStore, type BillOfOperation, type Evidence, type Intent, type Operation, type OperationKind, type OperationState } from './store.ts';

interface OperationRow {
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
  expected_tmi: string;
  request: string;
  written_at: bigint;
  decided_at: Generated<bigint | null>;
  /** Written as text, read as parsed by pg; amounts are decimal strings in it. */
  evidence: Generated<unknown>;
  notice: Generated<string | null>;
}

interface TransferRow {
  payment_id: string;
  debit_account: string;
  credit_account: string;
  amount_minor: bigint;
  currency: string;
}

interface NoticeRow {
  notice_id: string;
  position: GeneratedAlways<bigint>;
  payment_id: string;
  shop_id: string;
  bill_id: string;
  jws: string;
  attempts: Generated<number>;
  next_attempt_at: bigint;
  acknowledged_at: Generated<bigint | null>;
}

export interface ApplicationSchema {
  card_operations: OperationRow;
  transfers: TransferRow;
  notices: NoticeRow;
}

/** The database is opened with applicationMigrations, and closed by whoever opened it. */
export function createPostgresApplicationStore({ read, durably, relaxed }: Database<ApplicationSchema>): ApplicationStore {
  const operations = read.selectFrom('card_operations').selectAll('card_operations');
  return {
    writeIntent: async (intent) => {
      try {
        await durably((transaction) => transaction.insertInto('card_operations').values(encodeIntent(intent)).execute());
        return 'written';
      } catch (error) {
        const violated = uniqueViolation(error);
        if (violated === ONE_ATTEMPT_HOLDS_A_BILL) return 'bill-taken';
        if (violated === ONE_UNRESOLVED_A_CARD) return 'card-taken';
        throw error;
      }
    },

    decide: async ({ paymentId, to, evidence, decidedAt, transfer, notice }) => {
      const change = { state: to, evidence: encodeStrictJson(evidence), decided_at: BigInt(decidedAt), ...(notice === null ? {} : { notice: notice.jws }) };
      try {
        return await durably(async (transaction) => {
          // Who comes second waits for the row and then looks at the state again.
          const taken = await transaction.updateTable('card_operations').set(change).where('payment_id', '=', paymentId).where('state', 'in', statesBefore(to)).returning('payment_id').execute();
          if (taken.length === 0) return false;
          if (transfer !== null) {
            const { debit, credit, amountMinor, currency } = transfer;
            await transaction.insertInto('transfers').values({ payment_id: paymentId, debit_account: debit, credit_account: credit, amount_minor: amountMinor, currency }).execute();
          }
          if (notice !== null) {
            const { jws, shopId, billId } = notice;
            await transaction.insertInto('notices').values({ notice_id: `${paymentId}/${to}`, payment_id: paymentId, shop_id: shopId, bill_id: billId, jws, next_attempt_at: BigInt(decidedAt) }).execute();
          }
          return true;
        });
      } catch (error) {
        // An aborted attempt was to end a bill that another attempt holds: "not paid" could be a lie (payment-rules 9).
        if (uniqueViolation(error) === ONE_ATTEMPT_HOLDS_A_BILL) return false;
        throw error;
      }
    },

    find: async (paymentId) => {
      const row = await operations.where('payment_id', '=', paymentId).executeTakeFirst();
      return row === undefined ? undefined : parseOperation(row);
    },
    // States are written out, not parameters: only so may a prepared statement use the partial indexes.
    unresolvedOf: async (cardId) => (await operations.where('card_id', '=', cardId).where(sql<boolean>`state in ('INTENT', 'EXPIRED')`).execute()).map(parseOperation),
    attemptsFor: async (shopId, billId) => (await operations.where('shop_id', '=', shopId).where('bill_id', '=', billId).orderBy('position').execute()).map(parseOperation),
    overdue: async (billExpiredBefore, limit) => {
      const rows = await operations
        .where('bill_expires_at', '<', BigInt(billExpiredBefore))
        .where(sql<boolean>`state in ('INTENT', 'ABORTED')`)
        .where(sql<boolean>`(state = 'INTENT' or not exists (
          select from card_operations other
          where other.shop_id = card_operations.shop_id and other.bill_id = card_operations.bill_id
          and (other.state <> 'ABORTED' or other.position > card_operations.position)))`)
        .orderBy('position')
        .limit(limit)
        .execute();
      return rows.map(parseOperation);
    },

    ...noticesOf({ read, relaxed }),

    balanceOf: async (account, currency) => {
      const sumOf = (side: 'debit_account' | 'credit_account') => sql<bigint>`(select coalesce(sum(amount_minor), 0) from transfers where ${sql.ref(side)} = ${account} and currency = ${currency})`;
      const { rows } = await sql<{ balance: bigint }>`select (${sumOf('credit_account')} - ${sumOf('debit_account')})::bigint as balance`.execute(read);
      const [row] = rows;
      assert(row !== undefined, 'a sum without a row');
      return row.balance;
    },
  };
}

function noticesOf({ read, relaxed }: Pick<Database<ApplicationSchema>, 'read' | 'relaxed'>): Pick<ApplicationStore, 'dueNotices' | 'markNotice'> {
  return {
    dueNotices: async (now, limit) => {
      const rows = await read.selectFrom('notices').selectAll().where('acknowledged_at', 'is', null).where('next_attempt_at', '<=', BigInt(now)).orderBy('position').limit(limit).execute();
      return rows.map((row) => ({ noticeId: row.notice_id, shopId: row.shop_id, billId: row.bill_id, jws: row.jws, attempts: row.attempts }));
    },
    markNotice: (noticeId, mark) =>
      relaxed(async (transaction) => {
        const owed = transaction.updateTable('notices').where('notice_id', '=', noticeId).where('acknowledged_at', 'is', null);
        if ('acknowledgedAt' in mark) await owed.set({ acknowledged_at: BigInt(mark.acknowledgedAt) }).execute();
        else await owed.set(({ eb }) => ({ next_attempt_at: BigInt(mark.nextAttemptAt), attempts: eb('attempts', '+', 1) })).execute();
      }),
  };
}

function statesBefore(to: OperationState): OperationState[] {
  return (Object.keys(TRANSITIONS) as OperationState[]).filter((from) => TRANSITIONS[from].includes(to));
}

function encodeIntent(intent: Intent): Insertable<OperationRow> {
  const { paymentId, kind, cardId, operationId, amountMinor, currency, bill, sessionId, transactionCounter, expectedTmi, request, writtenAt } = intent;
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
    expected_tmi: expectedTmi,
    request,
    written_at: BigInt(writtenAt),
  };
}

function parseOperation(row: Selectable<OperationRow>): Operation {
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
    expectedTmi: row.expected_tmi,
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
