import fc from 'fast-check';
import { sql } from 'kysely';
import { afterAll, expect, test } from 'vitest';
import { useFreshDatabase } from '../shared/database-for-tests.ts';
import { openDatabase, type Database } from '../shared/database.ts';
import { createLog } from '../shared/log.ts';
import { createMemorySecurityStore } from './memory-store.ts';
import { securityMigrations } from './migrations.ts';
import { createPostgresSecurityStore, type SecuritySchema } from './postgres-store.ts';
import { describeSecurityStore, newCard, newDigest } from './store.contract.ts';

const url = useFreshDatabase();
let opened: Promise<Database<SecuritySchema>> | undefined;
const database = (): Promise<Database<SecuritySchema>> => (opened ??= openDatabase<SecuritySchema>({ url: url(), migrations: securityMigrations, log: createLog({ name: 'test', level: 'silent' }) }));

afterAll(async () => {
  await (await opened)?.close();
});

const memory = createMemorySecurityStore();
describeSecurityStore('the memory store', () => Promise.resolve(memory));
describeSecurityStore('the PostgreSQL store', async () => createPostgresSecurityStore(await database()));

test('a card and an order are one durable commit each', async () => {
  const { commits } = await database();
  const store = createPostgresSecurityStore(await database());
  const before = { ...commits };
  await store.recordIssued(newCard());
  await store.useOrder(newDigest(), 1);
  await store.findCard(newCard().cardId);
  expect({ durable: commits.durable - before.durable, relaxed: commits.relaxed - before.relaxed }).toEqual({ durable: 2, relaxed: 0 });
  const card = newCard({ keyVersion: 1 });
  await store.recordIssued(card);
  await store.beginRekey(card.cardId, 2);
  await store.finishRekey(card.cardId, 2);
  await store.useLoadOrder({ orderDigest: newDigest(), amountMinor: 1n, usedAt: 1 }, 1_000_000n);
  expect({ durable: commits.durable - before.durable, relaxed: commits.relaxed - before.relaxed }).toEqual({ durable: 6, relaxed: 0 });
});

test.each([
  ['forget an order', sql`delete from used_orders`, 'used_orders_only_grow'],
  ['forget all orders', sql`truncate used_orders`, 'used_orders_only_grow'],
  ['give an order another digest', sql`update used_orders set order_digest = 'x'`, 'used_orders_only_grow'],
  ['forget a card', sql`delete from issued_cards`, 'issued_cards_only_grow'],
  ['forget all cards', sql`truncate issued_cards`, 'issued_cards_only_grow'],
  ['give a card another key version', sql`update issued_cards set key_version = 2 where key_version = 1`, 'issued_cards_are_re_keyed_only'],
  ['begin and finish a re-keying at once', sql`update issued_cards set key_version = 2, rekeying_to = 3 where key_version = 1`, 'issued_cards_are_re_keyed_only'],
  ['give a card older keys', sql`update issued_cards set rekeying_to = 4 where key_version = 5 and rekeying_to is null`, 're_keyed_to_newer_keys'],
  ['let a re-keying lead elsewhere', sql`update issued_cards set rekeying_to = 7 where rekeying_to = 6`, 'issued_cards_are_re_keyed_only'],
  ['forget a re-keying', sql`update issued_cards set rekeying_to = null where rekeying_to = 6`, 'issued_cards_are_re_keyed_only'],
  ['finish another re-keying', sql`update issued_cards set key_version = 7, rekeying_to = null where rekeying_to = 6`, 'issued_cards_are_re_keyed_only'],
  ['issue a card at another time', sql`update issued_cards set issued_at = 2, rekeying_to = 6 where rekeying_to = 6`, 'issued_cards_are_re_keyed_only'],
  ['count a load below nothing', sql`insert into used_orders values ('y', 1, -1)`, 'used_orders_amount_minor_check'],
  ['issue with the factory keys', sql`insert into issued_cards values ('04000000000000', 0, 1)`, 'issued_cards_key_version_check'],
  ['spell a card in small letters', sql`insert into issued_cards values ('04abcdef000000', 1, 1)`, 'issued_cards_card_id_check'],
])('the database refuses to %s', async (_what, statement, constraint) => {
  const { durably } = await database();
  const store = createPostgresSecurityStore(await database());
  for (const keyVersion of [1, 5]) await store.recordIssued(newCard({ keyVersion }));
  const torn = newCard({ keyVersion: 5 });
  await store.recordIssued(torn);
  await store.beginRekey(torn.cardId, 6);
  await expect(durably((transaction) => statement.execute(transaction))).rejects.toMatchObject({ constraint });
});

test('memory and PostgreSQL answer the same to any commands', async () => {
  const stores = [createMemorySecurityStore(), createPostgresSecurityStore(await database())];
  const anyCommand = fc.oneof(
    fc.record({ record: fc.nat(2), keyVersion: fc.integer({ min: 1, max: 5 }), issuedAt: fc.maxSafeNat() }),
    fc.record({ use: fc.nat(2), usedAt: fc.maxSafeNat() }),
    fc.record({ find: fc.nat(2) }),
    fc.record({ begin: fc.nat(2), toVersion: fc.integer({ min: 1, max: 6 }) }),
    fc.record({ finish: fc.nat(2), toVersion: fc.integer({ min: 1, max: 6 }) }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(anyCommand, { maxLength: 30 }), async (commands) => {
      const cards = [newCard(), newCard(), newCard()].map(({ cardId }) => cardId);
      const digests = [newDigest(), newDigest(), newDigest()];
      for (const command of commands) {
        const [one, other] = await Promise.all(
          stores.map((store): Promise<unknown> => {
            if ('record' in command) return store.recordIssued({ cardId: cards[command.record]!, keyVersion: command.keyVersion, issuedAt: command.issuedAt });
            if ('begin' in command) return store.beginRekey(cards[command.begin]!, command.toVersion);
            if ('finish' in command) return store.finishRekey(cards[command.finish]!, command.toVersion);
            return 'use' in command ? store.useOrder(digests[command.use]!, command.usedAt) : store.findCard(cards[command.find]!);
          }),
        );
        expect(other).toEqual(one);
      }
    }),
    { numRuns: 20 },
  );
});
