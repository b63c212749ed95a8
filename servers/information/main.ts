/** The information server as a process of its own. */
import * as v from 'valibot';
import { originSchema } from '../shared/config.ts';
import { createEdge } from '../shared/edge.ts';
import { readTlsIdentity } from '../shared/identity-file.ts';
import { runAsProcess } from '../shared/process.ts';
import { informationPartsSchema, portOf, readTrust, trustSchema } from '../shared/settlement-config.ts';
import { createTlsServer } from '../shared/tls.ts';
import { lookUpRoutes } from './routes.ts';
import { startInformationService } from './start.ts';

const configSchema = v.strictObject({ ...informationPartsSchema.entries, trust: trustSchema, origin: originSchema, peer: v.string() });

runAsProcess(import.meta.url, configSchema, async ({ origin, peer: peerFile, ...config }) => {
  const [peer, trust] = await Promise.all([readTlsIdentity(peerFile), readTrust(config.trust)]);
  const started = await startInformationService(config);
  const { log } = started;
  const server = createTlsServer(createEdge({ name: 'information', log, routes: lookUpRoutes(started.service, trust.accept('application-server')) }), {
    ...peer,
    trustAnchors: [trust.root],
    clientCertificates: 'required',
    acceptPeer: trust.accept('application-server', 'security-server'),
    log,
  });
  await server.listen({ port: portOf(origin) });
  return {
    addresses: { information: started.origin, lookUps: origin },
    close: async () => {
      await server.close();
      await started.close();
    },
  };
});
