/** Payments that are refused: each with its own code at its own step; nothing is shown, nothing reaches the card, no money moves. */
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { bill } from '#protocol/messages/bill.ts';
import type { Shop } from '#protocol/parties.ts';
import { digestOf } from '#protocol/signed.ts';
import { createInProcessPki } from './in-process-pki.ts';
import { assertConserved } from './in-process-audit.ts';
import { createInProcessWorld, readerWith, type InProcessWorld } from './in-process.ts';
import { bodyOf, otherwise, recordedSettlement, resigned, tampered, tryToPay, type Paid } from './payment.fixture.ts';

const WRITE_RECORD = 0x8b;

/** One world for all: each test leaves it as it was. */
let world: InProcessWorld;
beforeAll(async () => {
  world = await createInProcessWorld();
});
beforeEach(() => {
  world.card.commands.length = 0;
  world.journal.length = 0;
});

/** No debit was asked of the card, and every account is as it was. */
async function nothingMoved(): Promise<void> {
  expect(world.card.commands.filter((apdu) => apdu[1] === WRITE_RECORD)).toEqual([]);
  expect(world.card.balanceMinor()).toBe(10_000n);
  expect(await world.store.balanceOf('shop:hanamaru', 'JPY')).toBe(0n);
  await world.deliverNotices();
  await assertConserved(world);
}
afterEach(nothingMoved);

async function nothingReachedTheCard(paid: Paid): Promise<void> {
  expect(world.card.commands).toEqual([]);
  expect(paid.shown).toEqual([]);
  expect(world.journal.some(({ step }) => step === 'ST8')).toBe(false);
  await nothingMoved();
}

/** The shop with its BILL changed on the way, or made otherwise. */
function shopWith(change: (jws: string) => string | Promise<string>): Shop {
  const shop = world.shopPort();
  return { ...shop, requestBill: async (request) => change(await shop.requestBill(request)) };
}

describe('ST1 to ST5: between the page and the shop', () => {
  it.each(Object.keys(bill.schema.entries))('a bill with its %s changed on the way is refused', async (field) => {
    const paid = await tryToPay(world, { shop: shopWith((jws) => tampered(jws, { [field]: otherwise(bodyOf(jws)[field]) })) });
    expect(paid.said).toBe('bill/signature at ST4');
    await nothingReachedTheCard(paid);
  });

  const hostileShopSays: Record<string, string> = {
    shopId: 'bill/origin at ST4',
    origin: 'bill/origin at ST4',
    estimateDigest: 'shop/mismatch at ST4',
    amountMinor: 'shop/mismatch at ST4',
    currency: 'shop/mismatch at ST4',
    payer: 'bill/payer at ST4',
    billNonce: 'message/not-fresh at ST4',
  };
  it.each(Object.entries(hostileShopSays))('a shop that itself bills another %s: %s', async (field, said) => {
    const shopSigner = await hostileShopSigner();
    const paid = await tryToPay(world, { shop: hostileShop(shopSigner, { bill: (body) => ({ [field]: otherwise(body[field]) }) }) });
    expect(paid.said).toBe(said);
    await nothingReachedTheCard(paid);
  });

  it.each(['message/not-fresh', 'shop/mismatch'])('an estimate of another decision, shop or product is refused (%s)', async (code) => {
    const signer = await hostileShopSigner();
    const changes = code === 'message/not-fresh' ? [{ decisionDigest: 'D'.repeat(43) }] : [{ shopId: 'other' }, { origin: 'https://other.localhost:8443' }, { lines: [{ productId: 'ink', name: 'Ink', quantity: 1, unitMinor: '2100', lineMinor: '2100' }] }];
    for (const change of changes) expect((await tryToPay(world, { shop: hostileShop(signer, { estimate: () => change }) })).said).toBe(`${code} at ST2`);
  });

  it('an estimate whose sum is wrong is refused', async () => {
    expect((await tryToPay(world, { shop: hostileShop(await hostileShopSigner(), { estimate: () => ({ totalMinor: '2099' }) }) })).said).toBe('message/malformed at ST2');
  });

  it.each([
    ['shows no statement of a shop at all', () => Promise.resolve({ introduce: () => Promise.resolve('not.a.jws') }), 'message/malformed at ST1'],
    ['shows the statement of another origin', () => Promise.resolve({ origin: 'https://evil.localhost' }), 'shop/origin at ST1'],
    ['shows a statement of a shop that is not certified', async () => ({ introduce: (await foreignShop()).introduce }), 'message/certificate at ST1'],
    ['shows the shop of one and lets another bill', async () => ({ requestBill: (await foreignShop()).requestBill }), 'message/certificate at ST4'],
    ['sells nothing of the kind', () => Promise.resolve({}), 'shop/product-unknown at ST3'],
  ])('a page that %s', async (_what, changes, said) => {
    const order = said.startsWith('shop/product') ? { lines: [{ productId: 'nothing', quantity: 1 }] } : undefined;
    const paid = await tryToPay(world, { shop: { ...world.shopPort(), ...(await changes()) } }, {}, order === undefined ? {} : { order });
    expect(paid.said).toBe(said);
    await nothingReachedTheCard(paid);
  });

  it('an order that the shop does not know is refused', async () => {
    const [first, second] = [world.shop, await world.openShop({ shopId: 'second', origin: 'https://second.localhost', legalName: 'Second' })];
    const asked: string[] = [];
    const shop = { ...world.shopPort(first), requestBill: async (request: string) => { asked.push(request); return second.service.requestBill(request); } };
    const paid = await tryToPay(world, { shop });
    expect(paid.said).toBe('shop/origin at ST5');
    const [request = ''] = asked;
    const unknown = await resigned(request, { orderId: 'never-made' }, world.customer.identity.signer);
    await expect(first.service.requestBill(unknown)).rejects.toMatchObject({ code: 'shop/order-unknown' });
    await nothingReachedTheCard(paid);
  });
});

