import * as v from 'valibot';
import { afterEach, describe, expect, test } from 'vitest';
import { amountSchema } from '#protocol/amount.ts';
import { Failure } from '#protocol/failure.ts';
import { createTestAuthority } from './certificates-for-tests.ts';
import { createEdge } from './edge.ts';
import { createLog } from './log.ts';
import { createRpcClient, defineApi, serveApi, type ServiceOf } from './rpc.ts';
import { acceptUsage, createTlsAgent } from './tls-agent.ts';
import { createTlsServer, peerCertificate, type TlsServer } from './tls.ts';

const authority = createTestAuthority();
const server = authority.issue({ hosts: ['security.localhost'], usages: ['serverAuth', '1.3.6.1.4.1.99999.2'] });
const caller = authority.issue({ usages: ['clientAuth', '1.3.6.1.4.1.99999.1'] });
const log = createLog({ name: 'test', level: 'silent' });

const api = defineApi({
  debit: { request: v.strictObject({ card: v.string(), amountMinor: amountSchema }), response: v.nullable(v.strictObject({ balanceMinor: amountSchema })) },
  forget: { request: v.strictObject({}), response: v.null() },
});
type Wallet = ServiceOf<typeof api>;

const wallet: Wallet = {
  debit: ({ card, amountMinor }) => Promise.resolve(card === 'unknown' ? null : { balanceMinor: 1_000n - amountMinor }),
  forget: () => Promise.resolve(null),
};

const ends: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0)) await end();
});

interface Setup {
  service?: Partial<Wallet>;
  authorise?: () => boolean;
  timeoutMs?: number;
  maxAnswerBytes?: number;
  routed?: typeof api;
  role?: string;
}

async function connectTo({ service = {}, authorise, timeoutMs = 5_000, maxAnswerBytes, routed = api, role = '1.3.6.1.4.1.99999.2' }: Setup = {}): Promise<{ client: Wallet; tls: TlsServer }> {
  const routes = serveApi(routed, { ...wallet, ...service }, { authorise: authorise ?? ((request) => acceptUsage('1.3.6.1.4.1.99999.1')(peerCertificate(request)!)) });
  const edge = createEdge({ name: 'security', log, routes: (router) => router.use(routes) });
  const tls = createTlsServer(edge, { ...server, trustAnchors: [authority.anchor], clientCertificates: 'required', log });
  const port = await tls.listen({ port: 0 });
  const agent = createTlsAgent({ ...caller, trustAnchors: [authority.anchor], acceptPeer: acceptUsage(role) });
  ends.push(() => agent.destroy(), () => tls.close(0));
  const url = `https://security.localhost:${port}`;
  return { client: createRpcClient(api, { url, agent, timeoutMs, ...(maxAnswerBytes === undefined ? {} : { maxAnswerBytes }) }), tls };
}

describe('calls between servers', () => {
  test('give what the service itself gives, bigint and null included', async () => {
    const { client } = await connectTo();
    for (const request of [{ card: 'a', amountMinor: 1n }, { card: 'unknown', amountMinor: 0n }]) expect(await client.debit(request)).toEqual(await wallet.debit(request));
    expect(await client.forget({})).toBeNull();
  });

  test('a failure crosses as its code and step, a bug as a bug', async () => {
    const failure = new Failure('card/unresolved', { step: 'ST11', detail: 'S3CRET', cause: new Error('S3CRET') });
    const { client } = await connectTo({ service: { debit: () => Promise.reject(failure), forget: () => Promise.reject(new Error('S3CRET')) } });
    const received = await client.debit({ card: 'a', amountMinor: 1n }).catch((error: unknown) => error);
    expect(received).toMatchObject({ name: 'Failure', code: 'card/unresolved', step: 'ST11' });
    expect((received as Failure).message).not.toContain('S3CRET');
    await expect(client.forget({})).rejects.toMatchObject({ code: 'internal/bug' });
  });

  test('a caller that is not authorised is refused before the service hears of it', async () => {
    const { client } = await connectTo({ authorise: () => false, service: { forget: () => Promise.reject(new Failure('card/limit')) } });
    await expect(client.forget({})).rejects.toMatchObject({ code: 'message/certificate' });
  });

  test('a request not as agreed is refused', async () => {
    const { client } = await connectTo();
    for (const request of [{ card: 'a' }, { card: 'a', amountMinor: 1n, more: 1 }, { card: 'a', amountMinor: -1n }] as { card: string; amountMinor: bigint }[]) {
      await expect(client.debit(request)).rejects.toMatchObject({ code: 'message/malformed' });
    }
  });

  test('an answer not as agreed is refused, on the side that makes it and on the side that gets it', async () => {
    const leaky = { debit: () => Promise.resolve({ balanceMinor: 1n, key: 'S3CRET' }) };
    await expect((await connectTo({ service: leaky })).client.debit({ card: 'a', amountMinor: 1n })).rejects.toMatchObject({ code: 'internal/bug' });
    const careless = { ...api, debit: { request: api.debit.request, response: v.any() } } as unknown as typeof api;
    await expect((await connectTo({ service: leaky, routed: careless })).client.debit({ card: 'a', amountMinor: 1n })).rejects.toMatchObject({ code: 'settlement/mismatch' });
  });

  test('an operation that the server does not know is not there', async () => {
    const { client } = await connectTo({ routed: { debit: api.debit } as unknown as typeof api });
    await expect(client.forget({})).rejects.toMatchObject({ code: 'message/address' });
  });

  test('no answer in time, too long an answer, and no server at all are unreachable; a server of another role is not trusted', async () => {
    let calls = 0;
    const mute = await connectTo({ timeoutMs: 100, service: { forget: () => new Promise(() => (calls += 1)) } });
    await expect(mute.client.forget({})).rejects.toMatchObject({ code: 'settlement/unreachable' });
    expect(calls).toBe(1);
    const wordy = await connectTo({ maxAnswerBytes: 3 });
    await expect(wordy.client.forget({})).rejects.toMatchObject({ code: 'settlement/unreachable' });
    const gone = await connectTo();
    await gone.tls.close(0);
    await expect(gone.client.forget({})).rejects.toMatchObject({ code: 'settlement/unreachable' });
    const impostor = await connectTo({ role: '1.3.6.1.4.1.99999.3' });
    await expect(impostor.client.forget({})).rejects.toMatchObject({ code: 'settlement/certificate' });
  });
});

test('an API whose schemas let unknown fields pass is not accepted', () => {
  const loose = v.object({ a: v.string() });
  const strict = v.strictObject({});
  expect(() => defineApi({ a: { request: loose, response: strict } })).toThrow(/a.request lets unknown fields pass/);
  for (const response of [v.nullable(loose), v.array(loose), v.strictObject({ b: v.optional(loose) }), v.pipe(loose, v.check(() => true)), v.union([strict, loose])]) {
    expect(() => defineApi({ a: { request: strict, response } })).toThrow(/a.response.* lets unknown fields pass/);
  }
});
