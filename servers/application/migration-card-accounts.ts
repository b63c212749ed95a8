/** Migration 002: the ledger has an account for each card, a lost card takes nothing, and its value moves to another by the books (payment-rules 20). */
import { sql, type Migration } from 'kysely';

/** What an INTENT breaks; the store tells by these names what to answer. */
export const A_BLOCKED_CARD_TAKES_NOTHING = 'a_blocked_card_takes_nothing';
export const A_SOURCE_IS_BLOCKED = 'a_source_is_blocked';
export const A_SOURCE_HOLDS_THE_AMOUNT = 'a_source_holds_the_amount';

const columns = sql`
  alter table card_operations
    add column key_version integer check (key_version between 1 and 255),
    add column source_card_id text check (source_card_id ~ '^[0-9A-F]{14}$'),
    add column counted_as_not_debited text[]`;

const UNLOCK = (table: string) => sql`alter table ${sql.table(table)} disable trigger user`;
const LOCK = (table: string) => sql`alter table ${sql.table(table)} enable trigger user`;

/**
 * What was written before: all cards had one account and keys of version 1, and a reading's transaction MAC was not kept.
 * The only place where a row that never changes is changed; nobody else sees the tables until the migration is committed.
 */
const oldRows = [
  UNLOCK('card_operations'),
  sql`update card_operations set
    key_version = case kind when 'issue' then null else 1 end,
    evidence = case evidence->>'by' when 'reading' then evidence || '{"transactionMac": ""}' else evidence end`,
  LOCK('card_operations'),
  UNLOCK('transfers'),
  sql`alter table transfers drop constraint transfers_debit_account_check, drop constraint transfers_credit_account_check`,
  sql`
    update transfers set
      debit_account = case debit_account when 'cards' then 'card:' || moved.card_id else debit_account end,
      credit_account = case credit_account when 'cards' then 'card:' || moved.card_id else credit_account end
    from card_operations moved where moved.payment_id = transfers.payment_id`,
  LOCK('transfers'),
];

const shapes = [
  sql`
    alter table card_operations
      add constraint only_issuing_has_no_key_version check ((key_version is null) = (kind = 'issue')),
      add constraint only_a_load_has_a_source check (source_card_id is null or (kind = 'load' and source_card_id <> card_id)),
      add constraint only_a_source_is_counted_on check ((counted_as_not_debited is null) = (source_card_id is null)),
      add constraint only_a_payment_expires check (kind = 'pay' or state not in ('EXPIRED', 'REFUND_DUE'))`,
  sql`create index loads_that_take_from_a_card on card_operations (source_card_id) where source_card_id is not null`,
  sql`drop trigger an_intent_never_changes on card_operations`,
  sql`create trigger an_intent_never_changes before update of payment_id, position, kind, card_id, operation_id, amount_minor, currency, shop_id, bill_id, bill_digest, bill_expires_at,
    session_id, transaction_counter, key_version, expected_tmi, source_card_id, counted_as_not_debited, request, written_at on card_operations for each statement execute function refuse()`,
  sql`
    alter table transfers
      add constraint transfers_debit_account_check check (debit_account in ('cash', 'refunds') or debit_account like 'shop:_%' or debit_account ~ '^card:[0-9A-F]{14}$'),
      add constraint transfers_credit_account_check check (credit_account in ('cash', 'refunds') or credit_account like 'shop:_%' or credit_account ~ '^card:[0-9A-F]{14}$')`,
];

/** The lock of a card, until the transaction ends. INTENTs on a card share it; its block, and each load that takes from it, has it alone. */
const lockOfCard = sql`create function lock_of_card(card text) returns bigint language sql immutable as $$ select hashtextextended('card:' || card, 0) $$`;

const blocks = [
  sql`
    create table blocked_cards (
      card_id text primary key check (card_id ~ '^[0-9A-F]{14}$'),
      blocked_at bigint not null,
      order_jws text not null
    )`,
  sql`
    create function await_intents() returns trigger language plpgsql as $$
    begin
      perform pg_advisory_xact_lock(lock_of_card(new.card_id));
      return new;
    end $$`,
  sql`create trigger a_block_awaits_intents before insert on blocked_cards for each row execute function await_intents()`,
  sql`create trigger a_block_is_for_good before update or delete or truncate on blocked_cards for each statement execute function refuse()`,
];

/**
 * What an account of a card holds, less everything unresolved that lowers it; payments that are `counted` as not debited are left out.
 * One statement, so that an operation that is being decided is seen as open or as moved, never as both or neither.
 */