describe('the customer says no', () => {
  it('at ST4: no bill is asked for, and the shop does not learn who asked', async () => {
    const paid = await tryToPay(world, {}, { agreeToEstimate: () => Promise.resolve(false) });
    expect(paid.said).toBe('not-paid: estimate-declined');
    expect(world.journal.some(({ step }) => step === 'ST5')).toBe(false);
    await nothingReachedTheCard(paid);
  });

  it('at ST7: the settlement hears nothing', async () => {
    const settlement = recordedSettlement(world);
    const paid = await tryToPay(world, { settlement }, { agreeToBill: () => Promise.resolve(false) });
    expect(paid.said).toBe('not-paid: bill-declined');
    expect(settlement.carried).toEqual([]);
    await nothingReachedTheCard(paid);
  });

  it('at ST16: the INTENT is ABORTED at once, and the card is not blocked', async () => {
    const paid = await tryToPay(world, {}, { agreeToDebit: () => Promise.resolve({ agreed: false, shown: '' }) });
    expect(paid.outcome).toMatchObject({ kind: 'not-paid', reason: 'debit-declined', balanceMinor: 10_000n });
    expect(paid.shown).toEqual([paid.outcome]);
    expect(await world.store.unresolvedOf(world.card.cardId)).toEqual([]);
    expect((await world.store.find(world.operationIds.at(-1) ?? ''))?.state).toBe('ABORTED');
    await nothingMoved();
  });
});

