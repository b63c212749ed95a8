/** For tests: a whole shop over HTTPS with certificates of its own, and an agent that trusts them. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { request, type Agent, type RequestOptions } from 'node:https';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createLog } from '../shared/log.ts';
import { createTlsAgent } from '../shared/tls-agent.ts';
import { makeTestParties, type TestIdentity, type TestParties } from './parties.fixture.ts';
import type { ShopConfig, ShopSurroundings } from './start.ts';

export interface PreparedShop {
  readonly folder: string;
  readonly parties: TestParties;
  readonly config: ShopConfig;
  remove(): Promise<void>;
}

/** A shop that keeps its words to itself. */
export const silent: ShopSurroundings = { log: createLog({ name: 'shop', level: 'silent' }), journal: () => undefined, tally: () => undefined };

/** Stands in for the built interface program; `window.icCardAnswer` is what pay() does. */
const IC_CARD_PROGRAM = `
globalThis.icCard = Object.freeze({
  find: () => globalThis.icCardFind?.() ?? Promise.resolve({ version: '9.9.9' }),
  pay: (order) => globalThis.icCardPay?.(order) ?? Promise.reject(Object.assign(new Error('missing'), { code: 'extension/missing', text: 'The payment extension is not in this browser.' })),
});
`;

/** Certificates, keys and the configuration that names them, in a temporary folder. */
export async function prepareShop(databaseUrl: string, otherwise: { shopId?: string; legalName?: string; clientCertificates?: ShopConfig['public']['clientCertificates'] } = {}): Promise<PreparedShop> {
  const { shopId = 'hanamaru', legalName = 'Hanamaru Books Ltd', clientCertificates = 'none' } = otherwise;
  const folder = await mkdtemp(join(tmpdir(), 'kessai-shop-'));
  const host = `${shopId}.localhost`;
  const origin = `https://${host}:${await freePort()}`;
  const parties = await makeTestParties();
  const write = async (name: string, text: string): Promise<string> => {
    await writeFile(join(folder, name), text, { mode: 0o600 });
    return join(folder, name);
  };
  const config: ShopConfig = {
    shopId,
    public: { origin, clientCertificates, identity: await write('web.pem', (await parties.issue('web-server', { commonName: host, dnsNames: [host] })).pem) },
    signing: await write('signing.pem', (await parties.issue('shop', { commonName: host, organization: legalName, origins: [origin] })).pem),
    trust: { root: await write('root.pem', parties.rootPem), webRoot: await write('web-root.pem', parties.rootPem), intermediates: await write('intermediates.pem', parties.intermediatesPem) },
    databaseUrl,
    icCard: await write('ic-card.js', IC_CARD_PROGRAM),
    minimumVersion: '0.1.0',
    extensionUrl: 'https://settlement.example/extension',
  };
  return { folder, parties, config, remove: () => rm(folder, { recursive: true, force: true }) };
}


export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly text: string;
}

export type Call = (path: string, options?: Pick<RequestOptions, 'method' | 'headers'> & { body?: string }) => Promise<Answer>;

/** A caller that verifies the shop's certificate; `identity`: what it shows of itself. */
export function callShop({ parties, config }: PreparedShop, identity?: TestIdentity): { call: Call; agent: Agent } {
  const agent = createTlsAgent({ trustAnchors: [parties.rootPem], ...(identity === undefined ? {} : { certificate: identity.pem, key: identity.pem }) });
  const call: Call = (path, { body, ...options } = {}) =>
    new Promise((resolve, reject) => {
      const sent = request(`${config.public.origin}${path}`, { ...options, agent, timeout: 10_000 }, (answer) => {
        const chunks: Buffer[] = [];
        answer.on('data', (chunk: Buffer) => chunks.push(chunk)).on('error', reject);
        answer.on('end', () => resolve({ status: answer.statusCode ?? 0, headers: answer.headers, text: Buffer.concat(chunks).toString('utf8') }));
      });
      sent.on('error', reject).end(body);
    });
  return { call, agent };
}

/** The origin is part of a certificate, so the port must be known before the shop listens on it. */
function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer().once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => resolve(port));
    });
  });
}
