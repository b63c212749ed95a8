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
    await store.balanceOf('cards', 'JPY');
    expect(taken()).toEqual({ durable: 2, relaxed: 1 });
  });
});

type Command =
  | { readonly write: 'pay' | 'load' | 'issue'; readonly bill: number; readonly card: number; readonly amountMinor: bigint }
  | { readonly decide: number; readonly to: Decision['to']; readonly decidedAt: number }
  | { readonly mark: number; readonly as: { readonly acknowledgedAt: number } | { readonly nextAttemptAt: number } };

/** Two bills and three cards, so that operations meet. */
const anyCommand: fc.Arbitrary<Command> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ write: fc.constantFrom('pay', 'pay', 'pay', 'load', 'issue'), bill: fc.nat(1), card: fc.nat(2), amountMinor: fc.bigInt(1n, 0x7fff_ffffn) }) },
  { weight: 6, arbitrary: fc.record({ decide: fc.nat(39), to: fc.constantFrom(...(LATER_STATES)), decidedAt: fc.nat(10) }) },
  { weight: 1, arbitrary: fc.record({ mark: fc.nat(39), as: fc.oneof(fc.record({ acknowledgedAt: fc.nat(10) }), fc.record({ nextAttemptAt: fc.nat(10) })) }) },
);

/** Makes the commands of one run concrete: names are new in every run, because the runs share their stores. */
class Run {
  readonly bills = [newNumber(), newNumber()];
  readonly cards = [newLoad(), newLoad(), newLoad()].map(({ cardId }) => cardId);
  readonly intents: Intent[] = [];
  readonly #noticeIds: string[] = [];

  act(command: Command): (store: ApplicationStore) => Promise<unknown> {
    if ('write' in command) return this.#write(this.#newIntent(command));
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

  /** All that can be seen: of this run, and of all runs before it. */
  async look(store: ApplicationStore) {
    return {
      found: await Promise.all(this.intents.map(({ paymentId }) => store.find(paymentId))),
      unresolved: await Promise.all(this.cards.map((cardId) => store.unresolvedOf(cardId))),
      attempts: await Promise.all(this.bills.map((billId) => store.attemptsFor('property', billId))),
      overdue: [await store.overdue(1001, 1000), await store.overdue(ANYTIME, 1000)],
      due: [await store.dueNotices(5, 1000), await store.dueNotices(ANYTIME, 7)],
      balances: await Promise.all((['cards', 'cash', 'refunds', 'shop:property'] as const).map((account) => store.balanceOf(account, 'JPY'))),
    };
  }
}

describe('memory and PostgreSQL', () => {
  const database = useDatabase();

  test('answer the same to any commands, and look the same after them', async () => {
    const stores = [createMemoryApplicationStore(), createPostgresApplicationStore(await database())];
    const answers = new Set<unknown>();
    await fc.assert(
      fc.asyncProperty(fc.array(anyCommand, { minLength: 5, maxLength: 40 }), async (commands) => {
        const run = new Run();
        for (const command of commands) {
          const [one, other] = await Promise.all(stores.map(run.act(command)));
          expect(other).toEqual(one);
          answers.add(one);
        }
        const [one, other] = await Promise.all(stores.map((store) => run.look(store)));
        expect(other).toEqual(one);
        expect(one!.balances.reduce((sum, balance) => sum + balance, 0n)).toBe(0n);
      }),
      { numRuns: 30 },
    );
    expect(answers).toEqual(new Set(['written', 'bill-taken', 'card-taken', true, false, undefined]));
  });
});
