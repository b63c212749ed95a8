/** The information server's store in memory, with the semantics of a crash: what is committed stays. For simulation and tests. */
import type { CardRecord, CustomerRecord, EnrolmentCode, InformationStore, RegisteredKey, ShopRecord } from './store.ts';

export function createMemoryInformationStore(): InformationStore {
  const customers = new Map<string, CustomerRecord>();
  const codes = new Map<string, EnrolmentCode>();
  const customerKeys = new Map<string, RegisteredKey & { readonly customerId: string }>();
  const shops = new Map<string, ShopRecord>();
  const shopKeys = new Map<string, RegisteredKey & { readonly shopId: string }>();
  const cards = new Map<string, CardRecord>();
  return {
    addCustomer: (customer) => {
      customers.set(customer.customerId, customer);
      return Promise.resolve();
    },
    addEnrolmentCode: (code) => {
      if (!customers.has(code.customerId)) return Promise.resolve(false);
      codes.set(code.codeDigest, code);
      return Promise.resolve(true);
    },
    enrol: async (codeDigest, now, keyFor) => {
      const code = codes.get(codeDigest);
      if (code === undefined || code.expiresAt <= now) return undefined;
      codes.delete(codeDigest);
      const { customerId } = code;
      const key = await keyFor(customerId).catch((thrown: unknown) => {
        codes.set(codeDigest, code);
        throw thrown;
      });
      customerKeys.set(key.thumbprint, { ...key, customerId });
      return { customerId, key };
    },
    findCustomerByKey: (thumbprint) => Promise.resolve(customerKeys.get(thumbprint)),
    registerShop: (shop, key) => {
      shops.set(shop.shopId, shop);
      shopKeys.set(key.thumbprint, { ...key, shopId: shop.shopId });
      return Promise.resolve();
    },
    findShopByKey: (thumbprint) => {
      const key = shopKeys.get(thumbprint);
      const shop = key === undefined ? undefined : shops.get(key.shopId);
      return Promise.resolve(key === undefined || shop === undefined ? undefined : { ...shop, chain: key.chain });
    },
    findShop: (shopId) => Promise.resolve(shops.get(shopId)),
    linkCard: (card) => {
      const linked = cards.get(card.cardId);
      if (linked !== undefined) return Promise.resolve(linked.customerId === card.customerId);
      cards.set(card.cardId, card);
      return Promise.resolve(true);
    },
    findCard: (cardId) => Promise.resolve(cards.get(cardId)),
  };
}
