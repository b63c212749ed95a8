import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { Failure, type FailureCode } from '#protocol/failure.ts';
import { bill, MAX_BILL_LIFE_MS } from '#protocol/messages/bill.ts';
import { billRequest } from '#protocol/messages/bill-request.ts';
import { decision } from '#protocol/messages/decision.ts';
import { estimate } from '#protocol/messages/estimate.ts';
import { acknowledgement, notice } from '#protocol/messages/notice.ts';
import { shopStatement } from '#protocol/messages/shop-statement.ts';
import { platformRandom, randomNonce } from '#protocol/nonce.ts';
import { byCertificate, byKnownSender, createOneTimeSigner, digestOf, signMessage, verifyMessage, type BodyOf, type Jws, type Sender, type Signer } from '#protocol/signed.ts';
import type { JournalEntry } from '#protocol/step.ts';
import { createMemoryShopStore } from './memory-store.ts';
import { makeTestParties, type TestParties } from './parties.fixture.ts';
import { createShopService, type ShopParts, type ShopService } from './service.ts';

const ORIGIN = 'https://shop.example';
const NOW = Date.UTC(2026, 10, 22, 12);
const PRODUCTS = [
  { productId: 'sencha', name: 'Sencha', unitMinor: 720n },
  { productId: 'genmaicha', name: 'Genmaicha', unitMinor: 480n },
];

let parties: TestParties;
let signers: Record<'shop' | 'otherShop' | 'customer' | 'otherCustomer' | 'settlement', Signer>;
let journal: JournalEntry[];
let shop: ShopService;

beforeAll(async () => {
  parties = await makeTestParties(NOW);
  signers = {
    shop: (await parties.issue('shop', { commonName: 'shop.example', organization: 'Hanamaru Books Ltd', origins: [ORIGIN] })).signer,
    otherShop: (await parties.issue('shop', { commonName: 'other.example', organization: 'Other Ltd', origins: ['https://other.example'] })).signer,
    customer: (await parties.issue('customer', { commonName: '4711' })).signer,
    otherCustomer: (await parties.issue('customer', { commonName: '4712' })).signer,
    settlement: (await parties.issue('settlement', { commonName: 'settlement.example' })).signer,
  };
});

const openShop = (otherwise: Partial<ShopParts> = {}): ShopService =>
  createShopService({
    shopId: 'hanamaru', origin: ORIGIN, currency: 'JPY', products: PRODUCTS, minimumVersion: '0.1.0', store: createMemoryShopStore(), signer: signers.shop,
    verifier: parties.verifier, journal: (entry) => void journal.push(entry), tally: () => undefined, now: () => NOW, random: platformRandom, ...otherwise,
  });

beforeEach(() => {
  journal = [];
  shop = openShop();
});

const shopAsSender = async (): Promise<Sender> => (await verifyMessage(shopStatement, await shop.introduce(), byCertificate(parties.verifier, 'shop'))).sender;
const refusal = (answer: Promise<unknown>): Promise<FailureCode | 'answered'> => answer.then(() => 'answered' as const, (error: unknown) => (error instanceof Failure ? error.code : Promise.reject(error as Error)));

const LINES = [{ productId: 'sencha', quantity: 2 }, { productId: 'genmaicha', quantity: 1 }];

const sendDecision = async (body: Partial<BodyOf<typeof decision>> = {}): Promise<Jws> =>
  signMessage(decision, { origin: ORIGIN, lines: LINES, nonce: randomNonce(platformRandom), ...body }, await createOneTimeSigner());

async function orderSomething() {
  const request = await sendDecision();
  const offered = await verifyMessage(estimate, await shop.decide(request), byKnownSender(await shopAsSender()));
  return { request, offered };
}

async function askForBill(otherwise: Partial<BodyOf<typeof billRequest>> = {}, signer = signers.customer) {
  const { offered } = await orderSomething();
  const body = { origin: ORIGIN, orderId: offered.body.orderId, estimateDigest: offered.digest, billNonce: randomNonce(platformRandom), ...otherwise };
  return { offered, body, request: await signMessage(billRequest, body, signer, { introduce: true }) };
}

async function bought() {
  const { request, offered } = await askForBill();
  const claimed = await verifyMessage(bill, await shop.requestBill(request), byKnownSender(await shopAsSender()));
  return { offered, claimed };
}

