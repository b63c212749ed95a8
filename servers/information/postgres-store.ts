/** The information server's store on PostgreSQL: every change is on the disk before it resolves, and a code, key or card has one owner. */
import { strict as assert } from 'node:assert';
import { sql, type Generated } from 'kysely';
import { isCurrency } from '#protocol/amount.ts';
import type { Database } from '../shared/database.ts';
import type { InformationStore, RegisteredKey } from './store.ts';

interface KeyRow {
  thumbprint: string;
  chain: string[];
  registered_at: bigint;
}

export interface InformationSchema {
  customers: { customer_id: string; name: string | null; created_at: bigint };
  enrolment_codes: { code_digest: string; customer_id: string; expires_at: bigint; used_at: Generated<bigint | null> };
  customer_keys: KeyRow & { customer_id: string };
  shops: { shop_id: string; legal_name: string; origin: string };
  shop_keys: KeyRow & { shop_id: string };
  cards: { card_id: string; customer_id: string | null; currency: string; limit_minor: bigint; blocked_at: Generated<bigint | null> };
  activation_codes: { code_digest: string; card_id: string; expires_at: bigint; used_at: Generated<bigint | null>; used_by: Generated<string | null> };
}

/** The database is opened with informationMigrations, and closed by whoever opened it. */
export function createPostgresInformationStore(database: Database<InformationSchema>): InformationStore {
  return { ...customersOf(database), ...shopsOf(database), ...cardsOf(database), ...activationOf(database) };
}

function customersOf({ read, durably }: Database<InformationSchema>): Pick<InformationStore, 'addCustomer' | 'addEnrolmentCode' | 'enrol' | 'findCustomerByKey'> {
  return {
    addCustomer: async ({ customerId, name, createdAt }) => {
      await durably((transaction) => transaction.insertInto('customers').values({ customer_id: customerId, name, created_at: BigInt(createdAt) }).execute());
    },
    addEnrolmentCode: async ({ codeDigest, customerId, expiresAt }) => {
      const added = await durably((transaction) =>
        transaction
          .insertInto('enrolment_codes')
          .columns(['code_digest', 'customer_id', 'expires_at'])
          .expression((select) => select.selectFrom('customers').where('customer_id', '=', customerId).select([sql<string>`${codeDigest}::text`.as('code_digest'), 'customer_id', sql<bigint>`${BigInt(expiresAt)}::bigint`.as('expires_at')]))
          .returning('code_digest')
          .execute(),
      );
      return added.length === 1;
    },
    enrol: (codeDigest, now, keyFor) =>
      durably(async (transaction) => {
        // The row stays locked until the key is there: a second browser waits here, then finds the code used, or free again if this one failed.
        const code = await transaction
          .updateTable('enrolment_codes')
          .set({ used_at: BigInt(now) })
          .where('code_digest', '=', codeDigest)
          .where('used_at', 'is', null)
          .where('expires_at', '>', BigInt(now))
          .returning('customer_id')
          .executeTakeFirst();
        if (code === undefined) return undefined;
        const customerId = code.customer_id;
        const key = await keyFor(customerId);
        await transaction.insertInto('customer_keys').values({ ...encodeKey(key), customer_id: customerId }).execute();
        return { customerId, key };
      }),
    findCustomerByKey: async (thumbprint) => {
      const row = await read.selectFrom('customer_keys').select(['customer_id', 'chain']).where('thumbprint', '=', thumbprint).executeTakeFirst();
      return row === undefined ? undefined : { customerId: row.customer_id, chain: row.chain };
    },
  };
}

function shopsOf({ read, durably }: Database<InformationSchema>): Pick<InformationStore, 'registerShop' | 'findShopByKey' | 'findShop'> {
  return {
    registerShop: async ({ shopId, legalName, origin }, key) => {
      const named = { legal_name: legalName, origin };
      await durably(async (transaction) => {
        await transaction.insertInto('shops').values({ shop_id: shopId, ...named }).onConflict((known) => known.column('shop_id').doUpdateSet(named)).execute();
        const added = await transaction.insertInto('shop_keys').values({ ...encodeKey(key), shop_id: shopId }).onConflict((known) => known.doNothing()).returning('shop_id').execute();
        if (added.length === 1) return;
        const { shop_id: owner } = await transaction.selectFrom('shop_keys').select('shop_id').where('thumbprint', '=', key.thumbprint).executeTakeFirstOrThrow();
        assert(owner === shopId, 'the key of one shop was to be registered for another');
      });
    },
    findShopByKey: async (thumbprint) => {
      const row = await read.selectFrom('shop_keys').innerJoin('shops', 'shops.shop_id', 'shop_keys.shop_id').select(['shops.shop_id', 'legal_name', 'origin', 'chain']).where('thumbprint', '=', thumbprint).executeTakeFirst();
      return row === undefined ? undefined : { shopId: row.shop_id, legalName: row.legal_name, origin: row.origin, chain: row.chain };
    },
    findShop: async (shopId) => {
      const row = await read.selectFrom('shops').selectAll().where('shop_id', '=', shopId).executeTakeFirst();
      return row === undefined ? undefined : { shopId: row.shop_id, legalName: row.legal_name, origin: row.origin };
    },
  };
}

