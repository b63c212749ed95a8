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

export const informationMigrations: Readonly<Record<string, Migration>> = {
  '001-customers-shops-cards': {
    up: async (db) => {
      for (const statement of [...tables, ...laws]) await statement.execute(db);
    },
  },
};