async function noticeOf({ claimed }: Awaited<ReturnType<typeof bought>>, otherwise: Partial<BodyOf<typeof notice>> = {}, signer = signers.settlement): Promise<Jws> {
  const { shopId, billId, amountMinor, currency } = claimed.body;
  const body = { paymentId: crypto.randomUUID(), operationId: '0011223344556677', billDigest: claimed.digest, shopId, billId, amountMinor, currency, outcome: 'paid' as const, at: NOW + 500, ...otherwise };
  return signMessage(notice, body, signer, { introduce: true });
}

describe('ST1: introduction', () => {
  test('the shop says who it is, under a certificate that names its origin', async () => {
    const { body, sender } = await verifyMessage(shopStatement, await shop.introduce(), byCertificate(parties.verifier, 'shop'));
    expect(body).toEqual({ shopId: 'hanamaru', origin: ORIGIN, minimumVersion: '0.1.0' });
    expect(sender.certificate).toMatchObject({ organization: 'Hanamaru Books Ltd', origins: [ORIGIN] });
  });
});

describe('ST3: estimate', () => {
  test('what was decided on comes back with prices and sums, bound to the decision', async () => {
    const { request, offered } = await orderSomething();
    expect(offered.body).toMatchObject({ shopId: 'hanamaru', origin: ORIGIN, decisionDigest: await digestOf(request), totalMinor: 1920n, currency: 'JPY' });
    expect(offered.body.lines).toEqual([
      { productId: 'sencha', name: 'Sencha', quantity: 2, unitMinor: 720n, lineMinor: 1440n },
      { productId: 'genmaicha', name: 'Genmaicha', quantity: 1, unitMinor: 480n, lineMinor: 480n },
    ]);
    expect(journal).toMatchObject([{ step: 'ST3', party: 'shop' }]);
    expect(await shop.findOrder(offered.body.orderId)).toMatchObject({ order: { totalMinor: 1920n }, bill: undefined });
  });

  test.each<[string, Partial<BodyOf<typeof decision>>, FailureCode]>([
    ['made for another origin', { origin: 'https://other.example' }, 'shop/origin'],
    ['for a product that the shop does not sell', { lines: [{ productId: 'car', quantity: 1 }] }, 'shop/product-unknown'],
  ])('a decision %s is refused', async (_what, body, code) => {
    expect(await refusal(shop.decide(await sendDecision(body)))).toBe(code);
    expect(journal).toMatchObject([{ step: 'ST3', failed: code }]);
  });

  test('a decision works once', async () => {
    const { request } = await orderSomething();
    expect(await refusal(shop.decide(request))).toBe('message/not-fresh');
  });

  test('a decision that was changed, or is another message, is refused', async () => {
    const [header, , signature] = (await sendDecision()).split('.');
    const [, otherPayload] = (await sendDecision()).split('.');
    expect(await refusal(shop.decide(`${header!}.${otherPayload!}.${signature!}`))).toBe('message/signature');
    expect(await refusal(shop.decide(await signMessage(shopStatement, { shopId: 'hanamaru', origin: ORIGIN, minimumVersion: '0.1.0' }, signers.shop)))).toBe('message/wrong-type');
  });
});

describe('ST5: bill', () => {
  test('the bill claims the estimate from who asked, and lives less than it may', async () => {
    const { offered, body, request } = await askForBill();
    const claimed = await verifyMessage(bill, await shop.requestBill(request), byKnownSender(await shopAsSender()));
    expect(claimed.body).toMatchObject({ shopId: 'hanamaru', origin: ORIGIN, estimateDigest: offered.digest, amountMinor: 1920n, currency: 'JPY', payer: signers.customer.thumbprint, billNonce: body.billNonce });
    expect(claimed.body.expiresAt).toBeGreaterThan(NOW + 10 * 60_000);
    expect(claimed.body.expiresAt).toBeLessThan(NOW + MAX_BILL_LIFE_MS);
    expect(await shop.findOrder(offered.body.orderId)).toMatchObject({ bill: { billId: claimed.body.billId, billDigest: claimed.digest, outcome: null } });
    expect(journal.map(({ step }) => step)).toEqual(['ST3', 'ST5']);
  });

  test.each<[string, Partial<BodyOf<typeof billRequest>>, FailureCode]>([
    ['for another origin', { origin: 'https://other.example' }, 'shop/origin'],
    ['for an order that nobody made', { orderId: 'nobody-made-it' }, 'shop/order-unknown'],
    ['for an estimate that the shop did not make', { estimateDigest: 'A'.repeat(43) }, 'shop/mismatch'],
  ])('a bill %s is refused', async (_what, body, code) => {
    expect(await refusal(shop.requestBill((await askForBill(body)).request))).toBe(code);
  });

  test('an order has one bill, whoever asks for a second one', async () => {
    const { request, body } = await askForBill();
    await shop.requestBill(request);
    expect(await refusal(shop.requestBill(request))).toBe('bill/in-progress');
    expect(await refusal(shop.requestBill(await signMessage(billRequest, body, signers.otherCustomer, { introduce: true })))).toBe('bill/in-progress');
  });

  test('only a customer may ask', async () => {
    expect(await refusal(shop.requestBill((await askForBill({}, signers.otherShop)).request))).toBe('message/certificate');
    const { body } = await askForBill();
    expect(await refusal(shop.requestBill(await signMessage(billRequest, body, await createOneTimeSigner())))).toBe('message/certificate');
  });
});

