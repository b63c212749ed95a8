/** What every ApplicationStore must do; run against each of them. */
import { beforeEach, describe, expect, test } from 'vitest';
import { asDecided, asIntent, BILL_EXPIRES_AT, newDecision, newIssue, newLoad, newNumber, newPayment, PATH_TO } from './store.fixture.ts';
import { TRANSITIONS, type ApplicationStore, type Decision, type Evidence, type Intent, type Operation, type OperationState } from './store.ts';

const STATES = Object.keys(TRANSITIONS) as OperationState[];
const LATER_STATES = STATES.filter((state) => state !== 'INTENT');
const HOLDING_BILL = STATES.filter((state) => state !== 'ABORTED');
const HOLDING_CARD: readonly OperationState[] = ['INTENT', 'EXPIRED'];
const ANYTIME = Number.MAX_SAFE_INTEGER;
const ALL = 1_000_000;

/** The tests share what `openStore` opens, and leave their operations in it. */
export function describeApplicationStore(name: string, openStore: () => Promise<ApplicationStore>): void {
  describe(name, () => {
    let store: ApplicationStore;
    beforeEach(async () => {
      store = await openStore();
    });

    const write = async <I extends Intent>(intent: I): Promise<I> => {
      expect(await store.writeIntent(intent)).toBe('written');
      return intent;
    };
    const reach = async (intent: Intent, state: OperationState): Promise<Operation> => {
      let operation = asIntent(await write(intent));
      for (const to of PATH_TO[state]) {
        const decision = newDecision(intent, to);
        expect(await store.decide(decision)).toBe(true);
        operation = asDecided(operation, decision);
      }
      return operation;
    };
    const dueOf = async (billId: string, now = ANYTIME) => (await store.dueNotices(now, ALL)).filter((notice) => notice.billId === billId);
    const overdueOf = async (billId: string, before = BILL_EXPIRES_AT + 1) => (await store.overdue(before, ALL)).filter(({ bill }) => bill?.billId === billId);

    describe('writeIntent', () => {
      test.each([
        ['payment', newPayment()],
        ['payment whose counter was not read', newPayment({ transactionCounter: null, amountMinor: 1n, currency: 'EUR' })],
        ['load', newLoad()],
        ['refund', newLoad({ kind: 'refund' })],
        ['issue', newIssue()],
      ])('a %s is found as it was written', async (_what, intent) => {
        expect(await store.find(intent.paymentId)).toBeUndefined();
        await write(intent);
        expect(await store.find(intent.paymentId)).toEqual(asIntent(intent));
        expect(await store.unresolvedOf(intent.cardId)).toEqual([asIntent(intent)]);
      });

      test.each(HOLDING_BILL)('rules 2 and 9: a bill with an attempt in %s takes no other', async (state) => {
        const first = newPayment();
        const held = await reach(first, state);
        const second = newPayment({ bill: { ...first.bill, billDigest: 'another' } });
        expect(await store.writeIntent(second)).toBe('bill-taken');
        expect(await store.find(second.paymentId)).toBeUndefined();
        expect(await store.attemptsFor(first.bill.shopId, first.bill.billId)).toEqual([held]);
      });

      test('rule 9: a bill whose attempts are all ABORTED takes another; the same number of another shop is another bill', async () => {
        const first = newPayment();
        const attempts = [await reach(first, 'ABORTED'), await reach(newPayment({ bill: first.bill }), 'ABORTED')];
        attempts.push(asIntent(await write(newPayment({ bill: first.bill, cardId: first.cardId }))));
        const elsewhere = { ...first.bill, shopId: 'other-shop' };
        const other = await write(newPayment({ bill: elsewhere }));
        expect(await store.attemptsFor(first.bill.shopId, first.bill.billId)).toEqual(attempts);
        expect(await store.attemptsFor('other-shop', first.bill.billId)).toEqual([asIntent(other)]);
        expect(await store.attemptsFor('shop', 'nobody')).toEqual([]);
      });

      test.each(STATES)('rule 3: a card with a payment in %s', async (state) => {
        const { cardId } = await reach(newPayment(), state);
        const isHeld = HOLDING_CARD.includes(state);
        expect(await store.unresolvedOf(cardId)).toHaveLength(isHeld ? 1 : 0);
        expect(await store.writeIntent(newPayment({ cardId }))).toBe(isHeld ? 'card-taken' : 'written');
      });

      test.each([
        ['load', newLoad()],
        ['refund', newLoad({ kind: 'refund' })],
        ['issue', newIssue()],
      ])('rule 3: a card with an open %s takes nothing else', async (_what, open) => {
        await write(open);
        const { cardId } = open;
        for (const next of [newPayment({ cardId }), newLoad({ cardId }), newLoad({ kind: 'refund', cardId }), newIssue({ cardId })]) expect(await store.writeIntent(next)).toBe('card-taken');
        expect(await store.decide(newDecision(open, 'DONE'))).toBe(true);
        expect(await store.writeIntent(newPayment({ cardId }))).toBe('written');
      });

      test('where both are taken the bill is named', async () => {
        const { bill, cardId } = await write(newPayment());
        expect(await store.writeIntent(newPayment({ bill, cardId }))).toBe('bill-taken');
      });

      test('the number of a payment and that of an operation work once', async () => {
        const { paymentId, operationId } = await reach(newPayment(), 'ABORTED');
        await expect(store.writeIntent(newPayment({ paymentId }))).rejects.toThrow();
        await expect(store.writeIntent(newPayment({ operationId }))).rejects.toThrow();
      });

      test('of many at once for one bill exactly one wins', async () => {
        const { bill } = newPayment();
        const said = await Promise.all(Array.from({ length: 8 }, () => store.writeIntent(newPayment({ bill }))));
        expect(said.sort()).toEqual([...Array.from({ length: 7 }, () => 'bill-taken'), 'written']);
        expect(await store.attemptsFor(bill.shopId, bill.billId)).toHaveLength(1);
      });

      test('of many at once for one card exactly one wins', async () => {
        const { cardId } = newLoad();
        const said = await Promise.all(Array.from({ length: 8 }, (_, turn) => store.writeIntent(turn % 2 === 0 ? newPayment({ cardId }) : newLoad({ cardId }))));
        expect(said.sort()).toEqual([...Array.from({ length: 7 }, () => 'card-taken'), 'written']);
        expect(await store.unresolvedOf(cardId)).toHaveLength(1);
      });
    });

    describe('decide', () => {
      const steps = STATES.flatMap((from) => LATER_STATES.map((to) => ({ from, to: to, isAllowed: TRANSITIONS[from].includes(to) })));
      test.each(steps)('from $from to $to: $isAllowed', async ({ from, to, isAllowed }) => {
        const shopId = `shop-${newNumber()}`;
        const intent = newPayment({ bill: { shopId, billId: newNumber(), billDigest: 'd', expiresAt: BILL_EXPIRES_AT } });
        const before = await reach(intent, from);
        const [owed, owedToShop] = [await dueOf(before.bill!.billId), await store.balanceOf(`shop:${shopId}`, 'JPY')];
        const decision = newDecision(intent, to);
        expect(await store.decide(decision)).toBe(isAllowed);
        expect(await store.find(intent.paymentId)).toEqual(isAllowed ? asDecided(before, decision) : before);
        expect(await store.balanceOf(`shop:${shopId}`, 'JPY')).toBe(owedToShop + (isAllowed && to === 'DONE' ? intent.amountMinor : 0n));
        expect((await dueOf(before.bill!.billId)).map(({ jws }) => jws)).toEqual([...owed.map(({ jws }) => jws), ...(isAllowed && decision.notice !== null ? [decision.notice.jws] : [])]);
      });

      const strange: [string, Intent, Decision['to'], Partial<Decision>][] = [
        ['another account', newPayment(), 'DONE', { transfer: { debit: 'cash', credit: 'shop:shop', amountMinor: 2_147_483_647n, currency: 'JPY' } }],
        ['no transfer', newLoad(), 'DONE', { transfer: null }],
        ['a transfer of what was aborted', newLoad({ amountMinor: 1n }), 'ABORTED', { transfer: { debit: 'cash', credit: 'refunds', amountMinor: 1n, currency: 'JPY' } }],
        ['a notice of another bill', newPayment(), 'DONE', { notice: { jws: 'n', shopId: 'shop', billId: 'other' } }],
        ['no notice', newPayment(), 'EXPIRED', { notice: null }],
        ['a load that expires', newLoad(), 'EXPIRED', {}],
      ];
      test.each(strange)('a decision with %s is a bug, and changes nothing', async (_what, intent, to, otherwise) => {
        const before = asIntent(await write(intent));
        await expect(store.decide(newDecision(intent, to, otherwise))).rejects.toThrow();
        expect(await store.find(intent.paymentId)).toEqual(before);
      });

      test('an operation that nobody wrote is not decided', async () => {
        expect(await store.decide(newDecision(newPayment(), 'DONE'))).toBe(false);
      });

      const evidences: [Decision['to'], Evidence][] = [
        ['DONE', { by: 'notice', transactionCounter: 4_294_967_295, transactionMac: 'AB', statement: null, consent: null }],
        ['DONE', { by: 'notice', transactionCounter: 0, transactionMac: '', statement: 'a.b.c', consent: 'd.e.f' }],
        ['DONE', { by: 'reading', sessionId: '"お茶"\\', newestOperationId: '00', transactionCounter: 1, transactionMac: '0011223344556677', balanceMinor: null }],
        ['ABORTED', { by: 'reading', sessionId: '', newestOperationId: '00', transactionCounter: 1, transactionMac: '0011223344556677', balanceMinor: -1n }],
        ['EXPIRED', { by: 'clock', at: 1_763_800_900_001 }],
      ];
      test.each(evidences)('evidence of %s is found as it was decided: %o', async (to, evidence) => {
        const { paymentId } = await write(newPayment());
        await store.decide(newDecision((await store.find(paymentId))!, to, { evidence, decidedAt: 1_763_800_900_002 }));
        expect(await store.find(paymentId)).toMatchObject({ evidence, decidedAt: 1_763_800_900_002 });
      });

      test('of many at once exactly one is true, and only that one moves money and owes a notice', async () => {
        const shopId = `shop-${newNumber()}`;
        const intent = await write(newPayment({ bill: { shopId, billId: newNumber(), billDigest: 'd', expiresAt: BILL_EXPIRES_AT } }));
        const decisions = Array.from({ length: 9 }, (_, turn) => newDecision(intent, (['DONE', 'EXPIRED', 'ABORTED'] as const)[turn % 3]!));
        const said = await Promise.all(decisions.map((decision) => store.decide(decision)));
        expect(said.filter(Boolean)).toHaveLength(1);
        const winner = decisions[said.indexOf(true)]!;
        expect(await store.find(intent.paymentId)).toEqual(asDecided(intent, winner));
        expect(await store.balanceOf(`shop:${shopId}`, 'JPY')).toBe(winner.to === 'DONE' ? intent.amountMinor : 0n);
        expect((await dueOf(intent.bill.billId)).map(({ jws }) => jws)).toEqual(winner.notice === null ? [] : [winner.notice.jws]);
      });

      test.each(HOLDING_BILL)('rule 9: an aborted attempt does not end a bill that another attempt holds in %s', async (state) => {
        const first = await reach(newPayment(), 'ABORTED');
        await reach(newPayment({ bill: first.bill }), state);
        const owed = await dueOf(first.bill!.billId);
        expect(await store.decide(newDecision(first, 'CLOSED'))).toBe(false);
        expect(await store.find(first.paymentId)).toEqual(first);
        expect(await dueOf(first.bill!.billId)).toEqual(owed);
      });
    });

    describe('balanceOf', () => {
      test('each transfer is in two accounts, in its currency, and their sum does not change', async () => {
        const { cardId } = newLoad();
        const accounts = [`card:${cardId}`, 'cash', 'refunds', 'shop:ledger'] as const;
        const balances = async () => Promise.all(accounts.map((account) => store.balanceOf(account, 'CHF')));
        const before = await balances();
        const bill = () => ({ shopId: 'ledger', billId: newNumber(), billDigest: 'd', expiresAt: BILL_EXPIRES_AT });
        await reach(newLoad({ cardId, currency: 'CHF', amountMinor: 1000n }), 'DONE');
        await reach(newPayment({ cardId, currency: 'CHF', amountMinor: 300n, bill: bill() }), 'DONE');
        await reach(newPayment({ cardId, currency: 'CHF', amountMinor: 7n, bill: bill() }), 'REFUND_DUE');
        await reach(newLoad({ cardId, kind: 'refund', currency: 'CHF', amountMinor: 5n }), 'DONE');
        await reach(newPayment({ cardId, currency: 'USD', amountMinor: 100n, bill: bill() }), 'DONE');
        await reach(newLoad({ cardId, currency: 'CHF', amountMinor: 11n }), 'CLOSED');
        await reach(newPayment({ cardId, currency: 'CHF', amountMinor: 100n, bill: bill() }), 'EXPIRED');
        const moved = (await balances()).map((balance, account) => balance - before[account]!);
        expect(moved).toEqual([1000n - 300n - 7n + 5n, -1000n, 7n - 5n, 300n]);
        expect(await store.balanceOf('shop:ledger', 'USD')).toBe(100n);
        expect(await store.balanceOf(`card:${cardId}`, 'USD')).toBe(-100n);
        expect(await store.balanceOf('shop:nobody', 'CHF')).toBe(0n);
        expect(await store.balanceOf(`card:${newLoad().cardId}`, 'CHF')).toBe(0n);
      });
    });

    describe('overdue', () => {
      test('a payment in INTENT, from the moment after its bill expired', async () => {
        const { bill, paymentId } = await write(newPayment());
        expect(await overdueOf(bill.billId, bill.expiresAt)).toEqual([]);
        expect((await overdueOf(bill.billId, bill.expiresAt + 1)).map((found) => found.paymentId)).toEqual([paymentId]);
      });

      test.each(STATES)('a payment in %s', async (state) => {
        const { bill } = await reach(newPayment(), state);
        expect(await overdueOf(bill!.billId)).toHaveLength(state === 'INTENT' || state === 'ABORTED' ? 1 : 0);
      });

      test('of a bill whose attempts were all aborted only the newest, and none after that was closed', async () => {
        const { bill } = await reach(newPayment(), 'ABORTED');
        await reach(newPayment({ bill }), 'ABORTED');
        const newest = await reach(newPayment({ bill }), 'ABORTED');
        expect(await overdueOf(bill!.billId)).toEqual([newest]);
        expect(await store.decide(newDecision(newest, 'CLOSED'))).toBe(true);
        expect(await overdueOf(bill!.billId)).toEqual([]);
      });

      test.each(HOLDING_BILL)('of a bill with an aborted attempt and one in %s', async (state) => {
        const { bill } = await reach(newPayment(), 'ABORTED');
        const second = await reach(newPayment({ bill }), state);
        expect(await overdueOf(bill!.billId)).toEqual(state === 'INTENT' ? [second] : []);
      });

      test('of a bill that an older attempt has ended already, none', async () => {
        const older = await reach(newPayment(), 'ABORTED');
        await reach(newPayment({ bill: older.bill }), 'ABORTED');
        expect(await store.decide(newDecision(older, 'CLOSED'))).toBe(true);
        expect(await overdueOf(older.bill!.billId)).toEqual([]);
      });

      test('never a load, refund or issue; never more than the limit; oldest first', async () => {
        for (const intent of [newLoad(), newLoad({ kind: 'refund' }), newIssue()]) await write(intent);
        const written = [await write(newPayment()), await write(newPayment()), await write(newPayment())];
        const all = await store.overdue(ANYTIME, ALL);
        expect(all.every(({ kind }) => kind === 'pay')).toBe(true);
        expect(all.slice(-3).map(({ paymentId }) => paymentId)).toEqual(written.map(({ paymentId }) => paymentId));
        expect(await store.overdue(ANYTIME, 2)).toEqual(all.slice(0, 2));
        expect(await store.overdue(ANYTIME, 0)).toEqual([]);
      });
    });

    describe('notices', () => {
      test('are due from the decision on until they are acknowledged', async () => {
        const intent = await write(newPayment());
        const decision = newDecision(intent, 'DONE', { decidedAt: 5000 });
        const { billId } = intent.bill;
        await store.decide(decision);
        expect(await dueOf(billId, 4999)).toEqual([]);
        const [notice] = await dueOf(billId, 5000);
        expect(notice).toEqual({ noticeId: expect.any(String) as string, shopId: 'shop', billId, jws: decision.notice!.jws, attempts: 0 });
        await store.markNotice(notice!.noticeId, { nextAttemptAt: 6000 });
        expect(await dueOf(billId, 5999)).toEqual([]);
        expect(await dueOf(billId, 6000)).toEqual([{ ...notice!, attempts: 1 }]);
        await store.markNotice(notice!.noticeId, { acknowledgedAt: 6001 });
        expect(await dueOf(billId)).toEqual([]);
        await store.markNotice(notice!.noticeId, { nextAttemptAt: 1 });
        expect(await dueOf(billId)).toEqual([]);
      });

      test('one for each outcome that the shop hears of, oldest first, never more than the limit', async () => {
        const intent = await write(newPayment());
        const [expired, closed] = [newDecision(intent, 'EXPIRED'), newDecision(intent, 'CLOSED')];
        await store.decide(expired);
        await store.decide(closed);
        const all = await store.dueNotices(ANYTIME, ALL);
        expect(all.slice(-2).map(({ jws }) => jws)).toEqual([expired.notice!.jws, closed.notice!.jws]);
        expect(new Set(all.map(({ noticeId }) => noticeId)).size).toBe(all.length);
        expect(await store.dueNotices(ANYTIME, 1)).toEqual(all.slice(0, 1));
      });

      test('a mark on a notice that nobody owes changes nothing', async () => {
        await store.markNotice(newNumber(), { acknowledgedAt: 1 });
        await store.markNotice(newNumber(), { nextAttemptAt: 1 });
      });
    });
  });
}
