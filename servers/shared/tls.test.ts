import { get, type Agent } from 'node:https';
import { connect as connectPlain } from 'node:net';
import { connect, type ConnectionOptions } from 'node:tls';
import { afterEach, describe, expect, test } from 'vitest';
import { publicFailure } from '#protocol/failure.ts';
import { createTestAuthority, type TestCertificate } from './certificates-for-tests.ts';
import { createLog } from './log.ts';
import { acceptUsage, createTlsAgent, PeerRefused, type TlsAgentOptions } from './tls-agent.ts';
import { createTlsServer, peerCertificate, type TlsServer, type TlsServerOptions } from './tls.ts';

const SECURITY_ROLE = '1.3.6.1.4.1.99999.2';
const APPLICATION_ROLE = '1.3.6.1.4.1.99999.1';

const authority = createTestAuthority();
const otherAuthority = createTestAuthority();
const security = authority.issue({ hosts: ['security.localhost'], usages: ['serverAuth', SECURITY_ROLE] });
const application = authority.issue({ usages: ['clientAuth', APPLICATION_ROLE] });
const withoutRole = authority.issue({ usages: ['clientAuth'] });
const stranger = otherAuthority.issue({ usages: ['clientAuth', APPLICATION_ROLE] });
const serverOnly = authority.issue({ usages: ['serverAuth', APPLICATION_ROLE] });

const log = createLog({ name: 'test', level: 'silent' });
const servers: TlsServer[] = [];
const agents: Agent[] = [];

afterEach(async () => {
  for (const agent of agents.splice(0)) agent.destroy();
  for (const server of servers.splice(0)) await server.close(0);
});

async function serve(options: Partial<TlsServerOptions> = {}): Promise<number> {
  const server = createTlsServer(
    (request, response) => {
      response.end(peerCertificate(request)?.toString('base64') ?? 'nobody');
    },
    { ...security, trustAnchors: [authority.anchor], clientCertificates: 'required', acceptPeer: acceptUsage(APPLICATION_ROLE), log, ...options },
  );
  servers.push(server);
  return server.listen({ port: 0 });
}

function agentOf(identity: TestCertificate | Record<string, never>, options: Partial<TlsAgentOptions> = {}): Agent {
  const agent = createTlsAgent({ ...identity, trustAnchors: [authority.anchor], acceptPeer: acceptUsage(SECURITY_ROLE), ...options });
  agents.push(agent);
  return agent;
}

interface Answer {
  status: number | undefined;
  text: string;
  reused: boolean;
  hsts: string | undefined;
}

function fetchFrom(port: number, agent: Agent, host = 'security.localhost'): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const sent = get(`https://${host}:${port}/`, { agent }, (answer) => {
      let text = '';
      answer.setEncoding('utf8').on('data', (part: string) => (text += part)).on('end', () => resolve({ status: answer.statusCode, text, reused: sent.reusedSocket, hsts: answer.headers['strict-transport-security'] }));
    });
    sent.once('error', reject);
  });
}

const derOf = ({ certificate }: TestCertificate): string => certificate.replace(/-----[^-]+-----|\s/g, '');
const refused = JSON.stringify(publicFailure('message/certificate'));

