/** The security server's store on PostgreSQL: what it answers "yes" to is on the disk, and primary keys and row locks decide who was first. */
import { sql } from 'kysely';
import type { Database } from '../shared/database.ts';
import { LOAD_DAY_MS, type SecurityStore } from './store.ts';

export interface SecuritySchema {
  issued_cards: { card_id: string; key_version: number; rekeying_to: number | null; issued_at: bigint };
  used_orders: { order_digest: string; used_at: bigint; amount_minor: bigint };
  load_turn: { only_row: boolean };
}

/** The database is opened with securityMigrations, and closed by whoever opened it. */
export function createPostgresSecurityStore({ read, durably }: Database<SecuritySchema>): SecurityStore {
  return {
    findCard: async (cardId) => {
      const row = await read.selectFrom('issued_cards').selectAll().where('card_id', '=', cardId).executeTakeFirst();
      return row === undefined ? undefined : { cardId: row.card_id, keyVersion: row.key_version, rekeyingTo: row.rekeying_to, issuedAt: Number(row.issued_at) };
    },
    // Who comes second waits for the first one's commit: "there already" is on the disk as well.
    recordIssued: async ({ cardId, keyVersion, issuedAt }) => {
      const row = { card_id: cardId, key_version: keyVersion, rekeying_to: null, issued_at: BigInt(issuedAt) };
      await durably((transaction) => transaction.insertInto('issued_cards').values(row).onConflict((known) => known.doNothing()).execute());
    },
    beginRekey: async (cardId, toVersion) => {
      const begun = await durably((transaction) =>
        transaction
          .updateTable('issued_cards')
          .set({ rekeying_to: toVersion })
          .where('card_id', '=', cardId)
          .where('key_version', '<', toVersion)
          .where((given) => given.or([given('rekeying_to', 'is', null), given('rekeying_to', '=', toVersion)]))
          .returning('card_id')
          .execute(),
      );
      return begun.length === 1;
    },
    finishRekey: async (cardId, toVersion) => {
      const finished = await durably((transaction) =>
        transaction.updateTable('issued_cards').set({ key_version: toVersion, rekeying_to: null }).where('card_id', '=', cardId).where('rekeying_to', '=', toVersion).returning('card_id').execute(),
      );
      return finished.length === 1;
    },
    useOrder: async (orderDigest, usedAt) => {
      const row = { order_digest: orderDigest, used_at: BigInt(usedAt), amount_minor: 0n };
      const used = await durably((transaction) => transaction.insertInto('used_orders').values(row).onConflict((known) => known.doNothing()).returning('order_digest').execute());
      return used.length === 1;
    },
    useLoadOrder: ({ orderDigest, amountMinor, usedAt }, dayLimitMinor) =>
      durably(async (transaction) => {
        // Whoever holds this row is alone with the day's sum until its commit; a statement after it sees every commit before it.
        await transaction.selectFrom('load_turn').selectAll().forUpdate().execute();
        const known = await transaction.selectFrom('used_orders').select('order_digest').where('order_digest', '=', orderDigest).executeTakeFirst();
        if (known !== undefined) return 'used-before';
        const { sum } = await transaction
          .selectFrom('used_orders')
          .select(sql<bigint>`coalesce(sum(amount_minor), 0)::bigint`.as('sum'))
          .where('used_at', '>', BigInt(usedAt - LOAD_DAY_MS))
          .executeTakeFirstOrThrow();
        if (sum + amountMinor > dayLimitMinor) return 'above-limit';
        const row = { order_digest: orderDigest, used_at: BigInt(usedAt), amount_minor: amountMinor };
        const used = await transaction.insertInto('used_orders').values(row).onConflict((other) => other.doNothing()).returning('order_digest').execute();
        return used.length === 1 ? 'used' : 'used-before';
      }),
  };
}
