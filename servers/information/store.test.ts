import fc from 'fast-check';
import { sql } from 'kysely';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { useFreshDatabase } from '../shared/database-for-tests.ts';
import { openDatabase, type Database } from '../shared/database.ts';
import { createLog } from '../shared/log.ts';
import { createMemoryInformationStore } from './memory-store.ts';
import { informationMigrations } from './migrations.ts';
import { createPostgresInformationStore, type InformationSchema } from './postgres-store.ts';
import { describeInformationOfCards, newActivationCode } from './store-cards.contract.ts';
import { describeInformationStore, newCard, newCode, newCustomer, newKey, newShop, NOW } from './store.contract.ts';
import type { ActivationCode, InformationStore } from './store.ts';

const url = useFreshDatabase();
let database: Database<InformationSchema>;

beforeAll(async () => {
  database = await openDatabase<InformationSchema>({ url: url(), migrations: informationMigrations, log: createLog({ name: 'test', level: 'silent' }) });
});
afterAll(() => database.close());

const memory = createMemoryInformationStore();
describeInformationStore('the memory store', () => Promise.resolve(memory));
describeInformationStore('the PostgreSQL store', () => Promise.resolve(createPostgresInformationStore(database)));
describeInformationOfCards('the memory store, and cards', () => Promise.resolve(memory));
describeInformationOfCards('the PostgreSQL store, and cards', () => Promise.resolve(createPostgresInformationStore(database)));

test('every change is one durable commit', async () => {
  const store = createPostgresInformationStore(database);
  const before = { ...database.commits };
  const customer = newCustomer();
  const code = newCode(customer.customerId);
  await store.addCustomer(customer);
  await store.addEnrolmentCode(code);
  await store.enrol(code.codeDigest, NOW, () => Promise.resolve(newKey()));
  await store.registerShop(newShop(), newKey());
  const { cardId } = newCard(null);
  const activation = newActivationCode(cardId);
  await store.registerCard(newCard(null, { cardId }));
  await store.addActivationCode(activation);
  await store.wouldLink({ ...activation, now: NOW });
  await store.linkCard({ ...activation, customerId: customer.customerId, now: NOW });
  await store.blockCard(cardId, NOW);
  expect({ durable: database.commits.durable - before.durable, relaxed: database.commits.relaxed - before.relaxed }).toEqual({ durable: 8, relaxed: 0 });
});

test.each([
  ['use a code twice', sql`update enrolment_codes set used_at = null`, 'an_enrolment_code_works_once'],
  ['give a key to another customer', sql`update customer_keys set customer_id = customer_id`, 'a_customer_key_never_moves'],
  ['put another certificate under a key', sql`update customer_keys set chain = '{x}'`, 'a_customer_key_never_moves'],
  ['give a key to another shop', sql`update shop_keys set shop_id = shop_id`, 'a_shop_key_never_moves'],
  ['give a card to another customer', sql`update cards set customer_id = 'x' where customer_id is not null`, 'a_card_never_moves'],
  ['take a card from its customer', sql`update cards set customer_id = null`, 'a_card_never_moves'],
  ['give a card another number', sql`update cards set card_id = '04000000000000'`, 'a_card_never_moves'],
  ['unblock a card', sql`update cards set blocked_at = null`, 'a_card_is_blocked_for_good'],
  ['block a card at another time', sql`update cards set blocked_at = blocked_at + 1`, 'a_card_is_blocked_for_good'],
  ['link a lost card', sql`update cards set customer_id = (select customer_id from customers limit 1) where customer_id is null and blocked_at is not null`, 'a_blocked_card_is_linked_to_nobody'],
  ['forget a card', sql`delete from cards`, 'cards_are_kept'],
  ['forget all cards', sql`truncate cards cascade`, 'cards_are_kept'],
  ['use an activation code twice', sql`update activation_codes set used_at = null, used_by = null`, 'an_activation_code_works_once'],
  ['make an activation code last longer', sql`update activation_codes set expires_at = expires_at + 1`, 'an_activation_code_works_once'],
  ['use an activation code for nobody', sql`update activation_codes set used_at = 1 where used_at is null`, 'used_by_somebody'],
  ['use an activation code when it is too old', sql`update activation_codes set used_at = expires_at, used_by = (select customer_id from customers limit 1) where used_at is null`, 'activation_codes_check'],
  ['keep a key without a certificate', sql`insert into customer_keys select 'x', customer_id, '{}', 1 from customers limit 1`, 'customer_keys_chain_check'],
  ['spell a card in small letters', sql`insert into cards select '04abcdef000000', customer_id, 'EUR', 1 from customers limit 1`, 'cards_card_id_check'],
])('the database refuses to %s', async (_what, statement, constraint) => {
  await expect(database.durably((transaction) => statement.execute(transaction))).rejects.toMatchObject({ constraint });
});

