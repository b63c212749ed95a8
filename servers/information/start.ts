/** Puts an information server together and starts its edge for browsers; its look-ups are served near or far, as decided elsewhere. */
import { randomBytes, randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import type * as v from 'valibot';
import type { Issuer } from '#protocol/certificate-issue.ts';
import { parsePem } from '#protocol/certificate-pem.ts';
import { openDatabase } from '../shared/database.ts';
import { createEdge } from '../shared/edge.ts';
import { readTlsIdentity } from '../shared/identity-file.ts';
import { createLog, type Log } from '../shared/log.ts';
import { epochMs } from '../shared/process.ts';
import { portOf, readTrust, type informationPartsSchema, type trustSchema } from '../shared/settlement-config.ts';
import { loadSigningIdentity } from '../shared/signing-identity.ts';
import { createTlsServer } from '../shared/tls.ts';
import { informationMigrations } from './migrations.ts';
import { createPostgresInformationStore } from './postgres-store.ts';
import { enrolmentRoutes } from './routes.ts';
import { createInformationService, type InformationServer } from './service.ts';

type Config = v.InferOutput<typeof informationPartsSchema> & { readonly trust: v.InferOutput<typeof trustSchema> };

export interface StartedInformation {
  readonly service: InformationServer;
  readonly log: Log;
  /** Of the edge for browsers. */
  readonly origin: string;
  close(): Promise<void>;
}

export async function startInformationService(config: Config): Promise<StartedInformation> {
  const log = createLog({ name: 'information' });
  const database = await openDatabase({ url: config.databaseUrl, migrations: informationMigrations, log });
  const [trust, web] = await Promise.all([readTrust(config.trust), readTlsIdentity(config.public.identity)]);
  const service = createInformationService({
    store: createPostgresInformationStore(database),
    customersAuthority: await loadAuthority(config.customersAuthority),
    verifier: trust.verifier,
    now: epochMs,
    random: (length) => new Uint8Array(randomBytes(length)),
    newId: randomUUID,
  });
  for (const { shopId, chain } of config.shops) await service.registerShop(shopId, parsePem('CERTIFICATE', await readFile(chain, 'latin1')));
  const server = createTlsServer(createEdge({ name: 'information', log, routes: enrolmentRoutes(service) }), {
    ...web,
    trustAnchors: [trust.root],
    clientCertificates: config.public.clientCertificates,
    acceptPeer: trust.accept('customer-browser'),
    log,
  });
  await server.listen({ port: portOf(config.public.origin) });
  return {
    service,
    log,
    origin: config.public.origin,
    close: async () => {
      await server.close();
      await database.close();
    },
  };
}

/** An authority's key signs certificates as a signer's signs messages: loaded once, not extractable. */
async function loadAuthority(file: string): Promise<Issuer> {
  const { privateKey, chain: [certificate] } = await loadSigningIdentity(file);
  if (certificate === undefined) throw new Error(`${file} holds no certificate`);
  return { certificate, privateKey };
}
