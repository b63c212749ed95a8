/** The application server as a process of its own. */
import * as v from 'valibot';
import { informationApi } from '../shared/apis/information.ts';
import { securityApi } from '../shared/apis/security.ts';
import { originSchema } from '../shared/config.ts';
import { readTlsIdentity } from '../shared/identity-file.ts';
import { runAsProcess } from '../shared/process.ts';
import { createRpcClient } from '../shared/rpc.ts';
import { applicationPartsSchema, readTrust, trustSchema } from '../shared/settlement-config.ts';
import { createTlsAgent } from '../shared/tls-agent.ts';
import { startApplicationServer } from './start.ts';

const configSchema = v.strictObject({ ...applicationPartsSchema.entries, trust: trustSchema, securityUrl: originSchema, informationUrl: originSchema });

const TIMEOUT_MS = 10_000;

runAsProcess(import.meta.url, configSchema, async ({ securityUrl, informationUrl, ...config }) => {
  const [peer, trust] = await Promise.all([readTlsIdentity(config.peer), readTrust(config.trust)]);
  const agentFor = (role: 'security-server' | 'information-server') => createTlsAgent({ ...peer, trustAnchors: [trust.root], acceptPeer: trust.accept(role) });
  return startApplicationServer(config, {
    security: createRpcClient(securityApi, { url: securityUrl, agent: agentFor('security-server'), timeoutMs: TIMEOUT_MS }),
    information: createRpcClient(informationApi, { url: informationUrl, agent: agentFor('information-server'), timeoutMs: TIMEOUT_MS }),
  });
});
