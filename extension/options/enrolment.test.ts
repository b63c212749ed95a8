import { beforeAll, expect, test } from 'vitest';
import { encodeBase64url, parseBase64url, type Bytes } from '#protocol/bytes.ts';
import { issueLeaf } from '#protocol/certificate-issue.ts';
import { verifyCertificateRequest } from '#protocol/certificate-request.ts';
import { makeAuthorities, makeKeyPair, VALIDITY, type TestAuthorities } from '#protocol/certificate-testing.fixture.ts';
import { createCertificateVerifier } from '#protocol/certificates.ts';
import { enrol } from './enrolment.ts';

let authorities: TestAuthorities;
beforeAll(async () => {
  authorities = await makeAuthorities();
});

type PublicKey = Parameters<typeof issueLeaf>[0]['publicKey'];

/** The information server; `issue` decides what certificate it answers with. */
function serverThat(issue: (publicKey: PublicKey) => Promise<Bytes[]>, seen: unknown[] = []): typeof fetch {
  return async (url, init) => {
    const body = JSON.parse(init?.body as string) as { code: string; request: string };
    seen.push(url instanceof URL ? url.href : url, body.code);
    const { publicKey } = await verifyCertificateRequest(parseBase64url(body.request));
    return Response.json({ chain: (await issue(publicKey)).map(encodeBase64url) });
  };
}

const customerLeaf = (publicKey: PublicKey) => issueLeaf({ ...VALIDITY, issuer: authorities.customers, publicKey, role: 'customer', commonName: 'customer-1' });
const parts = (fetch: typeof globalThis.fetch) => ({ origin: 'https://information.example', fetch, verifier: createCertificateVerifier({ anchors: [authorities.root.certificate], now: null }) });

test('a code becomes a key that cannot leave, and a checked certificate for it', async () => {
  const seen: unknown[] = [];
  const identity = await enrol('ABCD', parts(serverThat(async (publicKey) => [await customerLeaf(publicKey), authorities.customers.certificate], seen)));
  expect(seen).toEqual(['https://information.example/v1/enrolments', 'ABCD']);
  expect(identity.privateKey.extractable).toBe(false);
  expect(identity.chain).toHaveLength(2);
  expect(identity.thumbprint).toMatch(/^[\w-]{43}$/);
});

test('a certificate for another key, of another role or of another authority is not taken', async () => {
  const other = await makeKeyPair();
  const strangers = await makeAuthorities();
  const answers: ((publicKey: PublicKey) => Promise<Bytes[]>)[] = [
    async () => [await customerLeaf(other.publicKey), authorities.customers.certificate],
    async (publicKey) => [await issueLeaf({ ...VALIDITY, issuer: authorities.shops, publicKey, role: 'shop', commonName: 'x', organization: 'x', origins: ['https://x.example'] }), authorities.shops.certificate],
    async (publicKey) => [await issueLeaf({ ...VALIDITY, issuer: strangers.customers, publicKey, role: 'customer', commonName: 'x' }), strangers.customers.certificate],
  ];
  for (const answer of answers) await expect(enrol('ABCD', parts(serverThat(answer)))).rejects.toMatchObject({ code: 'message/certificate' });
});

test.each<[string, () => Promise<Response>, string]>([
  ['a wrong code', () => Promise.resolve(Response.json({ code: 'customer/enrolment-code', text: 'x' }, { status: 403 })), 'customer/enrolment-code'],
  ['an error in a form that is not ours', () => Promise.resolve(Response.json({ error: 'x' }, { status: 500 })), 'settlement/unreachable'],
  ['a success without a chain', () => Promise.resolve(Response.json({})), 'message/malformed'],
  ['an answer without end', () => Promise.resolve(new Response('x'.repeat(30_000))), 'settlement/unreachable'],
  ['no answer', () => Promise.reject(new TypeError('Failed to fetch')), 'settlement/unreachable'],
])('%s has its code', async (_, answer, code) => {
  await expect(enrol('ABCD', parts(answer))).rejects.toMatchObject({ code });
});
