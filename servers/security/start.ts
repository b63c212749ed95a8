/** Puts a security server together: its store, the key store and the sessions. Who calls it, near or far, is decided elsewhere. */
import { randomBytes } from 'node:crypto';
import type * as v from 'valibot';
import type { InformationService } from '../shared/apis/information.ts';
import type { SecurityService } from '../shared/apis/security.ts';
import { openDatabase } from '../shared/database.ts';
import { createJournal, createLog, type Log } from '../shared/log.ts';
import { createTally, epochMs } from '../shared/process.ts';
import { readTrust, type securityPartsSchema, type trustSchema } from '../shared/settlement-config.ts';
import { openKeyStore } from './key-store/open.ts';
import { securityMigrations } from './migrations.ts';
import type { SecurityParts, SessionContext } from './parts.ts';
import { createPostgresSecurityStore } from './postgres-store.ts';
import { createSecurityService } from './service.ts';
import { CardSessions } from './sessions.ts';

type Config = v.InferOutput<typeof securityPartsSchema> & { readonly trust: v.InferOutput<typeof trustSchema> };

export interface StartedSecurity {
  readonly service: SecurityService;
  readonly log: Log;
  close(): Promise<void>;
}

export async function startSecurityService(config: Config, information: InformationService): Promise<StartedSecurity> {
  const log = createLog({ name: 'security' });
  const keyStore = await openKeyStore(config.keyStore, process.env, (problem) => log.error({ err: problem }, 'a part of the key store cannot be used'));
  const database = await openDatabase({ url: config.databaseUrl, migrations: securityMigrations, log });
  const random = (length: number) => new Uint8Array(randomBytes(length));
  const parts: SecurityParts = {
    store: createPostgresSecurityStore(database),
    keyStore,
    sessions: new CardSessions<SessionContext>({ random }),
    information,
    loadLimits: config.loadLimits,
    verifier: (await readTrust(config.trust)).verifier,
    journal: createJournal(),
    tally: createTally('security'),
    now: epochMs,
    random,
  };
  return {
    service: createSecurityService(parts),
    log,
    async close() {
      await database.close();
      await keyStore.close();
    },
  };
}
