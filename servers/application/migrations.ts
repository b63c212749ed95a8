/**
 * The application server's tables, and the law that the database itself keeps even where our code has a bug (payment-rules 1 to 9, 11).
 * A migration that has run somewhere is never edited; a new one follows it.
 * Times are epoch milliseconds in bigint: the very integers that the code compares and signs, without time zones or rounding between.
 */
import { sql, type Migration } from 'kysely';
import { cardAccounts } from './migration-card-accounts.ts';

export const APPLICATION_DATABASE = 'kessai_application';

/** Names of unique indexes; the store tells by them who was first. */
export const ONE_ATTEMPT_HOLDS_A_BILL = 'one_attempt_holds_a_bill';
export const ONE_UNRESOLVED_A_CARD = 'one_unresolved_a_card';

/** Fails the statement; the trigger's name says which rule it breaks. */
const refuse = sql`
  create function refuse() returns trigger language plpgsql as $$
  begin
    raise exception using errcode = 'integrity_constraint_violation', table = tg_table_name, constraint = tg_name,
      message = format('%s of %s refused: %s', lower(tg_op), tg_table_name, tg_name);
  end $$`;

/** An operation has a card's log record, so its ids are spelled one way only: another spelling would be another card to the index. */
const cardOperations = sql`
  create table card_operations (
    payment_id text primary key,
    position bigint not null generated always as identity,
    kind text not null check (kind in ('pay', 'load', 'refund', 'issue')),
    state text not null default 'INTENT' check (state in ('INTENT', 'DONE', 'ABORTED', 'EXPIRED', 'CLOSED', 'REFUND_DUE')),
    card_id text not null check (card_id ~ '^[0-9A-F]{14}$'),
    operation_id text not null constraint one_attempt_an_operation_id unique check (operation_id ~ '^[0-9A-F]{16}$'),
    amount_minor bigint not null,
    currency text not null check (currency ~ '^[A-Z]{3}$'),
    shop_id text,
    bill_id text,
    bill_digest text,
    bill_expires_at bigint,
    session_id text not null,
    transaction_counter bigint check (transaction_counter >= 0),
    expected_tmi text not null,
    request text not null,
    written_at bigint not null,
    decided_at bigint,
    evidence jsonb,
    notice text,
    constraint a_payment_has_a_bill check (num_nulls(shop_id, bill_id, bill_digest, bill_expires_at) = case kind when 'pay' then 0 else 4 end),
    constraint only_issuing_moves_nothing check (case kind when 'issue' then amount_minor = 0 else amount_minor between 1 and 2147483647 end),
    constraint an_intent_is_undecided check (num_nonnulls(decided_at, evidence) = case state when 'INTENT' then 0 else 2 end),
    constraint decided_by_proof check (coalesce(case state
      when 'INTENT' then true
      when 'DONE' then evidence->>'by' in ('notice', 'reading', 'issuing')
      when 'ABORTED' then evidence->>'by' = 'reading'
      when 'EXPIRED' then evidence->>'by' = 'clock'
      when 'CLOSED' then evidence->>'by' in ('reading', 'clock')
      when 'REFUND_DUE' then evidence->>'by' in ('notice', 'reading')
    end, false)),
    constraint the_shop_hears_outcomes check ((notice is not null) = (kind = 'pay' and state not in ('INTENT', 'ABORTED')))
  )`;

/** Rule 2 before rule 3: where an INTENT breaks both, the index made first reports it. */
const indexes = [
  // Rules 2 and 9: an attempt that is not proved to have failed, and one that the shop has heard of, keep every other away.
  sql`create unique index ${sql.ref(ONE_ATTEMPT_HOLDS_A_BILL)} on card_operations (shop_id, bill_id) where state in ('INTENT', 'DONE', 'EXPIRED', 'CLOSED', 'REFUND_DUE')`,
  // Rule 3.
  sql`create unique index ${sql.ref(ONE_UNRESOLVED_A_CARD)} on card_operations (card_id) where state in ('INTENT', 'EXPIRED')`,
  sql`create index attempts_of_a_bill on card_operations (shop_id, bill_id, position)`,
  sql`create index ended_by_the_clock on card_operations (bill_expires_at) where state in ('INTENT', 'ABORTED')`,
];

