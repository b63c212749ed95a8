/** The security server's store in memory, with the semantics of a crash: what is committed stays. For simulation and tests. */
import { LOAD_DAY_MS, type IssuedCardRecord, type LoadOrder, type SecurityStore } from './store.ts';

export function createMemorySecurityStore(): SecurityStore {
  const cards = new Map<string, IssuedCardRecord>();
  const usedOrders = new Map<string, Pick<LoadOrder, 'amountMinor' | 'usedAt'>>();
  /** Carries a change out on the card's record if it is a lawful one. */
  const change = (cardId: string, lawful: (card: IssuedCardRecord) => boolean, changed: Partial<IssuedCardRecord>): boolean => {
    const card = cards.get(cardId);
    if (card === undefined || !lawful(card)) return false;
    cards.set(cardId, { ...card, ...changed });
    return true;
  };
  return {
    findCard: (cardId) => Promise.resolve(cards.get(cardId)),
    recordIssued: (card) => {
      if (!cards.has(card.cardId)) cards.set(card.cardId, { ...card, rekeyingTo: null });
      return Promise.resolve();
    },
    beginRekey: (cardId, toVersion) =>
      Promise.resolve(change(cardId, ({ keyVersion, rekeyingTo }) => keyVersion < toVersion && (rekeyingTo ?? toVersion) === toVersion, { rekeyingTo: toVersion })),
    finishRekey: (cardId, toVersion) => Promise.resolve(change(cardId, ({ rekeyingTo }) => rekeyingTo === toVersion, { keyVersion: toVersion, rekeyingTo: null })),
    useOrder: (orderDigest, usedAt) => {
      const isNew = !usedOrders.has(orderDigest);
      if (isNew) usedOrders.set(orderDigest, { amountMinor: 0n, usedAt });
      return Promise.resolve(isNew);
    },
    useLoadOrder: ({ orderDigest, amountMinor, usedAt }, dayLimitMinor) => {
      if (usedOrders.has(orderDigest)) return Promise.resolve('used-before');
      const recent = [...usedOrders.values()].filter((order) => order.usedAt > usedAt - LOAD_DAY_MS);
      const sumMinor = recent.reduce((sum, order) => sum + order.amountMinor, amountMinor);
      if (sumMinor > dayLimitMinor) return Promise.resolve('above-limit');
      usedOrders.set(orderDigest, { amountMinor, usedAt });
      return Promise.resolve('used');
    },
  };
}
