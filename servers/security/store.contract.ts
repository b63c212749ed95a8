/** What every SecurityStore must do; run against each of them. */
import { randomBytes } from 'node:crypto';
import { beforeEach, describe, expect, test } from 'vitest';
import type { IssuedCardRecord, SecurityStore } from './store.ts';

export function newCard(otherwise: Partial<IssuedCardRecord> = {}): IssuedCardRecord {
  return { cardId: `04${randomBytes(6).toString('hex').toUpperCase()}`, keyVersion: 255, issuedAt: 1_763_800_000_000, ...otherwise };
}

export function newDigest(): string {
  return randomBytes(32).toString('base64url');
}

/** The tests share what `openStore` opens, and leave their cards and orders in it. */
export function describeSecurityStore(name: string, openStore: () => Promise<SecurityStore>): void {
  describe(name, () => {
    let store: SecurityStore;
    beforeEach(async () => {
      store = await openStore();
    });

    test('an issued card is found as it was recorded, and others are not', async () => {
      const card = newCard();
      expect(await store.findCard(card.cardId)).toBeUndefined();
      await store.recordIssued(card);
      expect(await store.findCard(card.cardId)).toEqual(card);
      expect(await store.findCard(newCard().cardId)).toBeUndefined();
    });

    test('the same card again changes nothing, also with another version', async () => {
      const card = newCard({ keyVersion: 1 });
      await store.recordIssued(card);
      await store.recordIssued(card);
      await store.recordIssued({ ...card, keyVersion: 2, issuedAt: 1 });
      expect(await store.findCard(card.cardId)).toEqual(card);
    });

    test('a card that is recorded many times at once is one of them', async () => {
      const { cardId } = newCard();
      const records = Array.from({ length: 8 }, (_, version) => newCard({ cardId, keyVersion: version + 1 }));
      await Promise.all(records.map((record) => store.recordIssued(record)));
      expect(records).toContainEqual(await store.findCard(cardId));
    });

    test('an order works once', async () => {
      const digest = newDigest();
      expect(await store.useOrder(digest, 1)).toBe(true);
      expect(await store.useOrder(digest, 1)).toBe(false);
      expect(await store.useOrder(digest, 2)).toBe(false);
      expect(await store.useOrder(newDigest(), 1)).toBe(true);
    });

    test('an order that comes many times at once works once', async () => {
      const digest = newDigest();
      const used = await Promise.all(Array.from({ length: 8 }, (_, at) => store.useOrder(digest, at)));
      expect(used.filter(Boolean)).toHaveLength(1);
    });
  });
}