describe('ACN', () => {
  test.each(['paid', 'not-paid'] as const)('"%s" is recorded once and acknowledged as often as it comes', async (outcome) => {
    const order = await bought();
    const said = await noticeOf(order, { outcome, paymentId: '3f3c9d8e-3a43-4cc5-8b4b-3f0a4d0a1c11' });
    for (const copy of [said, said]) {
      const { body } = await verifyMessage(acknowledgement, await shop.receiveNotice(copy), byCertificate(parties.verifier, 'shop'));
      expect(body).toEqual({ noticeDigest: await digestOf(said), shopId: 'hanamaru', billId: order.claimed.body.billId });
    }
    expect((await shop.findOrder(order.offered.body.orderId))?.bill?.outcome).toEqual({ outcome, paymentId: '3f3c9d8e-3a43-4cc5-8b4b-3f0a4d0a1c11', decidedAt: NOW + 500, notice: said, recordedAt: NOW });
  });

  test.each<[string, Partial<BodyOf<typeof notice>>, FailureCode]>([
    ['of another shop', { shopId: 'midori' }, 'shop/order-unknown'],
    ['of a bill that nobody made', { billId: 'nobody-made-it' }, 'shop/order-unknown'],
    ['of another text of the bill', { billDigest: 'A'.repeat(43) }, 'shop/mismatch'],
    ['of another amount', { amountMinor: 1919n }, 'shop/mismatch'],
    ['of another currency', { currency: 'EUR' }, 'shop/mismatch'],
  ])('a notice %s is refused and changes nothing', async (_what, body, code) => {
    const order = await bought();
    expect(await refusal(shop.receiveNotice(await noticeOf(order, body)))).toBe(code);
    expect((await shop.findOrder(order.offered.body.orderId))?.bill?.outcome).toBeNull();
  });

  test('a notice of one bill says nothing about another of the same amount', async () => {
    const [first, second] = [await bought(), await bought()];
    expect(await refusal(shop.receiveNotice(await noticeOf(first, { billId: second.claimed.body.billId })))).toBe('shop/mismatch');
  });

  test('only the settlement is believed', async () => {
    const order = await bought();
    for (const signer of [signers.customer, signers.shop, signers.otherShop]) {
      expect(await refusal(shop.receiveNotice(await noticeOf(order, {}, signer)))).toBe('message/certificate');
    }
    const foreign = await (await makeTestParties(NOW)).issue('settlement', { commonName: 'settlement.example' });
    expect(await refusal(shop.receiveNotice(await noticeOf(order, {}, foreign.signer)))).toBe('message/certificate');
    expect((await shop.findOrder(order.offered.body.orderId))?.bill?.outcome).toBeNull();
  });

  test('a forged signature is refused', async () => {
    const order = await bought();
    const [header, , signature] = (await noticeOf(order, { outcome: 'not-paid' })).split('.');
    const [, payload] = (await noticeOf(order)).split('.');
    expect(await refusal(shop.receiveNotice(`${header!}.${payload!}.${signature!}`))).toBe('settlement/signature');
  });

  test.each<[string, Partial<BodyOf<typeof notice>>]>([
    ['the other outcome', { outcome: 'not-paid' }],
    ['a second payment', { outcome: 'paid' }],
  ])('%s for a bill that is paid is refused, and it stays paid', async (_what, body) => {
    const order = await bought();
    const first = await noticeOf(order);
    await shop.receiveNotice(first);
    expect(await refusal(shop.receiveNotice(await noticeOf(order, body)))).toBe('shop/mismatch');
    expect((await shop.findOrder(order.offered.body.orderId))?.bill?.outcome).toMatchObject({ outcome: 'paid', notice: first });
  });
});
