import { sql } from 'kysely';
import { beforeAll, describe, expect, test } from 'vitest';
import { useFreshDatabase } from '../shared/database-for-tests.ts';
import { openDatabase, type Database } from '../shared/database.ts';
import { createLog } from '../shared/log.ts';
import { applicationMigrations } from './migrations.ts';
import { createPostgresApplicationStore, type ApplicationSchema } from './postgres-store.ts';
import { newBlock, newDecision, newLoad, newPayment } from './store.fixture.ts';
import type { ApplicationStore, Intent } from './store.ts';

const log = createLog({ name: 'test', level: 'silent' });
const FIRST = '001-operations-ledger-notices';

describe('books that were begun before each card had its account', () => {
  const url = useFreshDatabase();
  let store: ApplicationStore;
  let database: Database<ApplicationSchema>;
  const [one, other] = ['04111111111111', '04222222222222'];

  beforeAll(async () => {
    const old = await openDatabase<ApplicationSchema>({ url: url(), migrations: { [FIRST]: applicationMigrations[FIRST]! }, log });
    const insert = (paymentId: string, kind: string, cardId: string, amountMinor: number, operationId: string) =>
      sql`insert into card_operations (payment_id, kind, card_id, operation_id, amount_minor, currency, shop_id, bill_id, bill_digest, bill_expires_at, session_id, transaction_counter, expected_tmi, request, written_at)
        values (${paymentId}, ${kind}, ${cardId}, ${operationId}, ${amountMinor}, 'JPY', ${kind === 'pay' ? 'shop' : null}, ${kind === 'pay' ? paymentId : null}, ${kind === 'pay' ? 'digest' : null}, ${kind === 'pay' ? 5n : null}, 's', 1, 'AA', 'r', 1)`;
    const decide = (paymentId: string, state: string, evidence: string, debit?: string, credit?: string) => [
      sql`update card_operations set state = ${state}, decided_at = 2, evidence = ${evidence}, notice = case when kind = 'pay' and state <> 'ABORTED' and ${state} <> 'ABORTED' then coalesce(notice, 'acn') end where payment_id = ${paymentId}`,
      ...(debit === undefined ? [] : [sql`insert into transfers select payment_id, ${debit}, ${credit}, amount_minor, currency from card_operations where payment_id = ${paymentId}`]),
      sql`insert into notices (notice_id, payment_id, shop_id, bill_id, jws, next_attempt_at) select payment_id, payment_id, shop_id, bill_id, notice, 1 from card_operations where payment_id = ${paymentId} and notice is not null on conflict do nothing`,
    ];
    const READING = '{"by": "reading", "sessionId": "x", "newestOperationId": "0000000000000003", "transactionCounter": 2, "balanceMinor": "9007199254740993"}';
    const PCN = '{"by": "notice", "transactionCounter": 2, "transactionMac": "0011223344556677", "statement": null, "consent": null}';
    await old.durably(async (transaction) => {
      for (const statement of [
        insert('issued', 'issue', one, 0, '0000000000000000'), ...decide('issued', 'DONE', '{"by": "issuing", "customerId": "c"}'),
        insert('loaded', 'load', one, 100, '0000000000000001'), ...decide('loaded', 'DONE', PCN, 'cash', 'cards'),
        insert('loaded too', 'load', other, 50, '0000000000000002'), ...decide('loaded too', 'DONE', PCN, 'cash', 'cards'),
        insert('paid', 'pay', one, 30, '0000000000000003'), ...decide('paid', 'DONE', READING, 'cards', 'shop:shop'),
        insert('paid late', 'pay', other, 7, '0000000000000004'), ...decide('paid late', 'EXPIRED', '{"by": "clock", "at": 1}'), ...decide('paid late', 'REFUND_DUE', PCN, 'cards', 'refunds'),
        insert('refunded', 'refund', other, 7, '0000000000000005'), ...decide('refunded', 'DONE', PCN, 'refunds', 'cards'),
        insert('aborted', 'pay', other, 8, '0000000000000007'), ...decide('aborted', 'ABORTED', READING),
        insert('open', 'pay', one, 9, '0000000000000006'),
      ]) await statement.execute(transaction);
    });
    await old.close();
    database = await openDatabase<ApplicationSchema>({ url: url(), migrations: applicationMigrations, log });
    store = createPostgresApplicationStore(database);
    return () => database.close();
  });

  test('say of each card what was moved by its operations, and nothing of all cards together', async () => {
    expect(await store.bookedCard(one, 'JPY')).toEqual({ block: null, ledgerMinor: 70n, movableMinor: 61n });
    expect(await store.bookedCard(other, 'JPY')).toEqual({ block: null, ledgerMinor: 50n, movableMinor: 50n });
    expect(await Promise.all((['cash', 'refunds', 'shop:shop'] as const).map((account) => store.balanceOf(account, 'JPY')))).toEqual([-150n, 0n, 30n]);
    const { rows } = await sql`select from transfers where 'cards' in (debit_account, credit_account)`.execute(database.read);
    expect(rows).toEqual([]);
  });

  test('keep every operation as it was; keys were of version 1, and no reading’s transaction MAC was kept', async () => {
    expect(await store.find('issued')).toMatchObject({ kind: 'issue', state: 'DONE', keyVersion: null, source: null, evidence: { by: 'issuing', customerId: 'c' } });
    expect(await store.find('paid')).toMatchObject({ state: 'DONE', keyVersion: 1, notice: 'acn', evidence: { by: 'reading', newestOperationId: '0000000000000003', transactionMac: '', balanceMinor: 9_007_199_254_740_993n } });
    expect(await store.find('loaded')).toMatchObject({ state: 'DONE', keyVersion: 1, source: null, evidence: { by: 'notice', transactionMac: '0011223344556677' } });
  });

  test('are closed again: nothing that never changes can be changed', async () => {
    const refused = (statement: ReturnType<typeof sql>) => database.durably((transaction) => statement.execute(transaction)).then(() => null, (error: unknown) => (error as { constraint: string }).constraint);
    expect(await refused(sql`update transfers set debit_account = debit_account`)).toBe('the_ledger_only_grows');
    expect(await refused(sql`update card_operations set key_version = 2 where state = 'INTENT'`)).toBe('an_intent_never_changes');
    expect(await refused(sql`update card_operations set evidence = evidence where payment_id = 'paid'`)).toBe('only_lawful_transitions');
    expect(await refused(sql`update card_operations set state = 'DONE', decided_at = 1, evidence = '{"by": "notice"}', notice = 'n' where payment_id = 'open'`)).toBe('a_decision_keeps_the_books');
    const { rows } = await sql`select tgname from pg_trigger where not tgisinternal and tgenabled <> 'O'`.execute(database.read);
    expect(rows).toEqual([]);
  });

  test('go on: what was open is decided on its card', async () => {
    const open = (await store.find('open'))!;
    expect(await store.decide(newDecision(open, 'DONE'))).toBe(true);
    expect(await store.bookedCard(one, 'JPY')).toEqual({ block: null, ledgerMinor: 61n, movableMinor: 61n });
    expect(await store.writeIntent(newPayment({ cardId: one }))).toBe('written');
  });
});

