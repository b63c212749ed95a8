import { sql, type RawBuilder } from 'kysely';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { useFreshDatabase } from '../shared/database-for-tests.ts';
import { openDatabase, type Database } from '../shared/database.ts';
import { createLog } from '../shared/log.ts';
import { applicationMigrations } from './migrations.ts';
import { createPostgresApplicationStore, type ApplicationSchema } from './postgres-store.ts';
import { newBlock, newDecision, newIssue, newLoad, newPayment, PATH_TO } from './store.fixture.ts';
import { TRANSITIONS, type Account, type ApplicationStore, type Decision, type Evidence, type Intent, type OperationState } from './store.ts';

const STATES = Object.keys(TRANSITIONS) as OperationState[];
const LOST = '04AAAAAAAAAAAA';
const url = useFreshDatabase();
let database: Database<ApplicationSchema>;
let store: ApplicationStore;

beforeAll(async () => {
  database = await openDatabase<ApplicationSchema>({ url: url(), migrations: applicationMigrations, log: createLog({ name: 'test', level: 'silent' }) });
  store = createPostgresApplicationStore(database);
  await store.writeIntent(newPayment({ paymentId: 'twice', operationId: '0000000000000001' }));
  await reach(newLoad({ cardId: LOST, amountMinor: 5n }), 'DONE');
  await store.blockCard(newBlock(LOST));
});
afterAll(() => database.close());

const run = (...statements: RawBuilder<unknown>[]): Promise<void> =>
  database.durably(async (transaction) => {
    for (const statement of statements) await statement.execute(transaction);
  });

async function reach<I extends Intent>(intent: I, state: OperationState): Promise<I> {
  expect(await store.writeIntent(intent)).toBe('written');
  for (const to of PATH_TO[state]) expect(await store.decide(newDecision(intent, to))).toBe(true);
  return intent;
}

/** Evidence and notice that fit the state, so that only the transition itself can be refused. */
function forceState({ paymentId, bill }: Intent, to: OperationState): RawBuilder<unknown>[] {
  const by = { INTENT: null, DONE: 'notice', ABORTED: 'reading', EXPIRED: 'clock', CLOSED: 'clock', REFUND_DUE: 'reading' }[to];
  const evidence = by === null ? null : JSON.stringify({ by, balanceMinor: null });
  const notice = bill !== null && to !== 'INTENT' && to !== 'ABORTED' ? 'forced' : null;
  const forced = [sql`update card_operations set state = ${to}, evidence = ${evidence}, decided_at = ${evidence === null ? null : 1n}, notice = ${notice} where payment_id = ${paymentId}`];
  if (to === 'DONE' || to === 'REFUND_DUE') forced.push(sql`insert into transfers select payment_id, 'card:' || card_id, case state when 'DONE' then 'shop:' || shop_id else 'refunds' end, amount_minor, currency from card_operations where payment_id = ${paymentId}`);
  if (notice !== null) forced.push(sql`insert into notices (notice_id, payment_id, shop_id, bill_id, jws, next_attempt_at) select payment_id || '/forced', payment_id, shop_id, bill_id, notice, 1 from card_operations where payment_id = ${paymentId}`);
  return forced;
}

