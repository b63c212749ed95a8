import fc from 'fast-check';
import { afterAll, describe, expect, test } from 'vitest';
import { useFreshDatabase } from '../shared/database-for-tests.ts';
import { openDatabase, type Database } from '../shared/database.ts';
import { createLog } from '../shared/log.ts';
import { createMemoryApplicationStore } from './memory-store.ts';
import { applicationMigrations } from './migrations.ts';
import { createPostgresApplicationStore, type ApplicationSchema } from './postgres-store.ts';
import { describeApplicationStore } from './store.contract.ts';
import { newDecision, newIssue, newLoad, newNumber, newPayment } from './store.fixture.ts';
import { TRANSITIONS, type ApplicationStore, type Decision, type Intent, type OperationState } from './store.ts';

const log = createLog({ name: 'test', level: 'silent' });
const LATER_STATES = (Object.keys(TRANSITIONS) as OperationState[]).filter((state) => state !== 'INTENT');
const ANYTIME = Number.MAX_SAFE_INTEGER;

/** One database for a describe block, opened when first asked for. */
function useDatabase(): () => Promise<Database<ApplicationSchema>> {
  const url = useFreshDatabase();
  let opened: Promise<Database<ApplicationSchema>> | undefined;
  afterAll(async () => {
    await (await opened)?.close();
  });
  return () => (opened ??= openDatabase<ApplicationSchema>({ url: url(), migrations: applicationMigrations, log }));
}

const memory = createMemoryApplicationStore();
describeApplicationStore('the memory store', () => Promise.resolve(memory));

describe('on PostgreSQL', () => {
  const database = useDatabase();
  describeApplicationStore('the PostgreSQL store', async () => createPostgresApplicationStore(await database()));

  test('a straight payment is exactly two durable commits; acknowledging its notice is none', async () => {
    const { commits, ...rest } = await database();
    const store = createPostgresApplicationStore({ commits, ...rest });
    const before = { ...commits };
    const taken = (): object => ({ durable: commits.durable - before.durable, relaxed: commits.relaxed - before.relaxed });
    const intent = newPayment();
    await store.writeIntent(intent);
    expect(taken()).toEqual({ durable: 1, relaxed: 0 });
    await store.decide(newDecision(intent, 'DONE'));
    expect(taken()).toEqual({ durable: 2, relaxed: 0 });
    await store.markNotice(`${intent.paymentId}/DONE`, { acknowledgedAt: 1 });
    await store.find(intent.paymentId);
    await store.unresolvedOf(intent.cardId);
    await store.attemptsFor(intent.bill.shopId, intent.bill.billId);
    await store.overdue(ANYTIME, 1);
    await store.dueNotices(ANYTIME, 1);
    await store.balanceOf('cards', 'JPY');
    expect(taken()).toEqual({ durable: 2, relaxed: 1 });
  });
});

interface Model {
  readonly stores: readonly ApplicationStore[];
  readonly intents: Intent[];
  readonly noticeIds: string[];
}
type Command = (model: Model) => (store: ApplicationStore) => Promise<unknown>;

/** Few bills and cards, so that they meet; the names are new in every run. */
const commandArbitrary = (run: { readonly bills: readonly string[]; readonly cards: readonly string[] }): fc.Arbitrary<Command> => {
  const bill = fc.constantFrom(...run.bills).map((billId) => ({ shopId: 'property', billId, billDigest: `digest-${billId}`, expiresAt: 1000 + billId.length }));
  const cardId = fc.constantFrom(...run.cards);
  const amountMinor = fc.bigInt(1n, 0x7fff_ffffn);
  const intent = fc.oneof(
    { weight: 4, arbitrary: fc.record({ bill, cardId, amountMinor }).map((some) => newPayment(some)) },
    fc.record({ cardId, amountMinor }).map((some) => newLoad(some)),
    fc.constant(null).chain(() => cardId.map((some) => newIssue({ cardId: some }))),
  );
  const pick = fc.nat();
  const chosen = <T>(from: readonly T[], at: number): T | undefined => (from.length === 0 ? undefined : from[at % from.length]);
  const write = intent.map((some): Command => (model) => {
    model.intents.push(some);
    return (store) => store.writeIntent(some);
  });
  const decide = fc.record({ at: pick, to: fc.constantFrom(...(LATER_STATES as Decision['to'][])), decidedAt: fc.nat(10) }).map(({ at, to, decidedAt }): Command => (model) => {
    const target = chosen(model.intents, at);
    if (target === undefined) return () => Promise.resolve();
    const decision = newDecision(target, to, { decidedAt });
    model.noticeIds.push(`${target.paymentId}/${to}`);
    return (store) => store.decide(decision);
  });
  const mark = fc.record({ at: pick, mark: fc.oneof(fc.record({ acknowledgedAt: fc.nat(10) }), fc.record({ nextAttemptAt: fc.nat(10) })) }).map(({ at, mark: made }): Command => (model) => {
    const noticeId = chosen(model.noticeIds, at);
    return (store) => (noticeId === undefined ? Promise.resolve() : store.markNotice(noticeId, made));
  });
  return fc.oneof({ weight: 4, arbitrary: write }, { weight: 6, arbitrary: decide }, { weight: 1, arbitrary: mark });
};

describe('memory and PostgreSQL', () => {
  const database = useDatabase();

  test('answer the same to any commands, and look the same after them', async () => {
    const stores = [createMemoryApplicationStore(), createPostgresApplicationStore(await database())];
    const runs = fc.constant(null).chain(() => {
      const [bills, cards] = [[newNumber(), newNumber()], ['04', '04', '04'].map((prefix) => prefix + newLoad().cardId.slice(2))];
      return fc.record({ bills: fc.constant(bills), cards: fc.constant(cards), commands: fc.array(commandArbitrary({ bills, cards }), { minLength: 5, maxLength: 40 }) });
    });
    const answers = new Set<unknown>();
    await fc.assert(
      fc.asyncProperty(runs, async ({ bills, cards, commands }) => {
        const model: Model = { stores, intents: [], noticeIds: [] };
        for (const command of commands) {
          const act = command(model);
          const [one, other] = await Promise.all(stores.map(act));
          expect(other).toEqual(one);
          answers.add(one);
        }
        const look = async (store: ApplicationStore) => ({
          found: await Promise.all(model.intents.map(({ paymentId }) => store.find(paymentId))),
          unresolved: await Promise.all(cards.map((cardId) => store.unresolvedOf(cardId))),
          attempts: await Promise.all(bills.map((billId) => store.attemptsFor('property', billId))),
          overdue: await store.overdue(ANYTIME, 1000),
          due: [await store.dueNotices(5, 1000), await store.dueNotices(ANYTIME, 7)],
          balances: await Promise.all((['cards', 'cash', 'refunds', 'shop:property'] as const).map((account) => store.balanceOf(account, 'JPY'))),
        });
        const [one, other] = await Promise.all(stores.map(look));
        expect(other).toEqual(one);
        expect(one!.balances.reduce((sum, balance) => sum + balance, 0n)).toBe(0n);
      }),
      { numRuns: 30, endOnFailure: true },
    );
    expect(answers).toEqual(new Set(['written', 'bill-taken', 'card-taken', true, false, undefined]));
  });
});
