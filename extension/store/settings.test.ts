import fc from 'fast-check';
import { expect, test } from 'vitest';
import { encodeOpenPayment, parseOpenPayment, type OpenPayment } from './bill-record.ts';
import { createMemory, STORAGE_KEYS } from './settings.ts';

const SHOP = { shopId: 'hanamaru', legalName: 'Hanamaru Books', origin: 'https://shop.example' };
const DEFAULTS = { speech: false, readBalance: true };

/** As the browser's: what is read back has been through JSON. */
function createStorage(initial: Record<string, unknown> = {}) {
  const items = new Map(Object.entries(initial));
  return {
    items,
    get: (key: string) => Promise.resolve(items.has(key) ? { [key]: JSON.parse(JSON.stringify(items.get(key))) as unknown } : {}),
    set: (changed: Record<string, unknown>) => {
      for (const [key, value] of Object.entries(changed)) items.set(key, JSON.parse(JSON.stringify(value)));
      return Promise.resolve();
    },
  };
}

function openPayment(number: number): OpenPayment {
  const paymentId = `5f0c2d1e-8a67-4b8e-9a53-${String(number).padStart(12, '0')}`;
  const bill = { shop: SHOP, lines: [{ name: 'Sencha', quantity: 1, lineMinor: 720n }], totalMinor: 720n, currency: 'JPY' as const, orderId: 'order-1', billId: 'bill-0001', amountMinor: 720n, expiresAt: 1, billDigest: 'A'.repeat(43) };
  return { paymentId, cardId: '04A1B2C3D4E5F6', at: 1_700_000_000_000.25, bill };
}

test('a payment that is open comes back from storage as it was', async () => {
  const storage = createStorage();
  await createMemory(storage, DEFAULTS).addOpenPayment(openPayment(1));
  expect(await createMemory(storage, DEFAULTS).openPayments()).toEqual([openPayment(1)]);
});

test('every amount, number and name of an open payment survives JSON', () => {
  fc.assert(
    fc.property(fc.bigInt({ min: 0n, max: 0x7fff_ffffn }), fc.string(), fc.nat(), (amountMinor, legalName, expiresAt) => {
      const payment = openPayment(1);
      const changed = { ...payment, bill: { ...payment.bill, amountMinor, totalMinor: amountMinor, expiresAt, shop: { ...SHOP, legalName } } };
      expect(parseOpenPayment(JSON.parse(JSON.stringify(encodeOpenPayment(changed))))).toEqual(changed);
    }),
  );
});

test.each([undefined, null, 'x', {}, { ...(encodeOpenPayment(openPayment(1)) as object), paymentId: 'x' }, { ...(encodeOpenPayment(openPayment(1)) as object), extra: 1 }])('what we did not write is no open payment: %j', (value) => {
  expect(parseOpenPayment(value)).toBeUndefined();
});

test('the same payment is remembered once, a settled one no more, and one that cannot be read hides no other', async () => {
  const storage = createStorage({ [STORAGE_KEYS.unresolved]: ['rubbish'] });
  const memory = createMemory(storage, DEFAULTS);
  await memory.addOpenPayment(openPayment(1));
  await memory.addOpenPayment(openPayment(2));
  await memory.addOpenPayment(openPayment(1));
  expect((await memory.openPayments()).map(({ paymentId }) => paymentId.at(-1))).toEqual(['2', '1']);
  await memory.removeOpenPayment(openPayment(2).paymentId);
  expect(await memory.openPayments()).toEqual([openPayment(1)]);
});

test('a shop is known by its origin and its name together', async () => {
  const memory = createMemory(createStorage(), DEFAULTS);
  expect(await memory.isKnownShop(SHOP)).toBe(false);
  await memory.rememberShop(SHOP);
  await memory.rememberShop({ ...SHOP, origin: 'https://other.example' });
  expect(await memory.isKnownShop(SHOP)).toBe(true);
  expect(await memory.isKnownShop({ ...SHOP, shopId: 'another' })).toBe(false);
});

test('settings are the deployment\'s until the customer changes them, and damaged ones do no harm', async () => {
  const storage = createStorage();
  const memory = createMemory(storage, { speech: false, readBalance: false });
  expect(await memory.settings()).toEqual({ speech: false, readBalance: false });
  await memory.saveSettings({ speech: true, readBalance: true });
  expect(await memory.settings()).toEqual({ speech: true, readBalance: true });
  storage.items.set(STORAGE_KEYS.settings, 'rubbish');
  expect(await memory.settings()).toEqual({ speech: false, readBalance: false });
  expect(await memory.readerName()).toBeNull();
  await memory.saveReaderName('RC-S300');
  expect(await memory.readerName()).toBe('RC-S300');
});
