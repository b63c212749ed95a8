/** The settlement's books, read straight from its database: what an auditor sees. */
import { createPostgresApplicationStore } from '#servers/application/postgres-store.ts';
import { applicationMigrations } from '#servers/application/migrations.ts';
import { openDatabase } from '#servers/shared/database.ts';
import { createLog } from '#servers/shared/log.ts';
import type { ApplicationStore } from '#servers/application/store.ts';
import type { World } from './world.ts';

export interface Books {
  readonly store: ApplicationStore;
  /** DONE, for this amount. */
  isPaid(paymentId: string, amountMinor: bigint): Promise<boolean>;
  close(): Promise<void>;
}

export async function openBooks(world: World): Promise<Books> {
  const log = createLog({ name: 'books', level: 'warn' });
  const database = await openDatabase({ url: world.postgres.url('kessai_application'), migrations: applicationMigrations, log });
  const store = createPostgresApplicationStore(database);
  return {
    store,
    isPaid: async (paymentId, amountMinor) => {
      const operation = await store.find(paymentId);
      return operation?.state === 'DONE' && operation.kind === 'pay' && operation.amountMinor === amountMinor && operation.notice !== null;
    },
    close: () => database.close(),
  };
}
