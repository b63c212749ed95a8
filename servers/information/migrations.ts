/** The information server's tables; the only place where a person's name is kept. A migration that has run somewhere is never edited. */
import { sql, type Migration } from 'kysely';

export const INFORMATION_DATABASE = 'kessai_information';

/** Times: epoch milliseconds. Chains: DER in base64url, leaf first. */
const tables = [
  sql`create table customers (customer_id text primary key, name text, created_at bigint not null)`,
  sql`
    create table enrolment_codes (
      code_digest text primary key,
      customer_id text not null references customers,
      expires_at bigint not null,
      used_at bigint check (used_at < expires_at)
    )`,
  sql`
    create table customer_keys (
      thumbprint text primary key,
      customer_id text not null references customers,
      chain text[] not null check (cardinality(chain) > 0),
      registered_at bigint not null
    )`,
  sql`create table shops (shop_id text primary key, legal_name text not null, origin text not null)`,
  sql`
    create table shop_keys (
      thumbprint text primary key,
      shop_id text not null references shops,
      chain text[] not null check (cardinality(chain) > 0),
      registered_at bigint not null
    )`,
  sql`
    create table cards (
      card_id text primary key check (card_id ~ '^[0-9A-F]{14}$'),
      customer_id text not null references customers,
      currency text not null check (currency ~ '^[A-Z]{3}$'),
      limit_minor bigint not null check (limit_minor between 0 and 2147483647)
    )`,
];

/** Fails the statement; the trigger's name says which rule it breaks. Whose key or card it is decides who may pay with it (payment-rules 13, 16). */
const laws = [
  sql`
    create function refuse() returns trigger language plpgsql as $$
    begin
      raise exception using errcode = 'integrity_constraint_violation', table = tg_table_name, constraint = tg_name,
        message = format('%s of %s refused: %s', lower(tg_op), tg_table_name, tg_name);
    end $$`,
  sql`create trigger an_enrolment_code_works_once before update on enrolment_codes for each row when (old.used_at is not null) execute function refuse()`,
  sql`create trigger a_customer_key_never_moves before update of thumbprint, customer_id, chain on customer_keys for each statement execute function refuse()`,
  sql`create trigger a_shop_key_never_moves before update of thumbprint, shop_id, chain on shop_keys for each statement execute function refuse()`,
  sql`create trigger a_card_never_moves before update of card_id, customer_id on cards for each statement execute function refuse()`,
];

/** A card may be issued before it has a customer, who links it with the code that came with it; and it may be lost. */
const activation = [
  sql`alter table cards alter column customer_id drop not null, add column blocked_at bigint`,
  sql`
    create table activation_codes (
      code_digest text primary key,
      card_id text not null references cards,
      expires_at bigint not null,
      used_at bigint check (used_at < expires_at),
      used_by text references customers,
      constraint used_by_somebody check ((used_at is null) = (used_by is null))
    )`,
  sql`create trigger an_activation_code_works_once before update on activation_codes for each row
    when (old.used_at is not null or (new.code_digest, new.card_id, new.expires_at) <> (old.code_digest, old.card_id, old.expires_at)) execute function refuse()`,
  sql`drop trigger a_card_never_moves on cards`,
  sql`create trigger a_card_never_moves before update on cards for each row
    when (old.card_id <> new.card_id or (old.customer_id is not null and new.customer_id is distinct from old.customer_id)) execute function refuse()`,
  sql`create trigger a_card_is_blocked_for_good before update on cards for each row
    when (old.blocked_at is not null and new.blocked_at is distinct from old.blocked_at) execute function refuse()`,
  sql`create trigger a_blocked_card_is_linked_to_nobody before update on cards for each row
    when (new.blocked_at is not null and new.customer_id is distinct from old.customer_id) execute function refuse()`,
  sql`create trigger cards_are_kept before delete or truncate on cards for each statement execute function refuse()`,
];

export const informationMigrations: Readonly<Record<string, Migration>> = {
  '001-customers-shops-cards': {
    up: async (db) => {
      for (const statement of [...tables, ...laws]) await statement.execute(db);
    },
  },
  '002-activation-and-blocking': {
    up: async (db) => {
      for (const statement of activation) await statement.execute(db);
    },
  },
};