const movable = sql`
  create function movable_minor(of_card text, in_currency text, counted text[]) returns bigint language sql stable as $$
    select (
      (select coalesce(sum(amount_minor), 0) from transfers where credit_account = 'card:' || of_card and currency = in_currency)
      - (select coalesce(sum(amount_minor), 0) from transfers where debit_account = 'card:' || of_card and currency = in_currency)
      - (select coalesce(sum(amount_minor), 0) from card_operations
        where card_id = of_card and currency = in_currency and kind = 'pay' and state in ('INTENT', 'EXPIRED') and payment_id <> all (counted))
      - (select coalesce(sum(amount_minor), 0) from card_operations where source_card_id = of_card and currency = in_currency and state = 'INTENT')
    )::bigint
  $$`;

/**
 * Locks first, the lesser card before the greater, so that no two wait for each other; then looks. Each statement sees what was committed
 * before it began, so also what a holder of the lock has committed; under any other isolation it would not, and the INTENT is refused.
 */
const intents = [
  sql`
    create function admit_intent() returns trigger language plpgsql as $$
    declare
      broken text;
      counted text[] := coalesce(new.counted_as_not_debited, '{}');
    begin
      if current_setting('transaction_isolation') <> 'read committed' then
        broken := 'an_intent_sees_what_is_committed';
      else
        if new.source_card_id <= new.card_id then
          perform pg_advisory_xact_lock(lock_of_card(new.source_card_id));
        end if;
        perform pg_advisory_xact_lock_shared(lock_of_card(new.card_id));
        if new.source_card_id > new.card_id then
          perform pg_advisory_xact_lock(lock_of_card(new.source_card_id));
        end if;
        broken := case
          when exists (select from blocked_cards where card_id = new.card_id) then ${sql.lit(A_BLOCKED_CARD_TAKES_NOTHING)}
          when new.source_card_id is null then null
          when not exists (select from blocked_cards where card_id = new.source_card_id) then ${sql.lit(A_SOURCE_IS_BLOCKED)}
          when new.amount_minor > movable_minor(new.source_card_id, new.currency, counted)
            -- Only payments of that very card that are open may be counted,
            or cardinality(counted) <> (select count(*) from card_operations paid where paid.payment_id = any (counted)
              and paid.card_id = new.source_card_id and paid.currency = new.currency and paid.kind = 'pay' and paid.state in ('INTENT', 'EXPIRED'))
            -- and each once, but for a load that is proved to have moved nothing.
            or exists (select from card_operations other where other.source_card_id = new.source_card_id
              and other.state in ('INTENT', 'DONE') and other.counted_as_not_debited && counted) then ${sql.lit(A_SOURCE_HOLDS_THE_AMOUNT)}
        end;
      end if;
      if broken is not null then
        raise exception using errcode = 'integrity_constraint_violation', table = tg_table_name, constraint = broken, message = format('operation %s refused: %s', new.payment_id, broken);
      end if;
      return new;
    end $$`,
  sql`create trigger an_intent_is_admitted before insert on card_operations for each row execute function admit_intent()`,
];

/** As before, and a transfer is between exactly the two accounts that its operation moves. */
const books = sql`
  create or replace function require_books() returns trigger language plpgsql as $$
  declare
    operation card_operations := (select stored from card_operations stored where stored.payment_id = new.payment_id);
    is_moved boolean := operation.kind <> 'issue' and operation.state in ('DONE', 'REFUND_DUE');
    card text := 'card:' || operation.card_id;
    debited text := case when operation.kind = 'pay' then card when operation.kind = 'refund' then 'refunds' else coalesce('card:' || operation.source_card_id, 'cash') end;
    credited text := case when operation.kind <> 'pay' then card when operation.state = 'REFUND_DUE' then 'refunds' else 'shop:' || operation.shop_id end;
  begin
    if (select count(*) from transfers moved where moved.payment_id = operation.payment_id) <> is_moved::int
      or exists (select from transfers moved where moved.payment_id = operation.payment_id
        and (moved.debit_account, moved.credit_account, moved.amount_minor, moved.currency) is distinct from (debited, credited, operation.amount_minor, operation.currency)) then
      raise exception using errcode = 'integrity_constraint_violation', table = tg_table_name, constraint = tg_name, message = format('the ledger does not fit operation %s', operation.payment_id);
    end if;
    if operation.notice is not null and not exists (select from notices owed
      where owed.payment_id = operation.payment_id and (owed.shop_id, owed.bill_id, owed.jws) = (operation.shop_id, operation.bill_id, operation.notice)) then
      raise exception using errcode = 'integrity_constraint_violation', table = tg_table_name, constraint = tg_name, message = format('the notice of operation %s is not owed', operation.payment_id);
    end if;
    return null;
  end $$`;

export const cardAccounts: Migration = {
  up: async (db) => {
    for (const statement of [columns, ...oldRows, ...shapes, lockOfCard, ...blocks, movable, ...intents, books]) await statement.execute(db);
  },
};
