/** What every InformationStore must do with cards: whose they are, the codes that link them, and that they are lost. Run against each of them. */
import { randomUUID } from 'node:crypto';
import { beforeEach, describe, expect, test } from 'vitest';
import { newCard, newCustomer, newText, NOW } from './store.contract.ts';
import type { ActivationCode, InformationStore, IssuedCard } from './store.ts';

export function newActivationCode(cardId: string, otherwise: Partial<ActivationCode> = {}): ActivationCode {
  return { codeDigest: newText(), cardId, expiresAt: NOW + 1, ...otherwise };
}

/** The tests share what `openStore` opens, and leave their records in it. */
export function describeInformationOfCards(name: string, openStore: () => Promise<InformationStore>): void {
  describe(name, () => {
    let store: InformationStore;
    beforeEach(async () => {
      store = await openStore();
    });

    const addCustomer = async (): Promise<string> => {
      const customer = newCustomer();
      await store.addCustomer(customer);
      return customer.customerId;
    };
    const register = async (customerId: string | null): Promise<IssuedCard> => {
      const card = newCard(customerId);
      expect(await store.registerCard(card)).toBe(true);
      return card;
    };
    const addCode = async (cardId: string, otherwise: Partial<ActivationCode> = {}): Promise<ActivationCode> => {
      const code = newActivationCode(cardId, otherwise);
      expect(await store.addActivationCode(code)).toBe('added');
      return code;
    };
    /** First whether it would link, then whether it does: they are the same unless the customer comes again. */
    const link = async ({ codeDigest, cardId }: ActivationCode, customerId: string, now = NOW) => [await store.wouldLink({ codeDigest, cardId, now }), await store.linkCard({ codeDigest, cardId, customerId, now })];

    describe('registerCard', () => {
      test.each([['with', true], ['without', false]])('a card %s a customer is found as it was registered, in use', async (_what, hasCustomer) => {
        const card = newCard(hasCustomer ? await addCustomer() : null, { limitMinor: 0n, currency: 'JPY' });
        expect(await store.findCard(card.cardId)).toBeUndefined();
        expect(await store.registerCard(card)).toBe(true);
        expect(await store.findCard(card.cardId)).toEqual({ ...card, blockedAt: null });
      });

      test('keeps the customer, or that there is none: the same again is true, another is false, and nothing changes', async () => {
        const customerId = await addCustomer();
        for (const card of [await register(customerId), await register(null)]) {
          expect(await store.registerCard(card)).toBe(true);
          expect(await store.registerCard({ ...card, customerId: await addCustomer() })).toBe(false);
          expect(await store.registerCard({ ...card, customerId: card.customerId === null ? customerId : null })).toBe(false);
          expect(await store.findCard(card.cardId)).toEqual({ ...card, blockedAt: null });
        }
      });

      test('of customers who are to get one card at once exactly one gets it', async () => {
        const { cardId } = newCard(null);
        const customers = await Promise.all(Array.from({ length: 6 }, () => addCustomer()));
        const registered = await Promise.all(customers.map((customerId) => store.registerCard(newCard(customerId, { cardId }))));
        expect(registered.filter(Boolean)).toHaveLength(1);
        expect((await store.findCard(cardId))?.customerId).toBe(customers[registered.indexOf(true)]);
      });

      test('not with a customer who is not there', async () => {
        const card = newCard(randomUUID());
        await expect(store.registerCard(card)).rejects.toThrow();
        expect(await store.findCard(card.cardId)).toBeUndefined();
      });
    });

    describe('activation codes', () => {
      test('are made for a card that is there and nobody’s, and once', async () => {
        const { cardId } = await register(null);
        const code = await addCode(cardId);
        await expect(store.addActivationCode(code)).rejects.toThrow();
        expect(await store.addActivationCode(newActivationCode(newCard(null).cardId))).toBe('no-card');
        expect(await store.addActivationCode(newActivationCode((await register(await addCustomer())).cardId))).toBe('linked');
      });

      test('link the card for good; to the customer who used it the answer stays true, to others it is false', async () => {
        const card = await register(null);
        const [code, spare] = [await addCode(card.cardId), await addCode(card.cardId)];
        const [mine, other] = [await addCustomer(), await addCustomer()];
        expect(await link(code, mine)).toEqual([true, true]);
        expect(await store.findCard(card.cardId)).toEqual({ ...card, customerId: mine, blockedAt: null });
        expect(await link(code, mine, code.expiresAt + 1)).toEqual([false, true]);
        expect(await link(code, other)).toEqual([false, false]);
        expect(await link(spare, other)).toEqual([false, false]);
        expect(await link(spare, mine)).toEqual([false, false]);
        expect((await store.findCard(card.cardId))?.customerId).toBe(mine);
      });

      test('that are unknown, expired at that moment, or of another card link nothing and stay as they were', async () => {
        const card = await register(null);
        const code = await addCode(card.cardId);
        const customerId = await addCustomer();
        expect(await link(newActivationCode(card.cardId), customerId)).toEqual([false, false]);
        expect(await link(code, customerId, code.expiresAt)).toEqual([false, false]);
        const elsewhere = await register(null);
        expect(await link({ ...code, cardId: elsewhere.cardId }, customerId)).toEqual([false, false]);
        expect(await link({ ...code, cardId: newCard(null).cardId }, customerId)).toEqual([false, false]);
        expect((await store.findCard(card.cardId))?.customerId).toBeNull();
        expect((await store.findCard(elsewhere.cardId))?.customerId).toBeNull();
        expect(await link(code, customerId, code.expiresAt - 1)).toEqual([true, true]);
        expect(await link({ ...code, cardId: elsewhere.cardId }, customerId)).toEqual([false, false]);
      });

      test('of customers who come with one code at once, and of those with a code each, exactly one gets the card', async () => {
        for (const codesEach of [false, true]) {
          const { cardId } = await register(null);
          const shared = await addCode(cardId);
          const customers = await Promise.all(Array.from({ length: 6 }, () => addCustomer()));
          const linked = await Promise.all(customers.map(async (customerId) => store.linkCard({ ...(codesEach ? await addCode(cardId) : shared), customerId, now: NOW })));
          expect(linked.filter(Boolean)).toHaveLength(1);
          expect((await store.findCard(cardId))?.customerId).toBe(customers[linked.indexOf(true)]);
        }
      });

      test('to a customer who comes several times at once every answer is true', async () => {
        const code = await addCode((await register(null)).cardId);
        const customerId = await addCustomer();
        expect(await Promise.all(Array.from({ length: 6 }, () => store.linkCard({ ...code, customerId, now: NOW })))).toEqual(Array.from({ length: 6 }, () => true));
      });

      test('a customer who is not there links nothing, and the code stays free', async () => {
        const code = await addCode((await register(null)).cardId);
        await expect(store.linkCard({ ...code, customerId: randomUUID(), now: NOW })).rejects.toThrow();
        expect(await link(code, await addCustomer())).toEqual([true, true]);
      });
    });

    describe('blockCard', () => {
      test('is for good, and the first time counts', async () => {
        const card = await register(await addCustomer());
        expect(await store.blockCard(card.cardId, NOW)).toBe(true);
        expect(await store.blockCard(card.cardId, NOW - 1)).toBe(true);
        expect(await store.blockCard(card.cardId, NOW + 1)).toBe(true);
        expect(await store.findCard(card.cardId)).toEqual({ ...card, blockedAt: NOW });
        expect(await store.registerCard(card)).toBe(true);
        expect(await store.findCard(card.cardId)).toEqual({ ...card, blockedAt: NOW });
        expect(await store.blockCard(newCard(null).cardId, NOW)).toBe(false);
      });

      test('a card that was lost before it had a customer gets none', async () => {
        const card = await register(null);
        const code = await addCode(card.cardId);
        await store.blockCard(card.cardId, NOW);
        expect(await link(code, await addCustomer())).toEqual([false, false]);
        expect(await store.findCard(card.cardId)).toEqual({ ...card, blockedAt: NOW });
      });

      test('who has linked the card before it was lost still hears that it is linked', async () => {
        const code = await addCode((await register(null)).cardId);
        const customerId = await addCustomer();
        await link(code, customerId);
        await store.blockCard(code.cardId, NOW);
        expect(await link(code, customerId)).toEqual([false, true]);
      });

      test('a block and a link at once: both are there, or only the block', async () => {
        const code = await addCode((await register(null)).cardId);
        const customerId = await addCustomer();
        const [linked] = await Promise.all([store.linkCard({ ...code, customerId, now: NOW }), store.blockCard(code.cardId, NOW)]);
        expect(await store.findCard(code.cardId)).toMatchObject({ customerId: linked ? customerId : null, blockedAt: NOW });
      });
    });
  });
}
