/** An application server that lies to the security server, and orders that no operator gave: the amount is the BILL's, the order is used once, key 3 stays shut. */
import { beforeEach, describe, expect, it } from 'vitest';
import { Failure } from '#protocol/failure.ts';
import { operatorOrder } from '#protocol/messages/operator-order.ts';
import type { OperatingPort } from '#protocol/operating.ts';
import { signMessage, type Jws, type Signer } from '#protocol/signed.ts';
import { createApplicationService } from '#servers/application/service.ts';
import type { OpenedOrRekey } from '#servers/shared/apis/security.ts';
import { assertConserved } from './in-process-audit.ts';
import { createInProcessWorld, ORDER_TOTAL_MINOR, type InProcessWorld } from './in-process.ts';
import { bodyOf, carriedSettlement, otherwise, resigned, tampered, tryToPay } from './payment.fixture.ts';

let world: InProcessWorld;
beforeEach(async () => {
  world = await createInProcessWorld();
});

const codeOf = (act: () => Promise<unknown>): Promise<string> =>
  act().then(() => 'done', (thrown: unknown) => (thrown instanceof Failure ? thrown.code : Promise.reject(thrown as Error)));

/** What the application server sees of a payment up to the round, with a session that stands there. */
async function upTo(rounds: number): Promise<{ request: Jws; responses: string[] }> {
  const settlement = carriedSettlement(world.settlement(), async (_round, send, nth) => (nth <= rounds ? send() : Promise.reject(new Failure('settlement/unreachable'))));
  await tryToPay(world, { settlement });
  const [request, ...answers] = settlement.carried;
  return { request: request!.request, responses: (bodyOf(answers.at(-1)?.request ?? request!.request)['responses'] as string[] | undefined) ?? [] };
}
const paymentId = (): string => crypto.randomUUID();

/** The session, whatever the age of the card's keys. */
async function openPayment(request: Jws): Promise<{ sessionId: string }> {
  return opened(await world.security.openPayment({ paymentId: paymentId(), request, cardChallenge: null, keysMayWait: true }));
}

async function openOrder(order: Jws): Promise<{ sessionId: string }> {
  return opened(await world.security.openOrder({ order, cardChallenge: null, keysMayWait: true }));
}

function opened(opening: OpenedOrRekey): { sessionId: string } {
  if (opening.at !== 'opened') throw new Error('the card wants newer keys first');
  return opening;
}

describe('a payment that the application server alone wants', () => {
  it('needs a request that the customer signed, over a bill that the shop signed', async () => {
    const { request } = await upTo(1);
    const { signer } = world.customer.identity;
    const own = world.applicationParts.signer;
    const jws = bodyOf(request)['bill'] as Jws;
    const open = (changed: Jws) => codeOf(() => openPayment(changed));
    expect(await open(tampered(request, { cardId: otherwise(world.card.cardId) }))).toBe('message/signature');
    expect(await open(await resigned(request, {}, own))).toBe('customer/unknown');
    expect(await open(await resigned(request, { bill: tampered(jws, { amountMinor: '1' }) }, signer))).toBe('bill/signature');
    expect(await open(await resigned(request, { bill: await resigned(jws, { amountMinor: '1' }, own) }, signer))).toBe('shop/unknown');
    expect(await open(await resigned(request, { bill: await resigned(jws, { amountMinor: '1' }, signer) }, signer))).toBe('shop/unknown');
  });

  it('is refused for a bill of another shop, origin, payer, time or currency, though a registered shop signed it', async () => {
    const { request } = await upTo(1);
    const { signer } = world.customer.identity;
    const other = await world.openShop({ shopId: 'other', origin: 'https://other.localhost', legalName: 'Other' });
    const jws = bodyOf(request)['bill'] as Jws;
    const said = async (changes: Record<string, unknown>, by: Signer) => codeOf(async () => openPayment(await resigned(request, { bill: await resigned(jws, changes, by) }, signer)));
    expect(await said({}, other.signer)).toBe('bill/origin');
    expect(await said({ shopId: 'other' }, other.signer)).toBe('bill/origin');
    expect(await said({ shopId: 'other' }, world.shop.signer)).toBe('bill/origin');
    expect(await said({ origin: 'https://other.localhost' }, world.shop.signer)).toBe('bill/origin');
    expect(await said({ payer: 'D'.repeat(43) }, world.shop.signer)).toBe('bill/payer');
    expect(await said({ currency: 'EUR' }, world.shop.signer)).toBe('card/unsupported');
    expect(await said({ expiresAt: Math.floor(world.clock.now()) + 60_000 }, world.shop.signer)).toBe('bill/expired');
    expect(await said({ expiresAt: Math.floor(world.clock.now()) + 16 * 60_000 }, world.shop.signer)).toBe('bill/expired');
    expect(await said({ amountMinor: '0' }, world.shop.signer)).toBe('message/malformed');
  });

  it('is not made for another customer\'s card, whoever signs', async () => {
    const other = await world.newCustomer('04FFFFFFFFFF21', 5_000n);
    const { request } = await upTo(1);
    const wanted = await resigned(request, { cardId: other.card.cardId }, world.customer.identity.signer);
    expect(await codeOf(() => openPayment(wanted))).toBe('customer/card-not-linked');
  });

  it('cannot be repeated with an old request: the card has another challenge', async () => {
    const settlement = carriedSettlement(world.settlement(), (_round, send) => send());
    await tryToPay(world, { settlement });
    const { security } = world;
    const { sessionId } = await openPayment(settlement.carried[0]!.request);
    const [answer] = bodyOf(settlement.carried[1]!.request)['responses'] as string[];
    expect(await codeOf(() => security.requestBalance({ sessionId, responses: [answer!], reading: 'balance' }))).toBe('card/not-genuine');
    await assertConserved(world);
  });
});

