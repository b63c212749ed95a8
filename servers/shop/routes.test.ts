import type { Agent } from 'node:https';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { FAILURES, type FailureCode } from '#protocol/failure.ts';
import { verifyAnswer } from '#protocol/answer.ts';
import { bill } from '#protocol/messages/bill.ts';
import { billRequest } from '#protocol/messages/bill-request.ts';
import { decision } from '#protocol/messages/decision.ts';
import { estimate } from '#protocol/messages/estimate.ts';
import { failureNotice } from '#protocol/messages/failure-notice.ts';
import { acknowledgement, notice } from '#protocol/messages/notice.ts';
import { shopStatement } from '#protocol/messages/shop-statement.ts';
import { platformRandom, randomNonce } from '#protocol/nonce.ts';
import { byCertificate, createOneTimeSigner, digestOf, signMessage, verifyMessage, type Jws } from '#protocol/signed.ts';
import { useFreshDatabase } from '../shared/database-for-tests.ts';
import type { RunningServer } from '../shared/process.ts';
import { callShop, prepareShop, silent, type Answer, type Call, type PreparedShop } from './running-shop.fixture.ts';
import { startShop } from './start.ts';

const databaseUrl = useFreshDatabase();
const agents: Agent[] = [];
let prepared: PreparedShop;
let server: RunningServer;
let call: Call;

beforeAll(async () => {
  prepared = await prepareShop(databaseUrl());
  server = await startShop(prepared.config, silent);
  call = callerOf(prepared);
});

afterAll(async () => {
  for (const agent of agents) agent.destroy();
  await server.close();
  await prepared.remove();
});

function callerOf(...parameters: Parameters<typeof callShop>): Call {
  const caller = callShop(...parameters);
  agents.push(caller.agent);
  return caller.call;
}

const JOSE = { 'Content-Type': 'application/jose' };
const post = (path: string, body: string, headers: Record<string, string> = JOSE): Promise<Answer> => call(path, { method: 'POST', body, headers });
const byShop = () => byCertificate(prepared.parties.verifier, 'shop');

async function sendDecision(lines = [{ productId: 'sencha', quantity: 1 }, { productId: 'genmaicha', quantity: 1 }], origin = prepared.config.public.origin): Promise<Jws> {
  return signMessage(decision, { origin, lines, nonce: randomNonce(platformRandom) }, await createOneTimeSigner());
}

async function expectSignedFailure(answer: Answer, request: Jws, code: FailureCode): Promise<void> {
  expect(answer.status).toBe(FAILURES[code].status);
  expect(answer.headers['content-type']).toBe('application/jose; charset=utf-8');
  const { body } = await verifyMessage(failureNotice, answer.text, byShop());
  expect(body).toMatchObject({ request: await digestOf(request), code });
}

