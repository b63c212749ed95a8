/** The shop's tables. A migration that has run somewhere is never edited; a new one follows it. */
import { sql, type Migration } from 'kysely';

export const SHOP_MIGRATIONS: Readonly<Record<string, Migration>> = {
  '001-orders-and-bills': {
    up: async (db) => {
      await sql`
        create table orders (
          order_id text primary key,
          decision_digest text not null constraint one_order_a_decision unique,
          estimate_digest text not null,
          lines jsonb not null,
          total_minor bigint not null check (total_minor >= 0),
          currency text not null,
          created_at bigint not null
        )`.execute(db);
      // An open bill has nothing of an outcome, a decided one all of it.
      await sql`
        create table bills (
          bill_id text primary key,
          order_id text not null constraint one_bill_an_order unique references orders,
          bill_digest text not null unique,
          amount_minor bigint not null check (amount_minor > 0),
          currency text not null,
          payer text not null,
          expires_at bigint not null,
          jws text not null,
          outcome text check (outcome in ('paid', 'not-paid')),
          payment_id text,
          decided_at bigint,
          notice text,
          recorded_at bigint,
          check (num_nulls(outcome, payment_id, decided_at, notice, recorded_at) in (0, 5))
        )`.execute(db);
      await sql`create index orders_by_age on orders (created_at)`.execute(db);
    },
  },
};