describe('the places of a session', () => {
  const debit = { operationId: '0011223344556677', timeSeconds: 1, balance: true } as const;

  it('are kept: no reading before authentication, no debit before either, no second debit', async () => {
    const { request } = await upTo(1);
    const { security } = world;
    const open = async () => (await openPayment(request)).sessionId;
    for (const wrong of [
      (sessionId: string) => security.takeBalance({ sessionId, responses: [] }),
      (sessionId: string) => security.prepareDebit({ sessionId, responses: null, ...debit }),
      (sessionId: string) => security.prepareCredit({ sessionId, responses: [], operationId: debit.operationId, timeSeconds: 1 }),
      (sessionId: string) => security.requestLoadChallenge({ sessionId }),
      (sessionId: string) => security.authenticateLoad({ sessionId, responses: [] }),
    ]) {
      const sessionId = await open();
      expect(await codeOf(() => wrong(sessionId))).toBe('settlement/session');
    }
  });

  it('refuse a dead or made-up session by a promise that rejects', async () => {
    const { security } = world;
    const sessionId = paymentId();
    expect(await codeOf(() => security.requestBalance({ sessionId, responses: [], reading: 'balance' }))).toBe('settlement/session');
    expect(await codeOf(() => security.takeBalance({ sessionId, responses: [] }))).toBe('settlement/session');
    expect(await codeOf(() => security.prepareDebit({ sessionId, responses: null, ...debit }))).toBe('settlement/session');
    expect(await codeOf(() => security.prepareCredit({ sessionId, responses: [], operationId: debit.operationId, timeSeconds: 1 }))).toBe('settlement/session');
    expect(await codeOf(() => security.continueIssue({ sessionId, responses: [] }))).toBe('settlement/session');
    expect(await security.verifyNotice({ sessionId, responses: ['9100', '9100', '9100'] })).toMatchObject({ verdict: 'unproven' });
    expect(await security.closeSession({ sessionId })).toBeNull();
  });

  it('of a payment give the BILL\'s amount, once, whatever else is asked', async () => {
    const prepared: string[] = [];
    const { security } = world;
    // The application server asks for a second debit beside the first, in the same session.
    const parts = { ...security, prepareDebit: async (asked: Parameters<typeof security.prepareDebit>[0]) => {
      const made = await security.prepareDebit(asked);
      prepared.push(await codeOf(() => security.prepareDebit({ ...asked, operationId: 'FFFFFFFFFFFFFFFF' })));
      return made;
    } };
    Object.assign(world.applicationParts, { security: parts });
    const { said } = await tryToPay(world, { settlement: world.settlement(createApplicationService(world.applicationParts)) });
    expect([said, prepared]).toEqual(['paid', ['settlement/session']]);
    expect(world.card.balanceMinor()).toBe(10_000n - ORDER_TOTAL_MINOR);
    await assertConserved(world);
  });

  it.each(['', '9100', 'AA'.repeat(32) + '9100', '00'.repeat(32) + '9100', '91AE'])('take no card for genuine that answers %j', async (answer) => {
    const { request } = await upTo(1);
    const { security } = world;
    const { sessionId } = await openPayment(request);
    const code = await codeOf(() => security.requestBalance({ sessionId, responses: answer === '' ? [] : [answer], reading: 'balance' }));
    expect(code).toMatch(/^card\/(not-genuine|removed|answer|refused)$/);
    expect(await codeOf(() => security.requestBalance({ sessionId, responses: [answer], reading: 'balance' }))).toBe('settlement/session');
  });
});

