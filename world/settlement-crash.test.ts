import { mkdtempSync, rmSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { APPLICATION_DATABASE, applicationMigrations } from '#servers/application/migrations.ts';
import { createPostgresApplicationStore, type ApplicationSchema } from '#servers/application/postgres-store.ts';
import { asDecided, asIntent, newDecision, newPayment } from '#servers/application/store.fixture.ts';
import type { Decision, Operation } from '#servers/application/store.ts';
import { INFORMATION_DATABASE, informationMigrations } from '#servers/information/migrations.ts';
import { createPostgresInformationStore, type InformationSchema } from '#servers/information/postgres-store.ts';
import { SECURITY_DATABASE, securityMigrations } from '#servers/security/migrations.ts';
import { createPostgresSecurityStore, type SecuritySchema } from '#servers/security/postgres-store.ts';
import { openDatabase, type Database } from '#servers/shared/database.ts';
import { createLog } from '#servers/shared/log.ts';
import { startPostgres, type Postgres } from './postgres.ts';

const log = createLog({ name: 'test', level: 'silent' });
const ANYTIME = Number.MAX_SAFE_INTEGER;
const parent = mkdtempSync(join(process.getuid?.() === 0 ? homedir() : tmpdir(), 'kessai-settlement-crash-'));
const started: Postgres[] = [];
const open: { close(): Promise<void> }[] = [];
let application: Database<ApplicationSchema>;

/** Also brings it back after a crash; the stores find it by themselves, on the same port. */
async function start(): Promise<Postgres> {
  const postgres = await startPostgres({ folder: join(parent, 'postgres'), environment: {}, databases: [APPLICATION_DATABASE, SECURITY_DATABASE, INFORMATION_DATABASE] });
  started.push(postgres);
  return postgres;
}

async function crash(): Promise<void> {
  await started.at(-1)!.crash();
  await start();
}

beforeAll(async () => {
  application = await openDatabase<ApplicationSchema>({ url: (await start()).url(APPLICATION_DATABASE), migrations: applicationMigrations, log });
  open.push(application);
});
afterAll(async () => {
  for (const database of open) await database.close();
  for (const postgres of started) await postgres.stop();
  rmSync(parent, { recursive: true, force: true });
});

test('payment-rules 1: an acknowledged INTENT is there after kill -9 of PostgreSQL, and so is an acknowledged decision with all that belongs to it', async () => {
  const store = createPostgresApplicationStore(application);
  const intent = newPayment();
  expect(await store.writeIntent(intent)).toBe('written');
  await crash();
  expect(await store.unresolvedOf(intent.cardId)).toEqual([asIntent(intent)]);
  expect(await store.writeIntent(newPayment({ bill: intent.bill }))).toBe('bill-taken');

  const decision = newDecision(intent, 'DONE');
  expect(await store.decide(decision)).toBe(true);
  await crash();
  expect(await store.find(intent.paymentId)).toEqual(asDecided(intent, decision));
  expect(await store.decide(newDecision(intent, 'ABORTED'))).toBe(false);
  expect(await store.balanceOf('shop:shop', 'JPY')).toBe(intent.amountMinor);
  expect(await store.dueNotices(ANYTIME, 10)).toEqual([expect.objectContaining({ jws: decision.notice!.jws })]);
});

test('in the middle of many payments: nothing acknowledged is missing, and no decision is there by half', async () => {
  const store = createPostgresApplicationStore(application);
  const owedBefore = await store.balanceOf('shop:shop', 'EUR');
  const acknowledged = new Map<string, Operation>();
  const tried: Decision[] = [];
  let crashed: Promise<void> | undefined;
  const pay = async (): Promise<void> => {
    for (;;) {
      const intent = newPayment({ currency: 'EUR', amountMinor: 7n });
      await store.writeIntent(intent);
      acknowledged.set(intent.paymentId, asIntent(intent));
      const decision = newDecision(intent, 'DONE');
      tried.push(decision);
      await store.decide(decision);
      acknowledged.set(intent.paymentId, asDecided(intent, decision));
      await store.markNotice(`${intent.paymentId}/DONE`, { nextAttemptAt: 1 });
      if (acknowledged.size >= 60) await (crashed ??= started.at(-1)!.crash());
    }
  };
  await Promise.allSettled(Array.from({ length: 4 }, pay)); // each ends with the crash
  await start();

  const decided = new Set(tried.map(({ paymentId }) => paymentId));
  for (const [paymentId, operation] of acknowledged) {
    const found = await store.find(paymentId);
    // A decision that was under way may be there; it is then there whole, as the sums below say.
    if (operation.state === 'DONE' || !decided.has(paymentId)) expect(found).toEqual(operation);
    else expect(found).toMatchObject({ paymentId, operationId: operation.operationId });
  }
  const done = await application.read.selectFrom('card_operations').select('payment_id').where('currency', '=', 'EUR').where('state', '=', 'DONE').execute();
  expect(done.length).toBeGreaterThanOrEqual(56);
  expect(await store.balanceOf('shop:shop', 'EUR')).toBe(owedBefore + 7n * BigInt(done.length));
  const notices = await application.read.selectFrom('notices').select('payment_id').execute();
  expect(notices.map((notice) => notice.payment_id)).toEqual(expect.arrayContaining(done.map((operation) => operation.payment_id)));
});

test('a used order, an issued card and a made key are there after kill -9 of PostgreSQL', async () => {
  const postgres = started.at(-1)!;
  const security = await openDatabase<SecuritySchema>({ url: postgres.url(SECURITY_DATABASE), migrations: securityMigrations, log });
  const information = await openDatabase<InformationSchema>({ url: postgres.url(INFORMATION_DATABASE), migrations: informationMigrations, log });
  open.push(security, information);
  const [cards, customers] = [createPostgresSecurityStore(security), createPostgresInformationStore(information)];
  const { cardId } = newPayment();
  const key = { thumbprint: 'thumbprint', chain: ['leaf'], registeredAt: 1 };
  await customers.addCustomer({ customerId: 'customer', name: null, createdAt: 1 });
  await customers.addEnrolmentCode({ codeDigest: 'code', customerId: 'customer', expiresAt: 10 });
  await Promise.all([cards.useOrder('order', 1), cards.recordIssued({ cardId, keyVersion: 1, issuedAt: 1 }), customers.enrol('code', 2, () => Promise.resolve(key)), customers.registerCard({ cardId, customerId: 'customer', currency: 'JPY', limitMinor: 5n })]);
  await crash();
  expect(await cards.useOrder('order', 2)).toBe(false);
  expect(await cards.findCard(cardId)).toEqual({ cardId, keyVersion: 1, rekeyingTo: null, issuedAt: 1 });
  expect(await customers.enrol('code', 3, () => Promise.resolve(key))).toBeUndefined();
  expect(await customers.findCustomerByKey('thumbprint')).toEqual({ customerId: 'customer', chain: ['leaf'] });
  expect((await customers.findCard(cardId))?.limitMinor).toBe(5n);
});
