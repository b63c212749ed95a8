/** The security server's store in memory, with the semantics of a crash: what is committed stays. For simulation and tests. */
import type { IssuedCardRecord, SecurityStore } from './store.ts';

export function createMemorySecurityStore(): SecurityStore {
  const cards = new Map<string, IssuedCardRecord>();
  const usedOrders = new Set<string>();
  return {
    findCard: (cardId) => Promise.resolve(cards.get(cardId)),
    recordIssued: (card) => {
      if (!cards.has(card.cardId)) cards.set(card.cardId, card);
      return Promise.resolve();
    },
    useOrder: (orderDigest) => {
      const isNew = !usedOrders.has(orderDigest);
      usedOrders.add(orderDigest);
      return Promise.resolve(isNew);
    },
  };
}
