/** The security server's store on PostgreSQL: what it answers "yes" to is on the disk, and primary keys decide who was first. */
import type { Database } from '../shared/database.ts';
import type { SecurityStore } from './store.ts';

export interface SecuritySchema {
  issued_cards: { card_id: string; key_version: number; issued_at: bigint };
  used_orders: { order_digest: string; used_at: bigint };
}

/** The database is opened with securityMigrations, and closed by whoever opened it. */
export function createPostgresSecurityStore({ read, durably }: Database<SecuritySchema>): SecurityStore {
  return {
    findCard: async (cardId) => {
      const row = await read.selectFrom('issued_cards').selectAll().where('card_id', '=', cardId).executeTakeFirst();
      return row === undefined ? undefined : { cardId: row.card_id, keyVersion: row.key_version, issuedAt: Number(row.issued_at) };
    },
    // Who comes second waits for the first one's commit: "there already" is on the disk as well.
    recordIssued: async ({ cardId, keyVersion, issuedAt }) => {
      const row = { card_id: cardId, key_version: keyVersion, issued_at: BigInt(issuedAt) };
      await durably((transaction) => transaction.insertInto('issued_cards').values(row).onConflict((known) => known.doNothing()).execute());
    },
    useOrder: async (orderDigest, usedAt) => {
      const row = { order_digest: orderDigest, used_at: BigInt(usedAt) };
      const used = await durably((transaction) => transaction.insertInto('used_orders').values(row).onConflict((known) => known.doNothing()).returning('order_digest').execute());
      return used.length === 1;
    },
  };
}