const operationTriggers = [
  sql`create trigger an_operation_begins_as_intent before insert on card_operations for each row when (new.state <> 'INTENT') execute function refuse()`,
  sql`create trigger only_lawful_transitions before update on card_operations for each row
    when ((old.state, new.state) not in (('INTENT', 'DONE'), ('INTENT', 'ABORTED'), ('INTENT', 'EXPIRED'), ('ABORTED', 'CLOSED'), ('EXPIRED', 'CLOSED'), ('EXPIRED', 'REFUND_DUE')))
    execute function refuse()`,
  sql`create trigger an_intent_never_changes before update of payment_id, position, kind, card_id, operation_id, amount_minor, currency, shop_id, bill_id, bill_digest, bill_expires_at,
    session_id, transaction_counter, expected_tmi, request, written_at on card_operations for each statement execute function refuse()`,
  sql`create trigger operations_are_kept before delete or truncate on card_operations for each statement execute function refuse()`,
];

/** Double entry by its shape; one transfer an operation. */
const transfers = [
  sql`
    create table transfers (
      payment_id text primary key references card_operations,
      debit_account text not null check (debit_account in ('cards', 'cash', 'refunds') or debit_account like 'shop:_%'),
      credit_account text not null check (credit_account in ('cards', 'cash', 'refunds') or credit_account like 'shop:_%'),
      amount_minor bigint not null check (amount_minor > 0),
      currency text not null,
      check (debit_account <> credit_account)
    )`,
  sql`create index debits_of_an_account on transfers (debit_account, currency) include (amount_minor)`,
  sql`create index credits_of_an_account on transfers (credit_account, currency) include (amount_minor)`,
  sql`create trigger the_ledger_only_grows before update or delete or truncate on transfers for each statement execute function refuse()`,
];

const notices = [
  sql`
    create table notices (
      notice_id text primary key,
      position bigint not null generated always as identity,
      payment_id text not null references card_operations,
      shop_id text not null,
      bill_id text not null,
      jws text not null,
      attempts integer not null default 0 check (attempts >= 0),
      next_attempt_at bigint not null,
      acknowledged_at bigint
    )`,
  sql`create index notices_still_owed on notices (next_attempt_at) where acknowledged_at is null`,
  sql`create index notices_of_a_payment on notices (payment_id)`,
  sql`create trigger a_notice_never_changes before update of notice_id, position, payment_id, shop_id, bill_id, jws on notices for each statement execute function refuse()`,
  sql`create trigger notices_are_kept before delete or truncate on notices for each statement execute function refuse()`,
];

/**
 * Looked at when the transaction commits: an outcome that moves money has its transfer, of its amount, and one that the shop hears
 * has its notice. No other operation has a transfer. Because an outcome is final, transfer and decision are so in one commit.
 */
const books = [
  sql`
    create function require_books() returns trigger language plpgsql as $$
    declare
      operation card_operations := (select stored from card_operations stored where stored.payment_id = new.payment_id);
      is_moved boolean := operation.kind <> 'issue' and operation.state in ('DONE', 'REFUND_DUE');
    begin
      if (select count(*) from transfers moved where moved.payment_id = operation.payment_id) <> is_moved::int
        or exists (select from transfers moved where moved.payment_id = operation.payment_id and (moved.amount_minor, moved.currency) <> (operation.amount_minor, operation.currency)) then
        raise exception using errcode = 'integrity_constraint_violation', table = tg_table_name, constraint = tg_name, message = format('the ledger does not fit operation %s', operation.payment_id);
      end if;
      if operation.notice is not null and not exists (select from notices owed
        where owed.payment_id = operation.payment_id and (owed.shop_id, owed.bill_id, owed.jws) = (operation.shop_id, operation.bill_id, operation.notice)) then
        raise exception using errcode = 'integrity_constraint_violation', table = tg_table_name, constraint = tg_name, message = format('the notice of operation %s is not owed', operation.payment_id);
      end if;
      return null;
    end $$`,
  sql`create constraint trigger a_decision_keeps_the_books after update on card_operations deferrable initially deferred for each row execute function require_books()`,
  sql`create constraint trigger a_transfer_has_its_decision after insert on transfers deferrable initially deferred for each row execute function require_books()`,
];

export const applicationMigrations: Readonly<Record<string, Migration>> = {
  '001-operations-ledger-notices': {
    up: async (db) => {
      for (const statement of [refuse, cardOperations, ...indexes, ...operationTriggers, ...transfers, ...notices, ...books]) await statement.execute(db);
    },
  },
  '002-card-accounts': cardAccounts,
};