describe('the signed messages', () => {
  test('lead from the statement to a paid order', async () => {
    const statement = await call('/.well-known/kessai-shop');
    expect(statement).toMatchObject({ status: 200, headers: { 'content-type': 'application/jose; charset=utf-8', 'cache-control': 'no-store' } });
    const { body: shop } = await verifyMessage(shopStatement, statement.text, byShop());
    expect(shop).toEqual({ shopId: 'hanamaru', origin: prepared.config.public.origin, minimumVersion: '0.1.0' });

    const decided = await sendDecision();
    const offered = await verifyAnswer(estimate, { request: decided, answer: (await post('/kessai/decisions', decided)).text, sender: byShop() });
    expect(offered.body).toMatchObject({ totalMinor: 1200n, currency: 'JPY' });
    const { orderId } = offered.body;
    expect(JSON.parse((await call(`/orders/${orderId}/status`)).text)).toEqual({ state: 'unbilled', decidedAt: null, paymentId: null });

    const customer = await prepared.parties.issue('customer', { commonName: '4711' });
    const asked = await signMessage(billRequest, { origin: shop.origin, orderId, estimateDigest: offered.digest, billNonce: randomNonce(platformRandom) }, customer.signer, { introduce: true });
    const { body: claim, digest: billDigest } = await verifyAnswer(bill, { request: asked, answer: (await post('/kessai/bill-requests', asked)).text, sender: byShop() });
    expect(JSON.parse((await call(`/orders/${orderId}/status`)).text)).toMatchObject({ state: 'open' });

    const settlement = await prepared.parties.issue('settlement', { commonName: 'settlement.localhost' });
    const { shopId, billId, amountMinor, currency } = claim;
    const paid = { paymentId: crypto.randomUUID(), operationId: '0011223344556677', billDigest, shopId, billId, amountMinor, currency, outcome: 'paid' as const, at: Date.UTC(2026, 10, 22, 3, 4, 5) };
    const said = await signMessage(notice, paid, settlement.signer, { introduce: true });
    const acknowledged = await verifyMessage(acknowledgement, (await post('/kessai/notices', said)).text, byShop());
    expect(acknowledged.body).toEqual({ noticeDigest: await digestOf(said), shopId, billId });
    expect(JSON.parse((await call(`/orders/${orderId}/status`, { headers: { 'Accept-Language': 'ja' } })).text)).toEqual({ state: 'paid', decidedAt: '2026年11月22日 12:04:05 JST', paymentId: paid.paymentId });
  });

  test('are refused with a signed failure about exactly that message', async () => {
    const foreign = await sendDecision(undefined, 'https://other.example');
    await expectSignedFailure(await post('/kessai/decisions', foreign), foreign, 'shop/origin');
    const unknown = await sendDecision([{ productId: 'car', quantity: 1 }]);
    await expectSignedFailure(await post('/kessai/decisions', unknown), unknown, 'shop/product-unknown');
    const once = await sendDecision();
    await post('/kessai/decisions', once);
    await expectSignedFailure(await post('/kessai/decisions', once), once, 'message/not-fresh');
    await expectSignedFailure(await post('/kessai/notices', once), once, 'message/wrong-type');
    await expectSignedFailure(await post('/kessai/bill-requests', once), once, 'message/wrong-type');
  });

  test('that are no messages at all are refused with plain JSON', async () => {
    const jws = await sendDecision();
    const refused: [Answer, FailureCode][] = [
      [await post('/kessai/decisions', ''), 'message/malformed'],
      [await post('/kessai/decisions', 'no message'), 'message/malformed'],
      [await post('/kessai/decisions', `${jws}=`), 'message/malformed'],
      [await post('/kessai/decisions', `${jws}\n`), 'message/malformed'],
      [await post('/kessai/decisions', jws, { 'Content-Type': 'text/plain' }), 'message/wrong-type'],
      [await post('/kessai/decisions', '{}', { 'Content-Type': 'application/json' }), 'message/wrong-type'],
      [await post('/kessai/decisions', 'x'.repeat(40_000)), 'message/too-large'],
      [await post('/kessai/decisions', 'x'.repeat(70_000)), 'message/too-large'],
      [await post('/kessai/nothing', jws), 'message/address'],
    ];
    for (const [answer, code] of refused) {
      expect({ status: answer.status, ...(JSON.parse(answer.text) as object) }).toMatchObject({ status: FAILURES[code].status, code });
    }
  });
});

