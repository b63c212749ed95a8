/** The security server as a process of its own: only the application server may call it. */
import * as v from 'valibot';
import { informationApi } from '../shared/apis/information.ts';
import { originSchema } from '../shared/config.ts';
import { createEdge } from '../shared/edge.ts';
import { readTlsIdentity } from '../shared/identity-file.ts';
import { runAsProcess } from '../shared/process.ts';
import { createRpcClient } from '../shared/rpc.ts';
import { portOf, readTrust, securityPartsSchema, trustSchema } from '../shared/settlement-config.ts';
import { createTlsServer } from '../shared/tls.ts';
import { createTlsAgent } from '../shared/tls-agent.ts';
import { securityRoutes } from './routes.ts';
import { startSecurityService } from './start.ts';

const configSchema = v.strictObject({ ...securityPartsSchema.entries, trust: trustSchema, origin: originSchema, peer: v.string(), informationUrl: originSchema });

const TIMEOUT_MS = 10_000;

runAsProcess(import.meta.url, configSchema, async ({ origin, peer: peerFile, informationUrl, ...config }) => {
  const [peer, trust] = await Promise.all([readTlsIdentity(peerFile), readTrust(config.trust)]);
  const agent = createTlsAgent({ ...peer, trustAnchors: [trust.root], acceptPeer: trust.accept('information-server') });
  const started = await startSecurityService(config, createRpcClient(informationApi, { url: informationUrl, agent, timeoutMs: TIMEOUT_MS }));
  const { log } = started;
  const server = createTlsServer(createEdge({ name: 'security', log, routes: securityRoutes(started.service) }), {
    ...peer,
    trustAnchors: [trust.root],
    clientCertificates: 'required',
    acceptPeer: trust.accept('application-server'),
    log,
  });
  await server.listen({ port: portOf(origin) });
  return {
    addresses: { security: origin },
    close: async () => {
      await server.close();
      agent.destroy();
      await started.close();
    },
  };
});
