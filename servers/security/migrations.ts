/** The security server's tables: both only grow, because a forgotten order could be carried out again. A migration that has run somewhere is never edited. */
import { sql, type Migration } from 'kysely';

export const SECURITY_DATABASE = 'kessai_security';

export const securityMigrations: Readonly<Record<string, Migration>> = {
  '001-cards-and-orders': {
    up: async (db) => {
      // Key versions are one byte on the card; 0 is the factory's, so no issued card has it. Times: epoch milliseconds.
      await sql`
        create table issued_cards (
          card_id text primary key check (card_id ~ '^[0-9A-F]{14}$'),
          key_version integer not null check (key_version between 1 and 255),
          issued_at bigint not null
        )`.execute(db);
      await sql`create table used_orders (order_digest text primary key, used_at bigint not null)`.execute(db);
      // Fails the statement; the trigger's name says which rule it breaks.
      await sql`
        create function refuse() returns trigger language plpgsql as $$
        begin
          raise exception using errcode = 'integrity_constraint_violation', table = tg_table_name, constraint = tg_name,
            message = format('%s of %s refused: %s', lower(tg_op), tg_table_name, tg_name);
        end $$`.execute(db);
      await sql`create trigger issued_cards_only_grow before update or delete or truncate on issued_cards for each statement execute function refuse()`.execute(db);
      await sql`create trigger used_orders_only_grow before update or delete or truncate on used_orders for each statement execute function refuse()`.execute(db);
    },
  },
};