describe('a TLS server', () => {
  test('that requires certificates serves a caller of the right role, on one kept connection, with HSTS', async () => {
    const port = await serve();
    const agent = agentOf(application);
    const first = await fetchFrom(port, agent);
    expect(first).toEqual({ status: 200, text: derOf(application), reused: false, hsts: 'max-age=31536000' });
    expect(await fetchFrom(port, agent)).toEqual({ ...first, reused: true });
  });

  test.each<[string, TestCertificate | Record<string, never>]>([
    ['without a certificate', {}],
    ['with a certificate of another authority', stranger],
    ['with a certificate that is not for callers', serverOnly],
  ])('that requires certificates ends the handshake of a caller %s', async (_what, identity) => {
    await expect(fetchFrom(await serve(), agentOf(identity))).rejects.toThrow(/alert|ECONNRESET|EPIPE|hang up/);
  });

  test.each<TlsServerOptions['clientCertificates']>(['required', 'requested'])('with %s certificates refuses a caller of another role by an answer', async (clientCertificates) => {
    expect(await fetchFrom(await serve({ clientCertificates }), agentOf(withoutRole))).toMatchObject({ status: 401, text: refused });
  });

  test.each<[string, TestCertificate | Record<string, never>, number, string]>([
    ['serves a caller without one', {}, 200, 'nobody'],
    ['serves a caller with a good one', application, 200, derOf(application)],
    ['refuses a caller with one of another authority, and does not take it for nobody', stranger, 401, refused],
    ['refuses a caller with one that is not for callers', serverOnly, 401, refused],
  ])('that requests certificates %s', async (_what, identity, status, text) => {
    expect(await fetchFrom(await serve({ clientCertificates: 'requested' }), agentOf(identity))).toMatchObject({ status, text });
  });

  test('that wants no certificates learns of none', async () => {
    expect(await fetchFrom(await serve({ clientCertificates: 'none' }), agentOf(application))).toMatchObject({ status: 200, text: 'nobody' });
  });

  test('refuses when the judgement itself fails', async () => {
    const acceptPeer = () => Promise.reject(new Error('register unreachable'));
    expect(await fetchFrom(await serve({ acceptPeer }), agentOf(application))).toMatchObject({ status: 401 });
  });

  test('speaks nothing older than TLS 1.3', async () => {
    const port = await serve({ clientCertificates: 'none' });
    const options: ConnectionOptions = { port, host: '127.0.0.1', servername: 'security.localhost', ca: authority.anchor };
    await expect(handshake({ ...options, maxVersion: 'TLSv1.2' })).rejects.toThrow(/alert protocol version|ECONNRESET/);
    expect(await handshake(options)).toBe('TLSv1.3');
  });

  test('closes although connections hang about that never said anything', async () => {
    const port = await serve();
    const silent = connectPlain(port, '127.0.0.1');
    await new Promise((resolve) => silent.once('connect', resolve));
    const ended = new Promise((resolve) => silent.once('close', resolve).once('error', resolve).resume());
    await Promise.all([servers.pop()!.close(60_000), ended]);
  });
});

describe('a TLS agent', () => {
  test('sends nothing to a server without the expected role', async () => {
    const port = await serve({ clientCertificates: 'none', ...authority.issue({ hosts: ['security.localhost'], usages: ['serverAuth', APPLICATION_ROLE] }) });
    await expect(fetchFrom(port, agentOf({}))).rejects.toThrow(PeerRefused);
  });

  test('sends nothing to a server of another authority, also by the second connection', async () => {
    const port = await serve({ clientCertificates: 'none', ...otherAuthority.issue({ hosts: ['security.localhost'], usages: ['serverAuth', SECURITY_ROLE] }) });
    const agent = agentOf({});
    for (let i = 0; i < 2; i++) await expect(fetchFrom(port, agent)).rejects.toThrow(/self-signed|unable to/);
  });

  test('sends nothing to a server of another name, also after it has spoken with the right one', async () => {
    const port = await serve({ clientCertificates: 'none' });
    const agent = agentOf({});
    await fetchFrom(port, agent);
    await expect(fetchFrom(port, agent, 'shop.localhost')).rejects.toThrow(/does not match certificate/);
  });

  test('waits for a judgement, and gives up on a server that does not finish its handshake', async () => {
    const port = await serve();
    const later = (der: Buffer) => new Promise<boolean>((resolve) => setImmediate(() => resolve(acceptUsage(SECURITY_ROLE)(der) as boolean)));
    expect(await fetchFrom(port, agentOf(application, { acceptPeer: later }))).toMatchObject({ status: 200 });
    const never = agentOf(application, { acceptPeer: () => new Promise(() => undefined), connectTimeoutMs: 50 });
    await expect(fetchFrom(port, never)).rejects.toThrow('no TLS connection within 50 ms');
  });

  test('finds names below localhost by itself and asks the given resolver for others', async () => {
    const port = await serve({ clientCertificates: 'none', ...authority.issue({ hosts: ['shop.example'], usages: ['serverAuth', SECURITY_ROLE] }) });
    const agent = agentOf({}, { lookup: (_hostname, options, callback) => (options.all === true ? callback(null, [{ address: '127.0.0.1', family: 4 }]) : callback(null, '127.0.0.1', 4)) });
    expect(await fetchFrom(port, agent, 'shop.example')).toMatchObject({ status: 200 });
  });
});

function handshake(options: ConnectionOptions): Promise<string | null> {
  return new Promise((resolve, reject) => {
    const socket = connect(options, () => {
      resolve(socket.getProtocol());
      socket.destroy();
    });
    socket.once('error', reject);
  });
}
