/** What every SecurityStore must do; run against each of them. */
import { randomBytes } from 'node:crypto';
import { beforeEach, describe, expect, test } from 'vitest';
import { LOAD_DAY_MS, type IssuedCardRecord, type SecurityStore } from './store.ts';

export function newCard(otherwise: Partial<IssuedCardRecord> = {}): IssuedCardRecord {
  return { cardId: `04${randomBytes(6).toString('hex').toUpperCase()}`, keyVersion: 255, rekeyingTo: null, issuedAt: 1_763_800_000_000, ...otherwise };
}

export function newDigest(): string {
  return randomBytes(32).toString('base64url');
}

let days = 100;
/** Each later than the last one's next day. */
function newDayMs(): number {
  return (days += 3) * LOAD_DAY_MS;
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

    test('a re-keying begins with a newer version, is remembered, and is finished as it was begun', async () => {
      const card = newCard({ keyVersion: 3 });
      await store.recordIssued(card);
      for (const version of [2, 3]) expect(await store.beginRekey(card.cardId, version)).toBe(false);
      expect(await store.finishRekey(card.cardId, 4)).toBe(false);
      expect(await store.findCard(card.cardId)).toEqual(card);

      expect(await store.beginRekey(card.cardId, 4)).toBe(true);
      expect(await store.findCard(card.cardId)).toEqual({ ...card, rekeyingTo: 4 });
      expect(await store.beginRekey(card.cardId, 4)).toBe(true);
      for (const version of [3, 5]) expect([await store.beginRekey(card.cardId, version), await store.finishRekey(card.cardId, version)]).toEqual([false, false]);
      await store.recordIssued(card);
      expect(await store.findCard(card.cardId)).toEqual({ ...card, rekeyingTo: 4 });

      expect(await store.finishRekey(card.cardId, 4)).toBe(true);
      expect(await store.finishRekey(card.cardId, 4)).toBe(false);
      expect(await store.findCard(card.cardId)).toEqual({ ...card, keyVersion: 4 });
    });

    test('no re-keying of a card that was not issued, and none changes another card', async () => {
      const other = newCard({ keyVersion: 1 });
      await store.recordIssued(other);
      const { cardId } = newCard();
      expect([await store.beginRekey(cardId, 2), await store.finishRekey(cardId, 2)]).toEqual([false, false]);
      expect(await store.findCard(cardId)).toBeUndefined();
      expect(await store.findCard(other.cardId)).toEqual(other);
    });

    test('a load is used once, whatever kind of order it was used as before', async () => {
      const [load, issue] = [newDigest(), newDigest()];
      expect(await store.useLoadOrder({ orderDigest: load, amountMinor: 1n, usedAt: 1 }, 1_000_000n)).toBe('used');
      expect(await store.useLoadOrder({ orderDigest: load, amountMinor: 1n, usedAt: 1 }, 1_000_000n)).toBe('used-before');
      expect(await store.useOrder(load, 1)).toBe(false);
      expect(await store.useOrder(issue, 1)).toBe(true);
      expect(await store.useLoadOrder({ orderDigest: issue, amountMinor: 1n, usedAt: 1 }, 1_000_000n)).toBe('used-before');
    });

    test('the loads of a day stay within their limit, and one that does not fit is not used up', async () => {
      const load = (amountMinor: bigint, usedAt: number, orderDigest = newDigest()) => store.useLoadOrder({ orderDigest, amountMinor, usedAt }, 1_000n);
      // A day that no other test has loads in.
      const dayMs = newDayMs();
      const refused = newDigest();
      expect(await load(600n, dayMs)).toBe('used');
      expect(await load(401n, dayMs + 1, refused)).toBe('above-limit');
      expect(await load(400n, dayMs + 2)).toBe('used');
      expect(await load(1n, dayMs + LOAD_DAY_MS - 1)).toBe('above-limit');
      expect(await load(401n, dayMs + LOAD_DAY_MS, refused)).toBe('used');
      expect(await load(200n, dayMs + LOAD_DAY_MS + 1)).toBe('above-limit');
      expect(await load(599n, dayMs + LOAD_DAY_MS + 2)).toBe('used');
    });

    test('loads that come at once do not slip under the limit together', async () => {
      const usedAt = newDayMs();
      const used = await Promise.all(Array.from({ length: 8 }, () => store.useLoadOrder({ orderDigest: newDigest(), amountMinor: 300n, usedAt }, 1_000n)));
      expect(used.filter((outcome) => outcome === 'used')).toHaveLength(3);
      const orderDigest = newDigest();
      const same = await Promise.all(Array.from({ length: 8 }, () => store.useLoadOrder({ orderDigest, amountMinor: 1n, usedAt }, 1_000n)));
      expect(same.filter((outcome) => outcome === 'used')).toHaveLength(1);
      expect(same.filter((outcome) => outcome === 'used-before')).toHaveLength(7);
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