describe('the pages', () => {
  test('come with a policy that lets nothing in but the shop itself, and every script with its hash', async () => {
    const { headers, text } = await call('/');
    expect(headers['content-security-policy']).toMatch(/^default-src 'none'; script-src 'self'; style-src 'self'; /);
    expect(headers['content-security-policy']).not.toMatch(/unsafe|\*|http/);
    expect(headers['strict-transport-security']).toBe('max-age=31536000');
    const scripts = [...text.matchAll(/<script[^>]*>/g)].map(([tag]) => tag);
    expect(scripts).toHaveLength(2);
    for (const tag of scripts) expect(tag).toMatch(/^<script type="module" src="\/[^"]+" integrity="sha384-[\w+/]{64}">$/);
    expect(text).not.toMatch(/ (style|on\w+)=/);
  });

  test('speak the language that is asked for', async () => {
    const ja = await call('/', { headers: { 'Accept-Language': 'ja,en;q=0.5' } });
    expect(ja).toMatchObject({ status: 200, headers: { 'content-language': 'ja', vary: 'Accept-Language' } });
    expect(ja.text).toContain('<html lang="ja"');
    expect((await call('/')).text).toContain('<html lang="en"');
  });

  test('are found by their addresses only, and tell a person so in a page, a program in JSON', async () => {
    for (const path of ['/nothing', '/orders/nobody-made-it', '/orders/nobody-made-it/status', '/orders/%00', `/orders/${'x'.repeat(5000)}`, '/assets/../main.ts', '/assets/%2e%2e%2fmain.ts', '/Assets/shop.css']) {
      const page = await call(path, { headers: { Accept: 'text/html,*/*' } });
      expect([path, page.status, page.headers['content-type']]).toEqual([path, 404, 'text/html; charset=utf-8']);
      expect(page.text).toContain('There is nothing here');
      expect(JSON.parse((await call(path, { headers: { Accept: 'application/json' } })).text)).toMatchObject({ code: 'message/address' });
    }
  });

  test('have files that may be kept by their hash, and are asked about without it', async () => {
    const { text } = await call('/');
    const links = [...text.matchAll(/(?:src|href)="(\/[^"]*\?v=[^"]*)"/g)].map(([, link]) => link!);
    expect(links.length).toBeGreaterThan(9);
    for (const link of new Set(links)) {
      const kept = await call(link);
      expect([link, kept.status, kept.headers['cache-control']]).toEqual([link, 200, 'public, max-age=31536000, immutable']);
      const [path] = link.split('?');
      expect((await call(path!)).headers['cache-control']).toBe('no-cache');
      expect(await call(path!, { headers: { 'If-None-Match': String(kept.headers.etag) } })).toMatchObject({ status: 304, text: '' });
    }
    expect((await call('/kessai/ic-card.js')).headers['content-type']).toBe('text/javascript; charset=utf-8');
  });
});

describe('client certificates', () => {
  test('where they are required, only customers and the application server come in', async () => {
    const strict = await prepareShop(databaseUrl(), { clientCertificates: 'required', shopId: 'midori', legalName: 'Midori Tea House Ltd' });
    const running = await startShop(strict.config, silent);
    try {
      await expect(callerOf(strict)('/')).rejects.toThrow();
      const browser = await strict.parties.issue('customer-browser', { commonName: '4711' });
      expect((await callerOf(strict, browser)('/')).text).toContain('Midori Tea House');
      const application = await strict.parties.issue('application-server', { commonName: 'settlement.localhost' });
      expect((await callerOf(strict, application)('/')).status).toBe(200);
      const otherShop = await strict.parties.issue('shop-server', { commonName: 'shop.localhost' });
      expect((await callerOf(strict, otherShop)('/')).status).toBe(401);
    } finally {
      await running.close();
      await strict.remove();
    }
  });
});

describe('a shop does not start', () => {
  test('with a certificate for another origin', async () => {
    const { config } = prepared;
    await expect(startShop({ ...config, public: { ...config.public, origin: 'https://other.localhost:9443' } })).rejects.toThrow(/the certificate is for https:\/\/hanamaru.localhost:\d+, not for https:\/\/other.localhost:9443/);
  });

  test('that the catalogue does not know, or without its interface program', async () => {
    await expect(startShop({ ...prepared.config, shopId: 'nobody' })).rejects.toThrow('no shop nobody');
    await expect(startShop({ ...prepared.config, icCard: `${prepared.folder}/absent.js` })).rejects.toThrow(/absent.js/);
  });
});