describe('who comes at the same time', () => {
  const url = useFreshDatabase();
  let database: Database<ApplicationSchema>;
  let store: ApplicationStore;
  beforeAll(async () => {
    database = await openDatabase<ApplicationSchema>({ url: url(), migrations: applicationMigrations, log });
    store = createPostgresApplicationStore(database);
    return () => database.close();
  });

  /** Does `work` in a transaction that stays open, with all its locks, until `end`. */
  const hold = async <T>(work: (store: ApplicationStore) => Promise<T>): Promise<{ said: Promise<T>; end: () => void }> => {
    let end = (): void => undefined;
    const ended = new Promise<void>((resolve) => (end = resolve));
    let said: Promise<T> | undefined;
    await new Promise<void>((resolve, reject) => {
      const durably: Database<ApplicationSchema>['durably'] = (change, how) =>
        database.durably(async (transaction) => {
          const result = await change(transaction);
          resolve();
          await ended;
          return result;
        }, how);
      said = work(createPostgresApplicationStore({ ...database, durably }));
      said.catch(reject);
    });
    return { said: said!, end };
  };
  const isAnybodyWaiting = async (): Promise<boolean> => {
    const { rows } = await sql`select from pg_locks where locktype = 'advisory' and not granted and database = (select oid from pg_database where datname = current_database())`.execute(database.read);
    return rows.length > 0;
  };
  /** The second begins when the first has done its part, and must wait until the first has committed. */
  const inTurn = async <A, B>(first: (store: ApplicationStore) => Promise<A>, second: (store: ApplicationStore) => Promise<B>): Promise<[A, B]> => {
    const held = await hold(first);
    let isOver = false as boolean; // changed below, by a promise
    const later = second(store).finally(() => (isOver = true));
    while (!isOver && !(await isAnybodyWaiting()));
    expect(isOver, 'it did not wait').toBe(false);
    held.end();
    return Promise.all([held.said, later]);
  };
  const loadedCard = async (amountMinor: bigint): Promise<string> => {
    const load = newLoad({ amountMinor });
    await store.writeIntent(load);
    await store.decide(newDecision(load, 'DONE'));
    return load.cardId;
  };
  const lostCard = async (amountMinor: bigint): Promise<string> => {
    const cardId = await loadedCard(amountMinor);
    await store.blockCard(newBlock(cardId));
    return cardId;
  };
  const replacing = (cardId: string, amountMinor: bigint, counted: readonly Intent[] = []): Intent => newLoad({ amountMinor, source: { cardId, countedAsNotDebited: counted.map(({ paymentId }) => paymentId) } });

  test('rule 20: an INTENT waits for a block that is being written, and is refused', async () => {
    const cardId = await loadedCard(10n);
    const payment = newPayment({ cardId });
    const [, said] = await inTurn((first) => first.blockCard(newBlock(cardId)), (second) => second.writeIntent(payment));
    expect(said).toBe('card-blocked');
    expect(await store.unresolvedOf(cardId)).toEqual([]);
  });

  test('rule 20: a block waits for an INTENT that is being written, and whoever then looks at the books sees it', async () => {
    const cardId = await loadedCard(10n);
    const [said, booked] = await inTurn(
      (first) => first.writeIntent(newPayment({ cardId, amountMinor: 4n })),
      (second) => second.blockCard(newBlock(cardId)).then(() => second.bookedCard(cardId, 'JPY')),
    );
    expect(said).toBe('written');
    expect(booked).toMatchObject({ ledgerMinor: 10n, movableMinor: 6n });
  });

  test('a lost card’s value is taken once: the second load waits for the first, and sees what it took', async () => {
    const cardId = await lostCard(10n);
    expect(await inTurn((first) => first.writeIntent(replacing(cardId, 6n)), (second) => second.writeIntent(replacing(cardId, 6n)))).toEqual(['written', 'source-too-low']);
    expect(await store.bookedCard(cardId, 'JPY')).toMatchObject({ ledgerMinor: 10n, movableMinor: 4n });
  });

  test('an open payment is counted as not debited once: the second load waits for the first', async () => {
    const cardId = await loadedCard(10n);
    const payment = newPayment({ cardId, amountMinor: 4n });
    await store.writeIntent(payment);
    await store.blockCard(newBlock(cardId));
    expect(await inTurn((first) => first.writeIntent(replacing(cardId, 1n, [payment])), (second) => second.writeIntent(replacing(cardId, 1n, [payment])))).toEqual(['written', 'source-too-low']);
  });

  test('a load whose own card is being blocked waits, is refused, and takes nothing', async () => {
    const cardId = await lostCard(10n);
    const load = replacing(cardId, 6n);
    const [, said] = await inTurn((first) => first.blockCard(newBlock(load.cardId)), (second) => second.writeIntent(load));
    expect(said).toBe('card-blocked');
    expect(await store.bookedCard(cardId, 'JPY')).toMatchObject({ movableMinor: 10n });
  });

  test('a decision that is being written is seen as open until it is there, never as neither', async () => {
    const cardId = await loadedCard(10n);
    const payment = newPayment({ cardId, amountMinor: 4n });
    await store.writeIntent(payment);
    await store.blockCard(newBlock(cardId));
    const held = await hold((first) => first.decide(newDecision(payment, 'DONE')));
    expect(await store.writeIntent(replacing(cardId, 7n))).toBe('source-too-low');
    held.end();
    await held.said;
    expect(await store.writeIntent(replacing(cardId, 7n))).toBe('source-too-low');
    expect(await store.writeIntent(replacing(cardId, 6n))).toBe('written');
  });

  test('payments with other cards, and two payments with one, do not wait for each other’s cards', async () => {
    const [cardId, other] = [await loadedCard(10n), await loadedCard(10n)];
    const held = await hold((first) => first.writeIntent(newPayment({ cardId })));
    expect(await store.writeIntent(newPayment({ cardId: other }))).toBe('written');
    expect(await store.writeIntent(replacing(await lostCard(1n), 1n))).toBe('written');
    held.end();
    expect(await held.said).toBe('written');
  });

  test('loads crosswise between lost cards end, and no INTENT is written where it could not see a block', async () => {
    const [one, other] = [await lostCard(10n), await lostCard(10n)];
    const crosswise = Array.from({ length: 12 }, (_, turn) => store.writeIntent({ ...replacing(turn % 2 === 0 ? one : other, 1n), cardId: turn % 2 === 0 ? other : one }));
    expect(new Set(await Promise.all(crosswise))).toEqual(new Set(['card-blocked']));
    const blind = createPostgresApplicationStore({ ...database, durably: (work) => database.durably(work, { isolation: 'serializable' }) });
    await expect(blind.writeIntent(newPayment())).rejects.toMatchObject({ constraint: 'an_intent_sees_what_is_committed' });
  });
});