describe('an operator\'s order', () => {
  /** An operator's tool whose order is changed before it leaves. */
  const ordering = (change: (order: Jws) => Promise<Jws> | Jws): OperatingPort => ({ ...world.operating, requestOrder: async (order) => world.operating.requestOrder(await change(order)) });
  const loadWith = (change: (order: Jws) => Promise<Jws> | Jws) => codeOf(() => world.load(world.card, 100n, { operating: ordering(change) }));

  it.each(['customer', 'shop', 'settlement'] as const)('is not given by a %s', async (role) => {
    const named = role === 'shop' ? { organization: 'X', origins: ['https://x.localhost'] } : {};
    const signer = await world.pki.signer({ role, commonName: 'x', ...named }, () => undefined);
    expect(await loadWith((order) => resigned(order, {}, signer))).toBe('operator/unknown');
    const order = await signMessage(operatorOrder, { kind: 'load', cardId: world.card.cardId, cardChallenge: 'AB'.repeat(16), currency: 'JPY', orderNonce: 'n'.repeat(22), expiresAt: Math.floor(world.clock.now()) + 60_000, amountMinor: 1n }, signer, { introduce: true });
    expect(await codeOf(() => openOrder(order))).toBe('operator/unknown');
  });

  it.each(['amountMinor', 'cardId', 'cardChallenge', 'orderNonce', 'expiresAt', 'currency'])('with another %s is refused', async (field) => {
    expect(await loadWith((order) => tampered(order, { [field]: field === 'cardChallenge' ? 'AB'.repeat(16) : otherwise(bodyOf(order)[field]) }))).toBe('message/signature');
  });

  it('is used once by the application server and, for itself, by the security server', async () => {
    const orders: Jws[] = [];
    expect(await loadWith((order) => { orders.push(order); return order; })).toBe('done');
    expect(await codeOf(() => world.operating.requestOrder(orders[0]!))).toBe('operator/order-used');
    expect(world.card.balanceMinor()).toBe(10_100n);
    await assertConserved(world);
  });

  it('to issue is used once by the security server, whoever brings it', async () => {
    const orders: Jws[] = [];
    await world.issue(world.newCard('04FFFFFFFFFF33'), { operating: ordering((order) => { orders.push(order); return order; }) });
    expect(await codeOf(() => world.security.openIssue({ order: orders[0]!, operationId: '0011223344556677', timeSeconds: 0 }))).toBe('operator/order-used');
  });

  it('is not good after its time', async () => {
    const orders: Jws[] = [];
    await loadWith((order) => { orders.push(order); return Promise.reject(new Failure('settlement/unreachable')); });
    world.clock.advance(11 * 60_000);
    expect(await codeOf(() => world.operating.requestOrder(orders[0]!))).toBe('message/not-fresh');
    expect(await codeOf(() => openOrder(orders[0]!))).toBe('message/not-fresh');
  });

  it('to load is none to issue, and the other way round', async () => {
    const orders: Jws[] = [];
    const refused = (order: Jws): Promise<never> => { orders.push(order); return Promise.reject(new Failure('settlement/unreachable')); };
    await loadWith(refused);
    const factory = world.newCard('04FFFFFFFFFF31');
    await codeOf(() => world.issue(factory, { operating: ordering(refused) }));
    expect(await codeOf(() => world.security.openIssue({ order: orders[0]!, operationId: '0011223344556677', timeSeconds: 0 }))).toBe('message/wrong-type');
    expect(await codeOf(() => openOrder(orders[1]!))).toBe('message/wrong-type');
  });

  it('for one card does not load another', async () => {
    const other = await world.newCustomer('04FFFFFFFFFF32', 5_000n);
    expect(await codeOf(() => world.load(other.card, 100n, { contactOf: world.card }))).toMatch(/^card\//);
    expect([world.card.balanceMinor(), other.card.balanceMinor()]).toEqual([10_000n, 5_000n]);
    await assertConserved(world);
  });
});
