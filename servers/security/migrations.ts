/** The security server's tables: nothing in them is forgotten, because a forgotten order could be carried out again. A migration that has run somewhere is never edited. */
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
  '002-re-keying-and-load-limits': {
    up: async (db) => {
      await sql`alter table issued_cards add column rekeying_to integer constraint re_keyed_to_newer_keys check (rekeying_to > key_version and rekeying_to <= 255)`.execute(db);
      // A card is still never forgotten; what changes is that a re-keying begins, or is finished, and nothing else of it.
      await sql`drop trigger issued_cards_only_grow on issued_cards`.execute(db);
      await sql`create trigger issued_cards_only_grow before delete or truncate on issued_cards for each statement execute function refuse()`.execute(db);
      await sql`
        create trigger issued_cards_are_re_keyed_only before update on issued_cards for each row when (
          (new.card_id, new.issued_at) is distinct from (old.card_id, old.issued_at)
          or not (
            (new.key_version = old.key_version and coalesce(old.rekeying_to, new.rekeying_to) = new.rekeying_to)
            or (new.key_version = old.rekeying_to and new.rekeying_to is null)
          ) is true
        ) execute function refuse()`.execute(db);
      // What an operator's order has put on a card; 0 for one that moves no value.
      await sql`alter table used_orders add column amount_minor bigint not null default 0 check (amount_minor >= 0)`.execute(db);
      await sql`create index used_orders_by_time on used_orders (used_at)`.execute(db);
      // One row: loads take turns, so that the day's sum and the order that adds to it are one.
      await sql`create table load_turn (only_row boolean primary key check (only_row))`.execute(db);
      await sql`insert into load_turn values (true)`.execute(db);
    },
  },
};
