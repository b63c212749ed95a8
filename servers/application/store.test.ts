import fc from 'fast-check';
import { afterAll, describe, expect, test } from 'vitest';
import { useFreshDatabase } from '../shared/database-for-tests.ts';
import { openDatabase, type Database } from '../shared/database.ts';
import { createLog } from '../shared/log.ts';
import { createMemoryApplicationStore } from './memory-store.ts';
import { applicationMigrations } from './migrations.ts';
import { createPostgresApplicationStore, type ApplicationSchema } from './postgres-store.ts';
import { describeCardAccounts } from './store-cards.contract.ts';
import { describeApplicationStore } from './store.contract.ts';
import { newBlock, newDecision, newIssue, newLoad, newNumber, newPayment } from './store.fixture.ts';
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
describeCardAccounts('the memory store, and cards', () => Promise.resolve(memory));

describe('on PostgreSQL', () => {
  const database = useDatabase();
  describeApplicationStore('the PostgreSQL store', async () => createPostgresApplicationStore(await database()));
  describeCardAccounts('the PostgreSQL store, and cards', async () => createPostgresApplicationStore(await database()));

  test('a straight payment is exactly two durable commits; acknowledging its notice is none', async () => {
    const { commits, ...rest } = await database();
    const store = createPostgresApplicationStore({ commits, ...rest });
    const before = { ...commits };
    const taken = (): object => ({ durable: commits.durable - before.durable, relaxed: commits.relaxed - before.relaxed });
    const intent = newPayment();
    expect(await store.writeIntent(intent)).toBe('written');
    expect(taken()).toEqual({ durable: 1, relaxed: 0 });
    expect(await store.decide(newDecision(intent, 'DONE'))).toBe(true);
    expect(taken()).toEqual({ durable: 2, relaxed: 0 });
    await store.markNotice(`${intent.paymentId}/DONE`, { acknowledgedAt: 1 });
    await store.find(intent.paymentId);
    await store.unresolvedOf(intent.cardId);
    await store.attemptsFor(intent.bill.shopId, intent.bill.billId);
    await store.overdue(ANYTIME, 1);
    await store.dueNotices(ANYTIME, 1);
    await store.bookedCard(intent.cardId, 'JPY');
    await store.findByOperationIds(intent.cardId, [intent.operationId]);
    await store.balanceOf(`card:${intent.cardId}`, 'JPY');
    expect(taken()).toEqual({ durable: 2, relaxed: 1 });
    await store.blockCard(newBlock(intent.cardId));
    expect(taken()).toEqual({ durable: 3, relaxed: 1 });
    expect(await store.writeIntent(newPayment({ cardId: intent.cardId }))).toBe('card-blocked');
    expect(taken()).toEqual({ durable: 3, relaxed: 1 });
  });
});

type Command =
  | { readonly write: 'pay' | 'load' | 'issue'; readonly bill: number; readonly card: number; readonly amountMinor: bigint }
  | { readonly replace: number; readonly by: number; readonly counted: readonly number[]; readonly amountMinor: bigint }
  | { readonly decide: number; readonly to: Decision['to']; readonly decidedAt: number }
  | { readonly block: number; readonly blockedAt: number }
  | { readonly mark: number; readonly as: { readonly acknowledgedAt: number } | { readonly nextAttemptAt: number } };

const card = fc.nat(3);
const operation = fc.nat(39);

/** Two bills and four cards, so that operations meet. */
const anyCommand: fc.Arbitrary<Command> = fc.oneof(
  { weight: 5, arbitrary: fc.record({ write: fc.constantFrom('pay', 'pay', 'pay', 'load', 'load', 'issue'), bill: fc.nat(1), card, amountMinor: fc.oneof(fc.bigInt(1n, 9n), fc.bigInt(1n, 0x7fff_ffffn)) }) },
  { weight: 3, arbitrary: fc.record({ replace: card, by: card, counted: fc.array(operation, { maxLength: 2 }), amountMinor: fc.bigInt(1n, 9n) }) },
  { weight: 7, arbitrary: fc.record({ decide: operation, to: fc.constantFrom('DONE', ...LATER_STATES), decidedAt: fc.nat(10) }) },
  { weight: 1, arbitrary: fc.record({ block: card, blockedAt: fc.nat(10) }) },
  { weight: 1, arbitrary: fc.record({ mark: operation, as: fc.oneof(fc.record({ acknowledgedAt: fc.nat(10) }), fc.record({ nextAttemptAt: fc.nat(10) })) }) },
);

