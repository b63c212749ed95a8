/** What every InformationStore must do; run against each of them. */
import { randomBytes, randomUUID } from 'node:crypto';
import { beforeEach, describe, expect, test, vi } from 'vitest';
import type { CustomerRecord, EnrolmentCode, InformationStore, IssuedCard, RegisteredKey, ShopRecord } from './store.ts';

export const NOW = 1_763_800_000_000;

export function newCustomer(otherwise: Partial<CustomerRecord> = {}): CustomerRecord {
  return { customerId: randomUUID(), name: `O'Hara "花子" ${newText()}`, createdAt: NOW, ...otherwise };
}

export function newCode(customerId: string, otherwise: Partial<EnrolmentCode> = {}): EnrolmentCode {
  return { codeDigest: newText(), customerId, expiresAt: NOW + 1, ...otherwise };
}

export function newKey(otherwise: Partial<RegisteredKey> = {}): RegisteredKey {
  return { thumbprint: newText(), chain: ['leaf-_', 'issuer,{}"\\'], registeredAt: NOW, ...otherwise };
}

export function newShop(otherwise: Partial<ShopRecord> = {}): ShopRecord {
  return { shopId: `shop-${newText()}`, legalName: 'Tee & Bücher 株式会社', origin: 'https://tea.example:8443', ...otherwise };
}

export function newCard(customerId: string | null, otherwise: Partial<IssuedCard> = {}): IssuedCard {
  return { cardId: `04${randomBytes(6).toString('hex').toUpperCase()}`, customerId, currency: 'EUR', limitMinor: 2_147_483_647n, ...otherwise };
}

export function newText(): string {
  return randomBytes(16).toString('base64url');
}

