/** The application store on PostgreSQL: a straight payment is two durable commits, and unique indexes decide who was first. */
import { strict as assert } from 'node:assert';
import { sql, type Generated, type GeneratedAlways, type RawBuilder } from 'kysely';
import type { Currency } from '#protocol/amount.ts';
import { encodeStrictJson } from '#protocol/json.ts';
import { triggerRefusal, uniqueViolation, type Database } from '../shared/database.ts';
import { A_BLOCKED_CARD_TAKES_NOTHING, A_SOURCE_HOLDS_THE_AMOUNT, A_SOURCE_IS_BLOCKED } from './migration-card-accounts.ts';
import { ONE_ATTEMPT_HOLDS_A_BILL, ONE_UNRESOLVED_A_CARD } from './migrations.ts';
import { encodeIntent, parseOperation, type OperationRow } from './operation-row.ts';
import { TRANSITIONS, type Account, type ApplicationStore, type OperationState } from './store.ts';

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

interface BlockRow {
  card_id: string;
  blocked_at: bigint;
  order_jws: string;
}

export interface ApplicationSchema {
  card_operations: OperationRow;
  blocked_cards: BlockRow;
  transfers: TransferRow;
  notices: NoticeRow;
}

/** What the answer is to an INTENT that breaks one of these. */
const REFUSED_BY: Readonly<Record<string, Exclude<Awaited<ReturnType<ApplicationStore['writeIntent']>>, 'written'>>> = {
  [ONE_ATTEMPT_HOLDS_A_BILL]: 'bill-taken',
  [ONE_UNRESOLVED_A_CARD]: 'card-taken',
  [A_BLOCKED_CARD_TAKES_NOTHING]: 'card-blocked',
  [A_SOURCE_IS_BLOCKED]: 'source-not-blocked',
  [A_SOURCE_HOLDS_THE_AMOUNT]: 'source-too-low',
};

/** The database is opened with applicationMigrations, and closed by whoever opened it. */
export function createPostgresApplicationStore({ read, durably, relaxed }: Database<ApplicationSchema>): ApplicationStore {
  const operations = read.selectFrom('card_operations').selectAll('card_operations');
  return {
    writeIntent: async (intent) => {
      try {
        await durably((transaction) => transaction.insertInto('card_operations').values(encodeIntent(intent)).execute());
        return 'written';
      } catch (error) {
        const refused = REFUSED_BY[uniqueViolation(error) ?? triggerRefusal(error) ?? ''];
        if (refused === undefined) throw error;
        return refused;
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

    findByOperationIds: async (cardId, operationIds) => (await operations.where('card_id', '=', cardId).where(sql<boolean>`operation_id = any (${[...operationIds]}::text[])`).orderBy('position').execute()).map(parseOperation),

    ...noticesOf({ read, relaxed }),
    ...accountsOf({ read, durably }),
  };
}

function accountsOf({ read, durably }: Pick<Database<ApplicationSchema>, 'read' | 'durably'>): Pick<ApplicationStore, 'blockCard' | 'bookedCard' | 'balanceOf'> {
  return {
    blockCard: ({ cardId, blockedAt, order }) =>
      durably(async (transaction) => {
        await transaction.insertInto('blocked_cards').values({ card_id: cardId, blocked_at: BigInt(blockedAt), order_jws: order }).onConflict((known) => known.doNothing()).execute();
        const held = await transaction.selectFrom('blocked_cards').selectAll().where('card_id', '=', cardId).executeTakeFirstOrThrow();
        return { cardId, blockedAt: Number(held.blocked_at), order: held.order_jws };
      }),
    bookedCard: async (cardId, currency) => {
      // One statement: what is being decided is open or moved in it, and a block that it shows was there for all of it.
      const { rows } = await sql<{ blocked_at: bigint | null; order_jws: string | null; ledger: bigint; movable: bigint }>`
        select blocked_at, order_jws, ${balance(`card:${cardId}`, currency)} as ledger, greatest(0, movable_minor(${cardId}, ${currency}, '{}')) as movable
        from (select ${cardId} as card_id) asked left join blocked_cards using (card_id)`.execute(read);
      const [row] = rows;
      assert(row !== undefined, 'a sum without a row');
      const { blocked_at: blockedAt, order_jws: order, ledger: ledgerMinor, movable: movableMinor } = row;
      return { block: blockedAt === null || order === null ? null : { cardId, blockedAt: Number(blockedAt), order }, ledgerMinor, movableMinor };
    },
    balanceOf: async (account, currency) => {
      const { rows } = await sql<{ balance: bigint }>`select ${balance(account, currency)} as balance`.execute(read);
      const [row] = rows;
      assert(row !== undefined, 'a sum without a row');
      return row.balance;
    },
  };
}

function balance(account: Account, currency: Currency): RawBuilder<bigint> {
  const sumOf = (side: 'debit_account' | 'credit_account') => sql<bigint>`(select coalesce(sum(amount_minor), 0) from transfers where ${sql.ref(side)} = ${account} and currency = ${currency})`;
  return sql<bigint>`(${sumOf('credit_account')} - ${sumOf('debit_account')})::bigint`;
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