/** Makes the commands of one run concrete: names are new in every run, because the runs share their stores. */
class Run {
  readonly bills = [newNumber(), newNumber()];
  readonly cards = [newLoad(), newLoad(), newLoad(), newLoad()].map(({ cardId }) => cardId);
  readonly intents: Intent[] = [];
  readonly #noticeIds: string[] = [];

  act(command: Command): (store: ApplicationStore) => Promise<unknown> {
    if ('write' in command) return this.#write(this.#newIntent(command));
    if ('replace' in command) return this.#write(this.#newReplacement(command));
    if ('block' in command) {
      const block = newBlock(this.cards[command.block]!, { blockedAt: command.blockedAt });
      return async (store) => ({ block: await store.blockCard(block) });
    }
    if ('mark' in command) {
      const noticeId = this.#noticeIds[command.mark % this.#noticeIds.length] ?? 'nobody';
      return (store) => store.markNotice(noticeId, command.as);
    }
    const target = this.intents[command.decide % this.intents.length] ?? newPayment();
    const decision = newDecision(target, command.to, { decidedAt: command.decidedAt });
    this.#noticeIds.push(`${target.paymentId}/${command.to}`);
    return (store) => store.decide(decision);
  }

  #write(intent: Intent): (store: ApplicationStore) => Promise<unknown> {
    this.intents.push(intent);
    return (store) => store.writeIntent(intent);
  }

  #newIntent({ write, bill, card, amountMinor }: Extract<Command, { write: string }>): Intent {
    const cardId = this.cards[card]!;
    if (write === 'load') return newLoad({ cardId, amountMinor });
    if (write === 'issue') return newIssue({ cardId });
    return newPayment({ cardId, amountMinor, bill: { shopId: 'property', billId: this.bills[bill]!, billDigest: 'digest', expiresAt: 1000 + bill } });
  }

  #newReplacement({ replace, by, counted, amountMinor }: Extract<Command, { replace: number }>): Intent {
    const countedAsNotDebited = counted.flatMap((index) => this.intents[index % this.intents.length]?.paymentId ?? []);
    return newLoad({ cardId: this.cards[by]!, amountMinor, source: { cardId: this.cards[replace]!, countedAsNotDebited } });
  }

  /** All that can be seen: of this run, and of all runs before it. */
  async look(store: ApplicationStore) {
    return {
      found: await Promise.all(this.intents.map(({ paymentId }) => store.find(paymentId))),
      unresolved: await Promise.all(this.cards.map((cardId) => store.unresolvedOf(cardId))),
      attempts: await Promise.all(this.bills.map((billId) => store.attemptsFor('property', billId))),
      overdue: [await store.overdue(1001, 1000), await store.overdue(ANYTIME, 1000)],
      due: [await store.dueNotices(5, 1000), await store.dueNotices(ANYTIME, 7)],
      booked: await Promise.all(this.cards.map((cardId) => store.bookedCard(cardId, 'JPY'))),
      records: await Promise.all(this.cards.map((cardId) => store.findByOperationIds(cardId, this.intents.map(({ operationId }) => operationId)))),
      balances: await Promise.all((['cash', 'refunds', 'shop:property'] as const).map((account) => store.balanceOf(account, 'JPY'))),
    };
  }
}

describe('memory and PostgreSQL', () => {
  const database = useDatabase();

  test('answer the same to any commands, and look the same after them', async () => {
    const stores = [createMemoryApplicationStore(), createPostgresApplicationStore(await database())];
    const answers = new Set<unknown>();
    let earlierCardsMinor = 0n;
    await fc.assert(
      fc.asyncProperty(fc.array(anyCommand, { minLength: 5, maxLength: 40 }), async (commands) => {
        const run = new Run();
        for (const command of commands) {
          const act = run.act(command);
          const [one, other] = await Promise.all(stores.map((store) => act(store).catch(() => 'rejected')));
          expect(other).toEqual(one);
          answers.add(one instanceof Object ? 'block' : one);
        }
        const [one, other] = await Promise.all(stores.map((store) => run.look(store)));
        expect(other).toEqual(one);
        earlierCardsMinor += one!.booked.reduce((sum, { ledgerMinor }) => sum + ledgerMinor, 0n);
        expect(one!.balances.reduce((sum, balance) => sum + balance, earlierCardsMinor)).toBe(0n);
      }),
      { numRuns: 40 },
    );
    expect(answers).toEqual(new Set(['written', 'bill-taken', 'card-taken', 'card-blocked', 'source-not-blocked', 'source-too-low', 'rejected', 'block', true, false, undefined]));
  });
});