/** The tests share what `openStore` opens, and leave their records in it. */
export function describeInformationStore(name: string, openStore: () => Promise<InformationStore>): void {
  describe(name, () => {
    let store: InformationStore;
    beforeEach(async () => {
      store = await openStore();
    });

    const addCustomer = async (otherwise: Partial<CustomerRecord> = {}): Promise<string> => {
      const customer = newCustomer(otherwise);
      await store.addCustomer(customer);
      return customer.customerId;
    };
    const addCode = async (otherwise: Partial<EnrolmentCode> = {}): Promise<EnrolmentCode> => {
      const code = newCode(await addCustomer(), otherwise);
      expect(await store.addEnrolmentCode(code)).toBe(true);
      return code;
    };
    const enrol = ({ codeDigest }: EnrolmentCode, key: RegisteredKey, now = NOW) => store.enrol(codeDigest, now, () => Promise.resolve(key));

    describe('customers and their codes', () => {
      test('the number of a customer works once; a name is not needed', async () => {
        const customerId = await addCustomer({ name: null });
        await expect(store.addCustomer(newCustomer({ customerId }))).rejects.toThrow();
      });

      test('a code is made for a customer who is there, and once', async () => {
        const code = await addCode();
        await expect(store.addEnrolmentCode(code)).rejects.toThrow();
        expect(await store.addEnrolmentCode(newCode(randomUUID()))).toBe(false);
      });

      test('a code makes one key the customer’s', async () => {
        const code = await addCode();
        const key = newKey();
        const keyFor = vi.fn(() => Promise.resolve(key));
        expect(await store.enrol(code.codeDigest, NOW, keyFor)).toEqual({ customerId: code.customerId, key });
        expect(keyFor.mock.calls).toEqual([[code.customerId]]);
        expect(await store.findCustomerByKey(key.thumbprint)).toEqual({ customerId: code.customerId, chain: key.chain });
        expect(await store.findCustomerByKey(newText())).toBeUndefined();
        const second = newKey();
        expect(await enrol(code, second)).toBeUndefined();
        expect(await store.findCustomerByKey(second.thumbprint)).toBeUndefined();
      });

      test('a customer may have several codes and keys', async () => {
        const customerId = await addCustomer();
        for (const key of [newKey(), newKey()]) {
          const code = newCode(customerId);
          await store.addEnrolmentCode(code);
          expect(await enrol(code, key)).toEqual({ customerId, key });
          expect(await store.findCustomerByKey(key.thumbprint)).toEqual({ customerId, chain: key.chain });
        }
      });

      test('a code that is unknown, or expired at that moment, makes no key', async () => {
        const keyFor = vi.fn(() => Promise.resolve(newKey()));
        const code = await addCode();
        expect(await store.enrol(newText(), NOW, keyFor)).toBeUndefined();
        expect(await store.enrol(code.codeDigest, code.expiresAt, keyFor)).toBeUndefined();
        expect(keyFor).not.toHaveBeenCalled();
        expect(await enrol(code, newKey(), code.expiresAt - 1)).toBeDefined();
      });

      test('of browsers that come at once exactly one gets a key', async () => {
        const code = await addCode();
        const keys = Array.from({ length: 6 }, () => newKey());
        const keyFor = vi.fn<(turn: number) => void>();
        const enrolled = await Promise.all(
          keys.map((key, turn) =>
            store.enrol(code.codeDigest, NOW, () => {
              keyFor(turn);
              return Promise.resolve(key);
            }),
          ),
        );
        expect(enrolled.filter((one) => one !== undefined)).toHaveLength(1);
        expect(keyFor).toHaveBeenCalledTimes(1);
        const known = await Promise.all(keys.map(({ thumbprint }) => store.findCustomerByKey(thumbprint)));
        expect(known.map((one) => one !== undefined)).toEqual(enrolled.map((one) => one !== undefined));
      });

      test('a code is free again when its key could not be made, also for a browser that waits', async () => {
        const code = await addCode();
        const key = newKey();
        let waiting: Promise<unknown> = Promise.resolve();
        const failing = store.enrol(code.codeDigest, NOW, () => {
          waiting = enrol(code, key);
          return Promise.reject(new Error('no key'));
        });
        await expect(failing).rejects.toThrow('no key');
        expect(await waiting).toEqual({ customerId: code.customerId, key });
      });

      test('a key that is registered already is a bug, and the code stays free', async () => {
        const key = newKey();
        await enrol(await addCode(), key);
        const code = await addCode();
        await expect(enrol(code, key)).rejects.toThrow();
        expect(await enrol(code, newKey())).toBeDefined();
      });
    });

    describe('shops', () => {
      test('are found by number and by key as they were registered', async () => {
        const [shop, key] = [newShop(), newKey()];
        expect(await store.findShop(shop.shopId)).toBeUndefined();
        await store.registerShop(shop, key);
        expect(await store.findShop(shop.shopId)).toEqual(shop);
        expect(await store.findShopByKey(key.thumbprint)).toEqual({ ...shop, chain: key.chain });
        expect(await store.findShopByKey(newText())).toBeUndefined();
      });

      test('have several keys, and name and origin of the last registration', async () => {
        const [shop, first, second] = [newShop(), newKey(), newKey({ chain: ['leaf'] })];
        await store.registerShop(shop, first);
        await store.registerShop(shop, first);
        const moved = { ...shop, legalName: 'New Ltd', origin: 'https://new.example' };
        await store.registerShop(moved, second);
        expect(await store.findShop(shop.shopId)).toEqual(moved);
        expect(await store.findShopByKey(first.thumbprint)).toEqual({ ...moved, chain: first.chain });
        expect(await store.findShopByKey(second.thumbprint)).toEqual({ ...moved, chain: second.chain });
      });

      test('the key of one shop does not become another’s, and nothing else changes', async () => {
        const [shop, other, key] = [newShop(), newShop(), newKey()];
        await store.registerShop(shop, key);
        await expect(store.registerShop(other, key)).rejects.toThrow('the key of one shop');
        expect(await store.findShopByKey(key.thumbprint)).toEqual({ ...shop, chain: key.chain });
        expect(await store.findShop(other.shopId)).toBeUndefined();
      });

      test('may be registered many times at once', async () => {
        const [shop, key] = [newShop(), newKey()];
        await Promise.all(Array.from({ length: 6 }, () => store.registerShop(shop, key)));
        expect(await store.findShopByKey(key.thumbprint)).toEqual({ ...shop, chain: key.chain });
      });
    });
  });
}
