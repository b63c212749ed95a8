/** Puts an application server together and starts it: store, edge, outbox and expiry; its neighbours are handed in, near or far. */
import { randomBytes, randomUUID } from 'node:crypto';
import type * as v from 'valibot';
import { asFailure } from '#protocol/failure.ts';
import { createSigner } from '#protocol/signed.ts';
import type { InformationService } from '../shared/apis/information.ts';
import type { SecurityService } from '../shared/apis/security.ts';
import { openDatabase } from '../shared/database.ts';
import { createEdge } from '../shared/edge.ts';
import { readTlsIdentity } from '../shared/identity-file.ts';
import { createJournal, createLog } from '../shared/log.ts';
import { createTally, epochMs, type RunningServer } from '../shared/process.ts';
import { portOf, readTrust, type applicationPartsSchema, type trustSchema } from '../shared/settlement-config.ts';
import { loadSigningIdentity } from '../shared/signing-identity.ts';
import { createTlsServer } from '../shared/tls.ts';
import { createTlsAgent } from '../shared/tls-agent.ts';
import { applicationMigrations } from './migrations.ts';
import { createNoticeDelivery } from './delivery.ts';
import { createOperatingService } from './operating.ts';
import type { ApplicationParts } from './parts.ts';
import { createPostgresApplicationStore } from './postgres-store.ts';
import { applicationRoutes } from './routes.ts';
import { createApplicationService } from './service.ts';
import { createUpkeep } from './upkeep.ts';

type Config = v.InferOutput<typeof applicationPartsSchema> & { readonly trust: v.InferOutput<typeof trustSchema> };

export async function startApplicationServer(config: Config, neighbours: { security: SecurityService; information: InformationService }): Promise<RunningServer> {
  const log = createLog({ name: 'application' });
  const { security, information } = neighbours;
  const database = await openDatabase({ url: config.databaseUrl, migrations: applicationMigrations, log });
  const [trust, web, peer] = await Promise.all([readTrust(config.trust), readTlsIdentity(config.public.identity), readTlsIdentity(config.peer)]);
  const { verifier } = trust;
  const tally = createTally('application');
  const signer = createSigner(await loadSigningIdentity(config.signing), tally);
  const store = createPostgresApplicationStore(database);

  const shopAgent = createTlsAgent({ ...peer, trustAnchors: [trust.webRoot] });
  const deliver = createNoticeDelivery({ information, agent: shopAgent });
  const onFailure = (notice: { noticeId: string; attempts: number }, thrown: unknown): void => log.warn({ noticeId: notice.noticeId, attempts: notice.attempts, err: asFailure(thrown) }, 'notice not delivered');
  const onError = (error: unknown): void => log.error({ err: error }, 'upkeep');
  const upkeep = createUpkeep({ outbox: { store, deliver, verifier, tally, now: epochMs, onFailure }, onError });

  const parts: ApplicationParts = {
    store, security, information, signer, verifier, tally, journal: createJournal(), now: epochMs,
    random: (length) => new Uint8Array(randomBytes(length)), newId: randomUUID, onNotice: upkeep.noticeIsDue,
  };
  upkeep.start(parts);
  const routes = applicationRoutes({ service: createApplicationService(parts), operating: createOperatingService(parts), signer, log });
  const server = createTlsServer(createEdge({ name: 'application', log, routes }), {
    ...web,
    trustAnchors: [trust.root],
    clientCertificates: config.public.clientCertificates,
    acceptPeer: trust.accept('customer-browser', 'operator-terminal'),
    log,
  });
  await server.listen({ port: portOf(config.public.origin) });
  return {
    addresses: { application: config.public.origin },
    close: async () => {
      await server.close();
      await upkeep.stop();
      shopAgent.destroy();
      await database.close();
    },
  };
}