describe('the database itself', () => {
  test.each(STATES.flatMap((from) => STATES.map((to) => ({ from, to }))))('allows exactly the transitions of the table: from $from to $to', async ({ from, to }) => {
    const intent = await reach(newPayment(), from);
    const before = await store.find(intent.paymentId);
    const forced = run(...forceState(intent, to));
    if (TRANSITIONS[from].includes(to)) {
      await forced;
      expect((await store.find(intent.paymentId))?.state).toBe(to);
    } else {
      await expect(forced).rejects.toMatchObject({ code: '23000', constraint: 'only_lawful_transitions' });
      expect(await store.find(intent.paymentId)).toEqual(before);
    }
  });

  const columns = 'payment_id, position, kind, card_id, operation_id, amount_minor, currency, shop_id, bill_id, bill_digest, bill_expires_at, session_id, transaction_counter, expected_tmi, request, written_at, key_version, source_card_id, counted_as_not_debited';
  test.each(columns.split(', '))('never changes the %s of an operation, not even on the way to another state', async (column) => {
    await reach(newPayment(), 'INTENT');
    const value = column === 'position' ? sql`default` : sql.ref(column);
    await expect(run(sql`update card_operations set state = 'ABORTED', ${sql.ref(column)} = ${value}`)).rejects.toMatchObject({ constraint: 'an_intent_never_changes' });
  });

  test('lists every column either as never changed or as part of a decision', async () => {
    const { rows } = await sql<{ name: string }>`select column_name as name from information_schema.columns where table_name = 'card_operations' order by ordinal_position`.execute(database.read);
    expect(rows.map(({ name }) => name).filter((name) => !columns.split(', ').includes(name))).toEqual(['state', 'decided_at', 'evidence', 'notice']);
  });

  const insert = (otherwise: Readonly<Record<string, unknown>>): Promise<void> =>
    run(sql`insert into card_operations overriding user value
      select (jsonb_populate_record(stored, ${JSON.stringify(otherwise)}::jsonb)).* from card_operations stored where kind = 'pay' limit 1`);
  const fresh = (intent: Intent) => ({ payment_id: intent.paymentId, operation_id: intent.operationId, card_id: intent.cardId, shop_id: 'shop', bill_id: intent.bill?.billId ?? null, state: 'INTENT', decided_at: null, evidence: null, notice: null });

  test('takes what is in order (so that the refusals below are refusals of what they say)', async () => {
    await reach(newPayment(), 'INTENT');
    await insert(fresh(newPayment()));
  });

  test.each([
    ['a second payment id', { payment_id: 'twice' }, 'card_operations_pkey'],
    ['a second operation id', { operation_id: '0000000000000001' }, 'one_attempt_an_operation_id'],
    ['an unknown kind', { kind: 'gift', shop_id: null, bill_id: null, bill_digest: null, bill_expires_at: null }, 'card_operations_kind_check'],
    ['an unknown state', { state: 'PERHAPS' }, 'an_operation_begins_as_intent'],
    ['a beginning as DONE', { state: 'DONE', decided_at: 1, evidence: { by: 'notice' }, notice: 'n' }, 'an_operation_begins_as_intent'],
    ['an INTENT with evidence', { evidence: { by: 'notice' } }, 'an_intent_is_undecided'],
    ['an INTENT with a notice', { notice: 'n' }, 'the_shop_hears_outcomes'],
    ['a payment of nothing', { amount_minor: 0 }, 'only_issuing_moves_nothing'],
    ['a negative payment', { amount_minor: -1 }, 'only_issuing_moves_nothing'],
    ['more than a card can hold', { amount_minor: 2_147_483_648 }, 'only_issuing_moves_nothing'],
    ['a payment without a bill', { shop_id: null, bill_id: null, bill_digest: null, bill_expires_at: null }, 'a_payment_has_a_bill'],
    ['half a bill', { bill_digest: null }, 'a_payment_has_a_bill'],
    ['a load with a bill', { kind: 'load', key_version: 1 }, 'a_payment_has_a_bill'],
    ['an issue with an amount', { kind: 'issue', key_version: null, shop_id: null, bill_id: null, bill_digest: null, bill_expires_at: null }, 'only_issuing_moves_nothing'],
    ['another spelling of a card', { card_id: '04abcdef000000' }, 'card_operations_card_id_check'],
    ['another spelling of an operation', { operation_id: 'abcdef0000000000' }, 'card_operations_operation_id_check'],
    ['a negative counter', { transaction_counter: -1 }, 'card_operations_transaction_counter_check'],
    ['a payment without key version', { key_version: null }, 'only_issuing_has_no_key_version'],
    ['the key version of the factory', { key_version: 0 }, 'card_operations_key_version_check'],
    ['an issue with a key version', { kind: 'issue', amount_minor: 0, shop_id: null, bill_id: null, bill_digest: null, bill_expires_at: null }, 'only_issuing_has_no_key_version'],
    ['a payment that takes from a lost card', { source_card_id: LOST, counted_as_not_debited: [], amount_minor: 1 }, 'only_a_load_has_a_source'],
    ['a load that takes from a card in use', { source_card_id: '04000000000000', counted_as_not_debited: [] }, 'a_source_is_blocked'],
    ['a load that takes more than a lost card holds', { source_card_id: LOST, counted_as_not_debited: [], amount_minor: 6 }, 'a_source_holds_the_amount'],
    ['a source of which it is not said what is counted', { kind: 'load', amount_minor: 1, source_card_id: LOST, shop_id: null, bill_id: null, bill_digest: null, bill_expires_at: null }, 'only_a_source_is_counted_on'],
    ['a count without a source', { counted_as_not_debited: [] }, 'only_a_source_is_counted_on'],
    ['anything on a lost card', { card_id: LOST }, 'a_blocked_card_takes_nothing'],
    ['another spelling of a currency', { currency: 'yen' }, 'card_operations_currency_check'],
  ])('refuses %s', async (_what, otherwise, constraint) => {
    await expect(insert({ ...fresh(newPayment()), ...otherwise })).rejects.toMatchObject({ constraint });
  });

  test('refuses a second open attempt for a bill and a second unresolved operation on a card, whoever asks', async () => {
    const { bill, cardId } = await reach(newPayment(), 'INTENT');
    await expect(insert({ ...fresh(newPayment()), bill_id: bill.billId })).rejects.toMatchObject({ constraint: 'one_attempt_holds_a_bill' });
    await expect(insert({ ...fresh(newPayment()), card_id: cardId })).rejects.toMatchObject({ constraint: 'one_unresolved_a_card' });
  });

  test.each([
    ['forgets no operation', sql`delete from card_operations`, 'operations_are_kept'],
    ['forgets not all operations', sql`truncate card_operations cascade`, 'operations_are_kept'],
    ['changes no transfer', sql`update transfers set amount_minor = amount_minor`, 'the_ledger_only_grows'],
    ['forgets no transfer', sql`delete from transfers`, 'the_ledger_only_grows'],
    ['forgets not all transfers', sql`truncate transfers`, 'the_ledger_only_grows'],
    ['lifts no block', sql`delete from blocked_cards`, 'a_block_is_for_good'],
    ['lifts not all blocks', sql`truncate blocked_cards`, 'a_block_is_for_good'],
    ['changes no block', sql`update blocked_cards set blocked_at = blocked_at`, 'a_block_is_for_good'],
    ['changes no notice', sql`update notices set jws = jws`, 'a_notice_never_changes'],
    ['forgets no notice', sql`delete from notices`, 'notices_are_kept'],
    ['forgets not all notices', sql`truncate notices`, 'notices_are_kept'],
  ])('%s', async (_what, statement, constraint) => {
    await expect(run(statement)).rejects.toMatchObject({ constraint });
  });
});

