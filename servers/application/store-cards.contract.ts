/** What every ApplicationStore must do with lost cards, their value and their log; run against each of them. */
import { beforeEach, describe, expect, test } from 'vitest';
import { asDecided, asIntent, newBlock, newDecision, newIssue, newLoad, newNumber, newPayment, PATH_TO } from './store.fixture.ts';
import { TRANSITIONS, type ApplicationStore, type Intent, type Operation, type OperationState } from './store.ts';

const STATES = Object.keys(TRANSITIONS) as OperationState[];
const OPEN: readonly OperationState[] = ['INTENT', 'EXPIRED'];
const MOVED: readonly OperationState[] = ['DONE', 'REFUND_DUE'];

/** The tests share what `openStore` opens, and leave their operations in it. */
export function describeCardAccounts(name: string, openStore: () => Promise<ApplicationStore>): void {
  describe(name, () => {
    let store: ApplicationStore;
    beforeEach(async () => {
      store = await openStore();
    });

    const reach = async (intent: Intent, state: OperationState): Promise<Operation> => {
      expect(await store.writeIntent(intent)).toBe('written');
      let operation = asIntent(intent);
      for (const to of PATH_TO[state]) {
        const decision = newDecision(intent, to);
        expect(await store.decide(decision)).toBe(true);
        operation = asDecided(operation, decision);
      }
      return operation;
    };
    const decide = async (intent: Intent, ...path: readonly (keyof typeof PATH_TO)[]): Promise<void> => {
      for (const to of path) if (to !== 'INTENT') expect(await store.decide(newDecision(intent, to))).toBe(true);
    };
    /** A card that was loaded, then lost, with a payment open on it if `open` is not nothing. */
    const lostCard = async (amountMinor: bigint, open = 0n): Promise<{ cardId: string; payment: Intent }> => {
      const { cardId } = await reach(newLoad({ amountMinor }), 'DONE');
      const payment = newPayment({ cardId, amountMinor: open });
      if (open > 0n) await reach(payment, 'INTENT');
      await store.blockCard(newBlock(cardId));
      return { cardId, payment };
    };
    const replacing = (cardId: string, amountMinor: bigint, counted: readonly Intent[] = []): Intent =>
      newLoad({ amountMinor, source: { cardId, countedAsNotDebited: counted.map(({ paymentId }) => paymentId) } });
    const booked = async (cardId: string) => {
      const { ledgerMinor, movableMinor } = await store.bookedCard(cardId, 'JPY');
      return { ledgerMinor, movableMinor };
    };

    describe('blockCard', () => {
      test('the first order counts, for good', async () => {
        const { cardId } = newLoad();
        const first = newBlock(cardId);
        expect((await store.bookedCard(cardId, 'JPY')).block).toBeNull();
        expect(await store.blockCard(first)).toEqual(first);
        expect(await store.blockCard(newBlock(cardId, { blockedAt: 1 }))).toEqual(first);
        expect((await store.bookedCard(cardId, 'EUR')).block).toEqual(first);
        expect((await store.bookedCard(newLoad().cardId, 'EUR')).block).toBeNull();
      });

      test('of many orders at once one counts', async () => {
        const { cardId } = newLoad();
        const blocks = Array.from({ length: 6 }, (_, turn) => newBlock(cardId, { blockedAt: turn }));
        const held = await Promise.all(blocks.map((block) => store.blockCard(block)));
        expect(blocks).toContainEqual(held[0]);
        expect(new Set(held.map(({ order }) => order)).size).toBe(1);
      });

      test('rule 20: a blocked card takes no payment, load, refund or issue, and nothing is left of the attempt', async () => {
        const { cardId } = await lostCard(10n);
        for (const intent of [newPayment({ cardId }), newLoad({ cardId }), newLoad({ kind: 'refund', cardId }), newIssue({ cardId })]) {
          expect(await store.writeIntent(intent)).toBe('card-blocked');
          expect(await store.find(intent.paymentId)).toBeUndefined();
        }
        expect(await store.unresolvedOf(cardId)).toEqual([]);
      });

      test('that a card is blocked is said before all else', async () => {
        const { cardId, payment } = await lostCard(10n, 3n);
        expect(await store.writeIntent(newPayment({ cardId, bill: payment.bill }))).toBe('card-blocked');
        expect(await store.writeIntent(newPayment({ cardId, paymentId: payment.paymentId }))).toBe('card-blocked');
        expect(await store.writeIntent(newLoad({ cardId, source: { cardId: newLoad().cardId, countedAsNotDebited: [] } }))).toBe('card-blocked');
      });

      test.each(STATES)('what is open on a blocked card stays visible and is decided as on any card: to %s', async (state) => {
        const { cardId, payment } = await lostCard(10n, 3n);
        expect(await store.unresolvedOf(cardId)).toEqual([asIntent(payment)]);
        await decide(payment, ...PATH_TO[state]);
        expect(await store.unresolvedOf(cardId)).toHaveLength(OPEN.includes(state) ? 1 : 0);
        expect(await booked(cardId)).toEqual({ ledgerMinor: MOVED.includes(state) ? 7n : 10n, movableMinor: OPEN.includes(state) || MOVED.includes(state) ? 7n : 10n });
      });

      test('a block and INTENTs at once: whichever is written was there before the block', async () => {
        const { cardId } = await reach(newLoad({ amountMinor: 10n }), 'DONE');
        const [first, block, second] = await Promise.all([store.writeIntent(newPayment({ cardId })), store.blockCard(newBlock(cardId)), store.writeIntent(newPayment({ cardId }))]);
        expect(block.cardId).toBe(cardId);
        expect([first, second].filter((said) => said === 'written')).toHaveLength((await store.unresolvedOf(cardId)).length);
        expect(await store.writeIntent(newPayment({ cardId }))).toBe('card-blocked');
      });
    });

    describe('bookedCard', () => {
      test('what would lower the account is not movable, what would raise it is not there yet', async () => {
        const { cardId } = await reach(newLoad({ amountMinor: 100n }), 'DONE');
        const payment = newPayment({ cardId, amountMinor: 30n });
        await reach(payment, 'INTENT');
        expect(await booked(cardId)).toEqual({ ledgerMinor: 100n, movableMinor: 70n });
        await decide(payment, 'EXPIRED');
        expect(await booked(cardId)).toEqual({ ledgerMinor: 100n, movableMinor: 70n });
        await decide(payment, 'REFUND_DUE');
        expect(await booked(cardId)).toEqual({ ledgerMinor: 70n, movableMinor: 70n });
        await reach(newLoad({ cardId, amountMinor: 5n }), 'INTENT');
        expect(await booked(cardId)).toEqual({ ledgerMinor: 70n, movableMinor: 70n });
        expect(await store.bookedCard(cardId, 'EUR')).toEqual({ block: null, ledgerMinor: 0n, movableMinor: 0n });
      });

      test('never is less than nothing movable', async () => {
        const { cardId } = await reach(newPayment({ amountMinor: 30n }), 'DONE');
        expect(await booked(cardId)).toEqual({ ledgerMinor: -30n, movableMinor: 0n });
      });
    });

    describe('a load that takes its value from a lost card', () => {
      test('moves it between the two accounts, and is found as it was written', async () => {
        const { cardId, payment } = await lostCard(100n, 30n);
        const intent = replacing(cardId, 90n, [payment]);
        const [cash, other] = [await store.balanceOf('cash', 'JPY'), await lostCard(7n)];
        expect(await store.writeIntent(intent)).toBe('written');
        expect(await store.find(intent.paymentId)).toEqual(asIntent(intent));
        expect(await booked(cardId)).toEqual({ ledgerMinor: 100n, movableMinor: 0n });
        await decide(intent, 'DONE');
        expect(await booked(cardId)).toEqual({ ledgerMinor: 10n, movableMinor: 0n });
        expect(await booked(intent.cardId)).toEqual({ ledgerMinor: 90n, movableMinor: 90n });
        expect(await booked(other.cardId)).toEqual({ ledgerMinor: 7n, movableMinor: 7n });
        expect(await store.balanceOf('cash', 'JPY')).toBe(cash - 7n);
      });

      test('takes from a blocked card only, and so never from itself', async () => {
        const { cardId } = await reach(newLoad({ amountMinor: 100n }), 'DONE');
        expect(await store.writeIntent(replacing(cardId, 1n))).toBe('source-not-blocked');
        expect(await store.writeIntent({ ...replacing(cardId, 1n), cardId })).toBe('source-not-blocked');
        await store.blockCard(newBlock(cardId));
        expect(await store.writeIntent({ ...replacing(cardId, 1n), cardId })).toBe('card-blocked');
        expect(await store.writeIntent(replacing(cardId, 1n))).toBe('written');
      });

      test('takes no more than is there, and not what is open: a payment, or another such load', async () => {
        const { cardId } = await lostCard(100n, 30n);
        expect(await store.writeIntent(replacing(cardId, 71n))).toBe('source-too-low');
        expect(await store.writeIntent({ ...replacing(cardId, 1n), currency: 'EUR' })).toBe('source-too-low');
        const first = await reach(replacing(cardId, 50n), 'INTENT');
        expect(await store.writeIntent(replacing(cardId, 21n))).toBe('source-too-low');
        expect(await booked(cardId)).toEqual({ ledgerMinor: 100n, movableMinor: 20n });
        await decide(first, 'ABORTED');
        expect(await booked(cardId)).toEqual({ ledgerMinor: 100n, movableMinor: 70n });
        await reach(replacing(cardId, 70n), 'DONE');
        expect(await store.writeIntent(replacing(cardId, 1n))).toBe('source-too-low');
        expect(await booked(cardId)).toEqual({ ledgerMinor: 30n, movableMinor: 0n });
      });

      test('a payment that is counted as not debited and was: the institution bears it, and nothing else makes an account negative', async () => {
        const { cardId, payment } = await lostCard(100n, 30n);
        await reach(replacing(cardId, 100n, [payment]), 'DONE');
        expect(await booked(cardId)).toEqual({ ledgerMinor: 0n, movableMinor: 0n });
        await decide(payment, 'DONE');
        expect(await booked(cardId)).toEqual({ ledgerMinor: -30n, movableMinor: 0n });
        expect(await store.writeIntent(replacing(cardId, 1n))).toBe('source-too-low');
      });

      test('a payment is counted once, but for a load that was aborted', async () => {
        const { cardId, payment } = await lostCard(100n, 30n);
        const first = await reach(replacing(cardId, 60n, [payment]), 'INTENT');
        expect(await store.writeIntent(replacing(cardId, 1n, [payment]))).toBe('source-too-low');
        expect(await store.writeIntent(replacing(cardId, 10n))).toBe('written');
        expect(await store.writeIntent(replacing(cardId, 1n))).toBe('source-too-low');
        await decide(first, 'ABORTED');
        const second = await reach(replacing(cardId, 90n, [payment]), 'INTENT');
        await decide(second, 'DONE');
        expect(await store.writeIntent(replacing(cardId, 1n, [payment]))).toBe('source-too-low');
      });

      test.each(STATES.filter((state) => !OPEN.includes(state)))('a payment that is %s is not counted', async (state) => {
        const { cardId, payment } = await lostCard(100n, 30n);
        await decide(payment, ...PATH_TO[state]);
        expect(await store.writeIntent(replacing(cardId, 1n, [payment]))).toBe('source-too-low');
        expect(await store.writeIntent(replacing(cardId, 1n))).toBe('written');
      });

      test('a payment that expired is counted; one of another card or currency, a load, one twice and one that nobody wrote are not', async () => {
        const { cardId, payment } = await lostCard(100n, 30n);
        await decide(payment, 'EXPIRED');
        const strangers = [await reach(newPayment(), 'INTENT'), newPayment()];
        for (const stranger of strangers) expect(await store.writeIntent(replacing(cardId, 1n, [stranger]))).toBe('source-too-low');
        expect(await store.writeIntent(replacing(cardId, 1n, [payment, payment]))).toBe('source-too-low');
        expect(await store.writeIntent(replacing(cardId, 100n, [payment]))).toBe('written');
        for (const open of [newLoad({ cardId: newLoad().cardId, amountMinor: 1n }), newPayment({ currency: 'EUR', amountMinor: 1n })]) {
          await reach(newLoad({ cardId: open.cardId, amountMinor: 10n }), 'DONE');
          await reach(open, 'INTENT');
          await store.blockCard(newBlock(open.cardId));
          expect(await store.writeIntent(replacing(open.cardId, 1n, [open]))).toBe('source-too-low');
        }
      });

      test('at once onto many cards takes what is there, once', async () => {
        const { cardId } = await lostCard(100n);
        const said = await Promise.all(Array.from({ length: 8 }, () => store.writeIntent(replacing(cardId, 40n))));
        expect(said.sort()).toEqual([...Array.from({ length: 6 }, () => 'source-too-low'), 'written', 'written']);
        expect(await booked(cardId)).toEqual({ ledgerMinor: 100n, movableMinor: 20n });
      });

      test('onto a card that is taken already is not written, and takes nothing', async () => {
        const { cardId } = await lostCard(100n);
        const taken = await reach(newPayment(), 'INTENT');
        expect(await store.writeIntent({ ...replacing(cardId, 40n), cardId: taken.cardId })).toBe('card-taken');
        expect(await booked(cardId)).toEqual({ ledgerMinor: 100n, movableMinor: 100n });
      });

      test('only a load has a source, and only an issue has no key version', async () => {
        const { cardId } = await lostCard(100n);
        const source = { cardId, countedAsNotDebited: [] };
        for (const intent of [newPayment({ amountMinor: 1n, source }), newLoad({ kind: 'refund', amountMinor: 1n, source }), newLoad({ keyVersion: null }), newIssue({ keyVersion: 1 })]) {
          await expect(store.writeIntent(intent)).rejects.toThrow();
        }
        expect(await booked(cardId)).toEqual({ ledgerMinor: 100n, movableMinor: 100n });
      });
    });

    test('findByOperationIds: the records of a card that are known, oldest first, and nothing of another card', async () => {
      const { cardId } = newLoad();
      const known = [await reach(newIssue({ cardId }), 'DONE'), await reach(newLoad({ cardId }), 'DONE'), await reach(newPayment({ cardId }), 'INTENT')];
      const stranger = await reach(newPayment(), 'INTENT');
      const ids = [...known, stranger].map(({ operationId }) => operationId).reverse();
      expect(await store.findByOperationIds(cardId, [...ids, '0011223344556677'])).toEqual(known);
      expect(await store.findByOperationIds(cardId, [])).toEqual([]);
      expect(await store.findByOperationIds(newNumber(), ids)).toEqual([]);
    });
  });
}