describe('ST9: what the settlement refuses', () => {
  it('a shop that is certified and not registered', async () => {
    const signer = await hostileShopSigner();
    expect((await tryToPay(world, { shop: hostileShop(signer, {}) })).said).toBe('shop/unknown at ST9');
  });

  it('a bill that is expired, or has less than three minutes left', async () => {
    for (const minutes of [12, 60]) {
      const paid = await tryToPay(world, {}, { agreeToBill: () => { world.clock.advance(minutes * 60_000); return Promise.resolve(true); } });
      expect(paid.said).toBe('bill/expired at ST9');
    }
  });

  it('a bill that expires while the card is being read', async () => {
    const settlement = recordedSettlement(world);
    const slow = { ...settlement, answerCard: (id: string, answer: string) => { world.clock.advance(2.4 * 60_000); return settlement.answerCard(id, answer); } };
    const late = { agreeToBill: () => { world.clock.advance(7 * 60_000); return Promise.resolve(true); } };
    expect((await tryToPay(world, { settlement: slow }, late)).said).toBe('bill/expired at ST14');
    expect(settlement.carried.map(({ round }) => round).slice(0, 3)).toEqual(['requestPayment', 'answerCard', 'answerCard']);
  });

  it('a card of another customer', async () => {
    const other = await world.newCustomer('04FFFFFFFFFF01', 5_000n);
    expect((await tryToPay(world, { reader: readerWith(other.card) })).said).toBe('customer/card-not-linked at ST9');
    expect(other.card.balanceMinor()).toBe(5_000n);
  });

  it('a card that was not issued, and another kind of card', async () => {
    const factory = world.newCard('04FFFFFFFFFF02');
    expect((await tryToPay(world, { reader: readerWith(factory) })).said).toBe('card/not-issued at ST9');
    const other = world.newCard('04FFFFFFFFFF03');
    other.fate = (instruction) => (instruction === 0xa4 ? 'unsupported' : 'answer');
    expect((await tryToPay(world, { reader: readerWith(other) })).said).toBe('card/unsupported at no step');
  });

  it('a customer\'s key that is not registered', async () => {
    const signer = await world.pki.signer({ role: 'customer', commonName: 'nobody' }, () => undefined);
    expect((await tryToPay(world, { identity: { signer, verifier: world.pki.verifier(null) } })).said).toBe('customer/unknown at ST9');
  });

  it('a balance that is too low is said before any debit, and is no failure', async () => {
    const order = { lines: [{ productId: 'ink', quantity: 1 }] };
    const paid = await tryToPay(world, {}, {}, { order });
    expect(paid.outcome).toMatchObject({ kind: 'not-paid', reason: 'balance-too-low', balanceMinor: 10_000n });
    expect(paid.shown).toEqual([paid.outcome]);
    expect(await world.store.unresolvedOf(world.card.cardId)).toEqual([]);
  });
});

describe('the PC\'s clock', () => {
  it.each([-365 * 86_400_000, -3_600_000, 3_600_000, 365 * 86_400_000])('%i ms off is no reason to refuse, and none to accept', async (skewMs) => {
    const skewed = () => world.clock.now() + skewMs;
    const declined = { agreeToDebit: () => Promise.resolve({ agreed: false, shown: '' }) };
    expect((await tryToPay(world, { now: skewed }, declined)).said).toBe('not-paid: debit-declined');
    const late = { agreeToBill: () => { world.clock.advance(3_600_000); return Promise.resolve(true); } };
    expect((await tryToPay(world, { now: skewed }, late)).said).toBe('bill/expired at ST9');
  });
});

/** A shop with a proper certificate for the page's origin that says what it wants. It is not registered. */
async function hostileShopSigner() {
  return world.pki.signer({ role: 'shop', commonName: 'hanamaru', organization: 'Hanamaru Books', origins: ['https://shop.localhost:8443'] }, () => undefined);
}

type Change = (body: Record<string, unknown>) => Record<string, unknown>;
function hostileShop(signer: Awaited<ReturnType<typeof hostileShopSigner>>, changes: { estimate?: Change; bill?: Change }): Shop {
  const shop = world.shopPort();
  const said = async (jws: string, change: Change = () => ({})) => resigned(jws, change(bodyOf(jws)), signer);
  let trueEstimateDigest = '';
  let claimedDigest = '';
  return {
    ...shop,
    introduce: async () => said(await shop.introduce()),
    decide: async (request) => {
      const honest = await shop.decide(request);
      const claimed = await said(honest, changes.estimate);
      trueEstimateDigest = await digestOf(honest);
      claimedDigest = await digestOf(claimed);
      return claimed;
    },
    requestBill: async (request) => {
      // The honest shop behind it made another estimate: the hostile one asks it in the customer's words and signs what comes out.
      const asked = await resigned(request, { estimateDigest: trueEstimateDigest }, world.customer.identity.signer);
      return said(await shop.requestBill(asked), (body) => ({ estimateDigest: claimedDigest, ...changes.bill?.({ ...body, estimateDigest: claimedDigest }) }));
    },
  };
}

/** A shop under a root that is not ours. */
async function foreignShop(): Promise<Pick<Shop, 'introduce' | 'requestBill'>> {
  const pki = await createInProcessPki(world.clock.now());
  const signer = await pki.signer({ role: 'shop', commonName: 'hanamaru', organization: 'Hanamaru Books', origins: ['https://shop.localhost:8443'] }, () => undefined);
  const shop = world.shopPort();
  return { introduce: async () => resigned(await shop.introduce(), {}, signer), requestBill: async (request) => resigned(await shop.requestBill(request), {}, signer) };
}