describe('a decision that does not keep the books is undone as a whole', () => {
  const paid = newPayment({ amountMinor: 5n });
  const card = `card:${paid.cardId}` as const;
  const sum = { amountMinor: 5n, currency: 'JPY' } as const;
  const other = `card:${newLoad().cardId}` as const;
  const unlawful: [string, Intent, Decision['to'], Partial<Decision>, string][] = [
    ['DONE without a transfer', paid, 'DONE', { transfer: null }, 'a_decision_keeps_the_books'],
    ['a load without a transfer', newLoad(), 'DONE', { transfer: null }, 'a_decision_keeps_the_books'],
    ['another amount', paid, 'DONE', { transfer: { debit: card, credit: 'shop:shop', amountMinor: 6n, currency: 'JPY' } }, 'a_decision_keeps_the_books'],
    ['another currency', paid, 'DONE', { transfer: { debit: card, credit: 'shop:shop', amountMinor: 5n, currency: 'EUR' } }, 'a_decision_keeps_the_books'],
    ['a debit of another card', paid, 'DONE', { transfer: { debit: other, credit: 'shop:shop', ...sum } }, 'a_decision_keeps_the_books'],
    ['a credit of another shop', paid, 'DONE', { transfer: { debit: card, credit: 'shop:other', ...sum } }, 'a_decision_keeps_the_books'],
    ['paid, and refunded', paid, 'DONE', { transfer: { debit: card, credit: 'refunds', ...sum } }, 'a_decision_keeps_the_books'],
    ['a transfer of what was aborted', paid, 'ABORTED', { transfer: { debit: card, credit: 'shop:shop', ...sum } }, 'a_decision_keeps_the_books'],
    ['a transfer by issuing', newIssue(), 'DONE', { transfer: { debit: 'cash', credit: other, ...sum } }, 'a_decision_keeps_the_books'],
    ['a transfer of nothing', newIssue(), 'DONE', { transfer: { debit: 'cash', credit: other, amountMinor: 0n, currency: 'JPY' } }, 'transfers_amount_minor_check'],
    ['a transfer from an account to itself', paid, 'DONE', { transfer: { debit: card, credit: card, ...sum } }, 'transfers_check'],
    ['a transfer to no account', paid, 'DONE', { transfer: { debit: card, credit: 'shop:', ...sum } }, 'transfers_credit_account_check'],
    ['a transfer from no card', paid, 'DONE', { transfer: { debit: 'card:', credit: 'shop:shop', ...sum } }, 'transfers_debit_account_check'],
    ['a transfer from all cards', paid, 'DONE', { transfer: { debit: 'cards' as Account, credit: 'shop:shop', ...sum } }, 'transfers_debit_account_check'],
    ['DONE that the shop does not hear of', paid, 'DONE', { notice: null }, 'the_shop_hears_outcomes'],
    ['EXPIRED that the shop does not hear of', paid, 'EXPIRED', { notice: null }, 'the_shop_hears_outcomes'],
    ['a notice of what may be tried again', paid, 'ABORTED', { notice: { jws: 'n', shopId: 'shop', billId: 'b' } }, 'the_shop_hears_outcomes'],
    ['a notice to another shop', paid, 'DONE', { notice: { jws: 'n', shopId: 'other', billId: 'b' } }, 'a_decision_keeps_the_books'],
    ['a load that expires', newLoad(), 'EXPIRED', {}, 'only_a_payment_expires'],
    ['a load of a lost card\'s value that is taken from cash', newLoad({ amountMinor: 1n, source: { cardId: LOST, countedAsNotDebited: [] } }), 'DONE', { transfer: { debit: 'cash', credit: other, amountMinor: 1n, currency: 'JPY' } }, 'a_decision_keeps_the_books'],
  ];
  test.each(unlawful)('%s', async (_what, intent, to, otherwise, constraint) => {
    if ((await store.find(intent.paymentId)) === undefined) await reach(intent, 'INTENT');
    const look = async () => [await store.dueNotices(Number.MAX_SAFE_INTEGER, 1000), await sql`select * from transfers`.execute(database.read)];
    const before = await look();
    await expect(store.decide(newDecision(intent, to, otherwise))).rejects.toMatchObject({ constraint });
    expect((await store.find(intent.paymentId))?.state).toBe('INTENT');
    expect(await look()).toEqual(before);
  });

  test('a transfer beside a decision that was made before', async () => {
    const { paymentId } = await reach(newIssue(), 'DONE');
    await expect(run(sql`insert into transfers values (${paymentId}, 'cash', 'card:04000000000000', 1, 'JPY')`)).rejects.toMatchObject({ constraint: 'a_transfer_has_its_decision' });
    const settled = await reach(newPayment(), 'DONE');
    await expect(run(sql`insert into transfers values (${settled.paymentId}, ${`card:${settled.cardId}`}, 'shop:shop', ${settled.amountMinor}, 'JPY')`)).rejects.toMatchObject({ constraint: 'transfers_pkey' });
  });

  const clock: Evidence = { by: 'clock', at: 1 };
  const pcn: Evidence = { by: 'notice', transactionCounter: 1, transactionMac: '', statement: null, consent: null };
  test.each<[Decision['to'], Evidence]>([
    ['DONE', clock],
    ['ABORTED', clock],
    ['ABORTED', pcn],
    ['EXPIRED', pcn],
    ['DONE', {} as Evidence],
  ])('%s on evidence that does not prove it: %o', async (to, evidence) => {
    const intent = await reach(newPayment(), 'INTENT');
    await expect(store.decide(newDecision(intent, to, { evidence }))).rejects.toMatchObject({ constraint: 'decided_by_proof' });
  });
});

test('look-ups by card, bill, source and age use their indexes with prepared statements', async () => {
  const plan = (condition: RawBuilder<unknown>) =>
    database.relaxed(async (transaction) => {
      await sql`set local enable_seqscan = off`.execute(transaction);
      await sql`set local plan_cache_mode = force_generic_plan`.execute(transaction);
      const { rows } = await sql<{ 'QUERY PLAN': string }>`explain select * from card_operations where ${condition}`.execute(transaction);
      return rows.map((row) => row['QUERY PLAN']).join('\n');
    });
  expect(await plan(sql`card_id = ${'x'} and state in ('INTENT', 'EXPIRED')`)).toContain('one_unresolved_a_card');
  expect(await plan(sql`shop_id = ${'x'} and bill_id = ${'y'} order by position`)).toContain('attempts_of_a_bill');
  expect(await plan(sql`source_card_id = ${'x'} and state = 'INTENT'`)).toContain('loads_that_take_from_a_card');
  expect(await plan(sql`bill_expires_at < ${1n} and state in ('INTENT', 'ABORTED')`)).toContain('ended_by_the_clock');
});