function cardsOf({ read, durably }: Database<InformationSchema>): Pick<InformationStore, 'registerCard' | 'blockCard' | 'findCard'> {
  return {
    registerCard: ({ cardId, customerId, currency, limitMinor }) =>
      durably(async (transaction) => {
        const row = { card_id: cardId, customer_id: customerId, currency, limit_minor: limitMinor };
        const added = await transaction.insertInto('cards').values(row).onConflict((known) => known.doNothing()).returning('card_id').execute();
        if (added.length === 1) return true;
        const { customer_id: holder } = await transaction.selectFrom('cards').select('customer_id').where('card_id', '=', cardId).executeTakeFirstOrThrow();
        return holder === customerId;
      }),
    blockCard: (cardId, blockedAt) =>
      durably(async (transaction) => {
        const blocked = await transaction.updateTable('cards').set({ blocked_at: sql<bigint>`coalesce(blocked_at, ${BigInt(blockedAt)})` }).where('card_id', '=', cardId).returning('card_id').execute();
        return blocked.length === 1;
      }),
    findCard: async (cardId) => {
      const row = await read.selectFrom('cards').selectAll().where('card_id', '=', cardId).executeTakeFirst();
      if (row === undefined) return undefined;
      const { currency } = row;
      assert(isCurrency(currency), 'a currency that was never written');
      return { cardId: row.card_id, customerId: row.customer_id, currency, limitMinor: row.limit_minor, blockedAt: row.blocked_at === null ? null : Number(row.blocked_at) };
    },
  };
}

function activationOf({ read, durably }: Database<InformationSchema>): Pick<InformationStore, 'addActivationCode' | 'wouldLink' | 'linkCard'> {
  return {
    addActivationCode: ({ codeDigest, cardId, expiresAt }) =>
      durably(async (transaction) => {
        const card = await transaction.selectFrom('cards').select('customer_id').where('card_id', '=', cardId).executeTakeFirst();
        if (card === undefined) return 'no-card';
        if (card.customer_id !== null) return 'linked';
        await transaction.insertInto('activation_codes').values({ code_digest: codeDigest, card_id: cardId, expires_at: BigInt(expiresAt) }).execute();
        return 'added';
      }),
    wouldLink: async ({ cardId, codeDigest, now }) => {
      const code = await read
        .selectFrom('activation_codes')
        .innerJoin('cards', 'cards.card_id', 'activation_codes.card_id')
        .select('code_digest')
        .where('code_digest', '=', codeDigest)
        .where('cards.card_id', '=', cardId)
        .where('used_at', 'is', null)
        .where('expires_at', '>', BigInt(now))
        .where('customer_id', 'is', null)
        .where('blocked_at', 'is', null)
        .executeTakeFirst();
      return code !== undefined;
    },
    linkCard: ({ cardId, codeDigest, now, customerId }) =>
      durably(async (transaction) => {
        // The code's row stays locked to the end: who comes with it at the same time waits here, then finds it used.
        const code = await transaction.selectFrom('activation_codes').select(['expires_at', 'used_by']).where('code_digest', '=', codeDigest).where('card_id', '=', cardId).forUpdate().executeTakeFirst();
        if (code === undefined) return false;
        if (code.used_by !== null) return code.used_by === customerId;
        if (code.expires_at <= BigInt(now)) return false;
        // Who comes with another code, or blocks the card, waits for this row, then finds it linked.
        const linked = await transaction.updateTable('cards').set({ customer_id: customerId }).where('card_id', '=', cardId).where('customer_id', 'is', null).where('blocked_at', 'is', null).returning('card_id').execute();
        if (linked.length === 0) return false;
        await transaction.updateTable('activation_codes').set({ used_at: BigInt(now), used_by: customerId }).where('code_digest', '=', codeDigest).execute();
        return true;
      }),
  };
}

function encodeKey({ thumbprint, chain, registeredAt }: RegisteredKey): KeyRow {
  return { thumbprint, chain: [...chain], registered_at: BigInt(registeredAt) };
}
