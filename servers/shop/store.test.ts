import { afterAll, expect, test } from 'vitest';
import { useFreshDatabase } from '../shared/database-for-tests.ts';
import { openDatabase, type Database } from '../shared/database.ts';
import { createLog } from '../shared/log.ts';
import { createMemoryShopStore } from './memory-store.ts';
import { SHOP_MIGRATIONS } from './migrations.ts';
import { createPostgresShopStore, type ShopSchema } from './postgres-store.ts';
import { describeShopStore } from './store.contract.ts';

const url = useFreshDatabase();
let opened: Promise<Database<ShopSchema>> | undefined;
const database = (): Promise<Database<ShopSchema>> => (opened ??= openDatabase<ShopSchema>({ url: url(), migrations: SHOP_MIGRATIONS, log: createLog({ name: 'test', level: 'silent' }) }));

afterAll(async () => {
  await (await opened)?.close();
});

const memory = createMemoryShopStore();
describeShopStore('the memory store', () => Promise.resolve(memory));
describeShopStore('the PostgreSQL store', async () => createPostgresShopStore(await database()));

test('orders, bills and outcomes are durable commits', async () => {
  const { commits } = await database();
  const store = createPostgresShopStore(await database());
  const before = { ...commits };
  await store.addOrder({ orderId: 'o', decisionDigest: 'd', estimateDigest: 'e', lines: [], totalMinor: 1n, currency: 'JPY', createdAt: 1 });
  await store.addBill({ billId: 'b', orderId: 'o', billDigest: 'bd', amountMinor: 1n, currency: 'JPY', payer: 'p', expiresAt: 2, jws: 'j' });
  await store.recordOutcome('b', { outcome: 'paid', paymentId: 'p', decidedAt: 3, notice: 'n', recordedAt: 4 });
  expect({ durable: commits.durable - before.durable, relaxed: commits.relaxed - before.relaxed }).toEqual({ durable: 3, relaxed: 0 });
});