const index = fc.nat(2);
const anyCommand = fc.oneof(
  fc.record({ addCode: index, expiresAt: fc.integer({ min: NOW - 1, max: NOW + 2 }) }),
  fc.record({ enrol: fc.nat(5), key: index, isMade: fc.boolean() }),
  fc.record({ register: index, key: index, legalName: fc.string({ unit: 'grapheme' }).filter((name) => !name.includes('\0')) }),
  fc.record({ issue: index, to: fc.option(index), limitMinor: fc.bigInt(0n, 0x7fff_ffffn) }),
  fc.record({ activate: index, expiresAt: fc.integer({ min: NOW - 1, max: NOW + 2 }) }),
  fc.record({ link: index, isAstray: fc.boolean(), code: fc.nat(5), for: index }),
  fc.record({ block: index, blockedAt: fc.nat(5) }),
);
type Command = typeof anyCommand extends fc.Arbitrary<infer C> ? C : never;

/** The names of one run: new each time, because the runs share their stores. */
function newRun() {
  const customers = [newCustomer(), newCustomer(), newCustomer({ name: null })];
  const codes: string[] = [];
  const [keys, shopKeys, shops, cards] = [[newKey(), newKey(), newKey()], [newKey(), newKey(), newKey()], [newShop(), newShop(), newShop()], [newCard(null), newCard(null), newCard(null)]];
  const activationCodes: ActivationCode[] = [];
  const act = (command: Command): ((store: InformationStore) => Promise<unknown>) => {
    if ('addCode' in command) {
      const code = newCode(customers[command.addCode]!.customerId, { expiresAt: command.expiresAt });
      codes.push(code.codeDigest);
      return (store) => store.addEnrolmentCode(code);
    }
    if ('enrol' in command) return (store) => store.enrol(codes[command.enrol % codes.length] ?? 'unknown', NOW, () => (command.isMade ? Promise.resolve(keys[command.key]!) : Promise.reject(new Error('no key'))));
    if ('register' in command) return (store) => store.registerShop({ ...shops[command.register]!, legalName: command.legalName }, shopKeys[command.key]!);
    if ('issue' in command) return (store) => store.registerCard({ ...cards[command.issue]!, customerId: command.to === null ? null : customers[command.to]!.customerId, limitMinor: command.limitMinor });
    if ('activate' in command) {
      const code = newActivationCode(cards[command.activate]!.cardId, { expiresAt: command.expiresAt });
      activationCodes.push(code);
      return (store) => store.addActivationCode(code);
    }
    if ('block' in command) return (store) => store.blockCard(cards[command.block]!.cardId, command.blockedAt);
    const code = activationCodes[command.code % activationCodes.length];
    const attempt = { cardId: command.isAstray || code === undefined ? cards[command.link]!.cardId : code.cardId, codeDigest: code?.codeDigest ?? 'unknown', now: NOW };
    return async (store) => [await store.wouldLink(attempt), await store.linkCard({ ...attempt, customerId: customers[command.for]!.customerId })];
  };
  const look = async (store: InformationStore) => ({
    customers: await Promise.all(keys.map(({ thumbprint }) => store.findCustomerByKey(thumbprint))),
    shops: await Promise.all([...shops.map(({ shopId }) => store.findShop(shopId)), ...shopKeys.map(({ thumbprint }) => store.findShopByKey(thumbprint))]),
    cards: await Promise.all(cards.map(({ cardId }) => store.findCard(cardId))),
  });
  return { customers, act, look };
}

test('memory and PostgreSQL answer the same to any commands, and look the same after them', async () => {
  const stores = [createMemoryInformationStore(), createPostgresInformationStore(database)];
  await fc.assert(
    fc.asyncProperty(fc.array(anyCommand, { minLength: 5, maxLength: 40 }), async (commands) => {
      const { customers, act, look } = newRun();
      for (const store of stores) for (const customer of customers) await store.addCustomer(customer);
      for (const command of commands) {
        const run = act(command);
        const [one, other] = await Promise.all(stores.map((store) => run(store).catch(() => 'rejected')));
        expect(other).toEqual(one);
      }
      const [one, other] = await Promise.all(stores.map(look));
      expect(other).toEqual(one);
    }),
    { numRuns: 25 },
  );
});
