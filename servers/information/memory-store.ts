/** The information server's store in memory, with the semantics of a crash: what is committed stays. For simulation and tests. */
/* eslint-disable @typescript-eslint/require-await -- async, so that a bug rejects as it does in PostgreSQL */
import { strict as assert } from 'node:assert';
import type { ActivationAttempt, ActivationCode, CardRecord, CustomerRecord, EnrolmentCode, InformationStore, RegisteredKey, ShopRecord } from './store.ts';

export function createMemoryInformationStore(): InformationStore {
  const customers = new Map<string, CustomerRecord>();
  const codes = new Map<string, EnrolmentCode>();
  const customerKeys = new Map<string, RegisteredKey & { readonly customerId: string }>();
  const shops = new Map<string, ShopRecord>();
  const shopKeys = new Map<string, RegisteredKey & { readonly shopId: string }>();
  const usedCodes = new Set<string>();
  let enrolling: Promise<unknown> = Promise.resolve();
  return {
    addCustomer: async (customer) => {
      assert(!customers.has(customer.customerId), 'the number of a customer was used twice');
      customers.set(customer.customerId, customer);
    },
    addEnrolmentCode: async (code) => {
      if (!customers.has(code.customerId)) return false;
      assert(!codes.has(code.codeDigest), 'an enrolment code was made twice');
      codes.set(code.codeDigest, code);
      return true;
    },
    enrol: async (codeDigest, now, keyFor) => {
      // One at a time: a second browser waits, then finds the code used, or free again if the first one failed.
      const turn = enrolling.then(async () => {
        const code = codes.get(codeDigest);
        if (code === undefined || usedCodes.has(codeDigest) || code.expiresAt <= now) return undefined;
        const { customerId } = code;
        const key = await keyFor(customerId);
        assert(!customerKeys.has(key.thumbprint), 'a key was registered twice');
        usedCodes.add(codeDigest);
        customerKeys.set(key.thumbprint, { ...key, customerId });
        return { customerId, key };
      });
      enrolling = turn.catch(() => undefined); // whose turn it was hears of it
      return turn;
    },
    findCustomerByKey: (thumbprint) => {
      const key = customerKeys.get(thumbprint);
      return Promise.resolve(key === undefined ? undefined : { customerId: key.customerId, chain: key.chain });
    },
    registerShop: async (shop, key) => {
      const known = shopKeys.get(key.thumbprint);
      assert(known === undefined || known.shopId === shop.shopId, 'the key of one shop was to be registered for another');
      shops.set(shop.shopId, shop);
      if (known === undefined) shopKeys.set(key.thumbprint, { ...key, shopId: shop.shopId });
    },
    findShopByKey: (thumbprint) => {
      const key = shopKeys.get(thumbprint);
      const shop = key === undefined ? undefined : shops.get(key.shopId);
      return Promise.resolve(key === undefined || shop === undefined ? undefined : { ...shop, chain: key.chain });
    },
    findShop: (shopId) => Promise.resolve(shops.get(shopId)),
    ...cardsOf(customers),
  };
}

function cardsOf(customers: ReadonlyMap<string, CustomerRecord>): Pick<InformationStore, 'registerCard' | 'addActivationCode' | 'wouldLink' | 'linkCard' | 'blockCard' | 'findCard'> {
  const cards = new Map<string, CardRecord>();
  const codes = new Map<string, ActivationCode & { readonly usedBy: string | null }>();
  const wouldLink = ({ cardId, codeDigest, now }: ActivationAttempt): boolean => {
    const [card, code] = [cards.get(cardId), codes.get(codeDigest)];
    return card?.customerId === null && card.blockedAt === null && code?.cardId === cardId && code.usedBy === null && now < code.expiresAt;
  };
  return {
    registerCard: async (card) => {
      const known = cards.get(card.cardId);
      if (known !== undefined) return known.customerId === card.customerId;
      assert(card.customerId === null || customers.has(card.customerId), 'a card was to be registered with a customer who is not there');
      cards.set(card.cardId, { ...card, blockedAt: null });
      return true;
    },
    addActivationCode: async (code) => {
      const card = cards.get(code.cardId);
      if (card === undefined) return 'no-card';
      if (card.customerId !== null) return 'linked';
      assert(!codes.has(code.codeDigest), 'an activation code was made twice');
      codes.set(code.codeDigest, { ...code, usedBy: null });
      return 'added';
    },
    wouldLink: async (attempt) => wouldLink(attempt),
    linkCard: async ({ customerId, ...attempt }) => {
      const [card, code] = [cards.get(attempt.cardId), codes.get(attempt.codeDigest)];
      if (code?.usedBy === customerId && code.cardId === attempt.cardId) return true;
      if (card === undefined || code === undefined || !wouldLink(attempt)) return false;
      assert(customers.has(customerId), 'a card was to be linked to a customer who is not there');
      codes.set(attempt.codeDigest, { ...code, usedBy: customerId });
      cards.set(attempt.cardId, { ...card, customerId });
      return true;
    },
    blockCard: async (cardId, blockedAt) => {
      const card = cards.get(cardId);
      if (card !== undefined) cards.set(cardId, { ...card, blockedAt: card.blockedAt ?? blockedAt });
      return card !== undefined;
    },
    findCard: async (cardId) => cards.get(cardId),
  };
}
