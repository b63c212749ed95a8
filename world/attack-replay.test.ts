/** Messages that come again, late, out of place, misshapen or too large: to every method of every service; nothing is done twice and nothing breaks. */
import { beforeAll, describe, expect, it } from 'vitest';
import { Failure } from '#protocol/failure.ts';
import { MAX_JWS_CHARACTERS, type Jws } from '#protocol/signed.ts';
import { assertConserved } from './in-process-audit.ts';
import { createInProcessWorld, ORDER_TOTAL_MINOR, type InProcessWorld } from './in-process.ts';
import { bodyOf, carriedSettlement, recordedSettlement, resigned, tampered, tryToPay, type Carried } from './payment.fixture.ts';

const codeOf = (act: () => Promise<unknown>): Promise<string> =>
  act().then(() => 'done', (thrown: unknown) => (thrown instanceof Failure ? thrown.code : Promise.reject(thrown as Error)));

interface Recorded {
  readonly world: InProcessWorld;
  readonly rounds: readonly Carried[];
  readonly toShop: Record<'decide' | 'requestBill', Jws>;
}

/** A payment, and every message of it. */
async function recordPayment(): Promise<Recorded> {
  const world = await createInProcessWorld();
  const settlement = recordedSettlement(world);
  const shop = world.shopPort();
  const toShop = { decide: '', requestBill: '' };
  const { said } = await tryToPay(world, {
    settlement,
    shop: { ...shop, decide: (jws) => shop.decide((toShop.decide = jws)), requestBill: (jws) => shop.requestBill((toShop.requestBill = jws)) },
  });
  expect(said).toBe('paid');
  return { world, rounds: settlement.carried, toShop };
}

let recorded: Recorded;
beforeAll(async () => {
  recorded = await recordPayment();
});

/** Nothing was taken, credited or begun beyond the one payment. */
async function stillPaidOnce({ world }: Recorded): Promise<void> {
  expect(world.card.balanceMinor()).toBe(10_000n - ORDER_TOTAL_MINOR);
  expect(await world.store.balanceOf('shop:hanamaru', 'JPY')).toBe(ORDER_TOTAL_MINOR);
  expect(await world.store.unresolvedOf(world.card.cardId)).toEqual([]);
  await assertConserved(world);
}

describe('after the payment', () => {
  it('every round sent again is refused, but for the completion, which gets the same notice', async () => {
    const { world, rounds } = recorded;
    const [request, authentication, reading, completion] = rounds;
    const { application } = world;
    expect(await codeOf(() => application.requestPayment(request!.request))).toBe('message/not-fresh');
    expect(await codeOf(() => application.answerCard(authentication!.paymentId!, authentication!.request))).toBe('message/not-fresh');
    expect(await codeOf(() => application.answerCard(reading!.paymentId!, reading!.request))).toBe('message/not-fresh');
    expect(await application.complete(completion!.paymentId!, completion!.request)).toBe(completion!.answer);
    await stillPaidOnce(recorded);
  });

  it('also by a settlement that was started anew and has forgotten every nonce', async () => {
    const { world, rounds } = recorded;
    const application = world.restartApplication();
    expect(await codeOf(() => application.requestPayment(rounds[0]!.request))).toBe('bill/already-paid');
    for (const { round, paymentId, request } of rounds.slice(1)) {
      expect(await codeOf(() => (round === 'complete' ? application.complete(paymentId!, request) : application.answerCard(paymentId!, request)))).toBe('settlement/session');
    }
    await stillPaidOnce(recorded);
  });

  it('the shop makes no second order, no second bill, and takes a notice that comes again as the same', async () => {
    const { world, toShop, rounds } = recorded;
    const { service } = world.shop;
    expect(await codeOf(() => service.decide(toShop.decide))).toBe('message/not-fresh');
    expect(await codeOf(() => service.requestBill(toShop.requestBill))).toBe('bill/in-progress');
    await world.deliverNotices();
    const acknowledgements = [await service.receiveNotice(rounds[3]!.answer!), await service.receiveNotice(rounds[3]!.answer!)];
    expect(bodyOf(acknowledgements[0]!)).toEqual(bodyOf(acknowledgements[1]!));
    await stillPaidOnce(recorded);
  });

  it('another shop does not take the notice', async () => {
    const other = await recorded.world.openShop({ shopId: 'replayed', origin: 'https://replayed.localhost', legalName: 'Replayed' });
    expect(await codeOf(() => other.service.receiveNotice(recorded.rounds[3]!.answer!))).toBe('shop/order-unknown');
  });

  it('an acknowledgement of another notice leaves this one owed', async () => {
    const world = await createInProcessWorld();
    const settlement = recordedSettlement(world);
    await tryToPay(world, { settlement });
    const { service, signer } = world.shop;
    for (const field of ['noticeDigest', 'billId', 'shopId']) {
      const changed = { ...world.shop, service: { ...service, receiveNotice: async (notice: Jws) => resigned(await service.receiveNotice(notice), { [field]: field === 'noticeDigest' ? 'D'.repeat(43) : 'other-one' }, signer) } };
      (world.shops as unknown[])[0] = changed;
      expect(await world.deliverNotices()).toBe(0);
      world.clock.advance(60_000);
    }
    (world.shops as unknown[])[0] = world.shop;
    expect(await world.deliverNotices()).toBe(1);
    await assertConserved(world);
  });
});

describe('during the payment', () => {
  it('every earlier message sent again beside it takes nothing from it: it is paid', async () => {
    const world = await createInProcessWorld();
    const codes: string[] = [];
    const repeat = async ({ round, paymentId, request }: Carried): Promise<void> => {
      const { application } = world;
      codes.push(await codeOf(() => (round === 'requestPayment' ? application.requestPayment(request) : round === 'complete' ? application.complete(paymentId!, request) : application.answerCard(paymentId!, request))));
    };
    const settlement = carriedSettlement(world.settlement(), async (_round, send) => {
      const answer = await send();
      for (const earlier of settlement.carried) await repeat(earlier);
      return answer;
    });
    expect((await tryToPay(world, { settlement })).said).toBe('paid');
    expect(codes.slice(0, -1).every((code) => code === 'message/not-fresh')).toBe(true);
    expect(codes.at(-1)).toBe('done');
    await assertConserved(world);
  });

  it('the same message twice at once is carried out once', async () => {
    const world = await createInProcessWorld();
    const settlement = carriedSettlement(world.settlement(), async ({ round, paymentId, request }, send) => {
      if (round !== 'answerCard') return send();
      const twice = await Promise.allSettled([world.application.answerCard(paymentId!, request), world.application.answerCard(paymentId!, request)]);
      const done = twice.filter((one) => one.status === 'fulfilled');
      expect(done).toHaveLength(1);
      return done[0]!.value;
    });
    expect((await tryToPay(world, { settlement })).said).toBe('paid');
    await assertConserved(world);
  });

  it('answers of the card in the completion\'s place make no second SPC', async () => {
    const world = await createInProcessWorld();
    let code = '';
    const settlement = carriedSettlement(world.settlement(), async ({ round, paymentId, request }, send) => {
      if (round !== 'complete') return send();
      const statementDigest = bodyOf(request)['previous'];
      const misplaced = await resigned(settlement.carried[1]!.request, { previous: statementDigest }, world.customer.identity.signer);
      code = await codeOf(() => world.application.answerCard(paymentId!, misplaced));
      return send();
    });
    const { said } = await tryToPay(world, { settlement });
    expect(code).toBe('settlement/session');
    expect(said).toBe('paid');
    expect(world.operationIds).toHaveLength(3); // issued, loaded, paid
    await assertConserved(world);
  });
});

/** With the challenge of the request itself, and no key to wait for. */
const AT_ONCE = { cardChallenge: null, keysMayWait: false } as const;

describe('every method of every service', () => {
  const methods = (): [string, (jws: Jws) => Promise<unknown>][] => {
    const { world, rounds } = recorded;
    const { application, operating, security, shop } = world;
    const paymentId = rounds[0]!.answer === undefined ? '' : (bodyOf(rounds[0]!.answer)['paymentId'] as string);
    return [
      ['requestPayment', (jws) => application.requestPayment(jws)],
      ['requestReading', (jws) => application.requestReading(jws)],
      ['answerCard', (jws) => application.answerCard(paymentId, jws)],
      ['complete', (jws) => application.complete(paymentId, jws)],
      ['requestLink', (jws) => application.requestLink(jws)],
      ['requestOrder', (jws) => operating.requestOrder(jws)],
      ['openPayment', (jws) => security.openPayment({ paymentId, request: jws, ...AT_ONCE })],
      ['openReading', (jws) => security.openReading({ request: jws, ...AT_ONCE })],
      ['openLink', (jws) => security.openLink({ request: jws, ...AT_ONCE })],
      ['openIssue', (jws) => security.openIssue({ order: jws, operationId: '0011223344556677', timeSeconds: 0 })],
      ['openOrder', (jws) => security.openOrder({ order: jws, ...AT_ONCE })],
      ['decide', (jws) => shop.service.decide(jws)],
      ['requestBill', (jws) => shop.service.requestBill(jws)],
      ['receiveNotice', (jws) => shop.service.receiveNotice(jws)],
    ];
  };

  it('refuses what is no message, and what is larger than any', async () => {
    for (const [name, call] of methods()) {
      for (const jws of ['', 'x', '..', '{}', 'é'.repeat(10), `${'A'.repeat(20)}.${'A'.repeat(20)}.${'A'.repeat(86)}`, '\u0000']) expect([name, jws, await codeOf(() => call(jws))]).toEqual([name, jws, 'message/malformed']);
      expect([name, await codeOf(() => call('A'.repeat(MAX_JWS_CHARACTERS + 1)))]).toEqual([name, 'message/too-large']);
    }
  });

  it('refuses every message of another kind', async () => {
    const { rounds, toShop } = recorded;
    const own: Record<string, string[]> = { requestPayment: ['requestPayment', 'openPayment'], requestReading: [], answerCard: ['answerCard'], complete: ['complete'], decide: ['decide'], requestBill: ['requestBill'] };
    const messages = [...rounds.map(({ round, request }) => [round, request] as const), ...Object.entries(toShop)];
    for (const [kind, jws] of messages) {
      for (const [name, call] of methods()) {
        if (own[kind]?.includes(name) === true) continue;
        // A decision names no customer: where one is asked for, that is seen before the type.
        expect(`${name} of ${kind}: ${await codeOf(() => call(jws))}`).toMatch(kind === 'decide' ? /: (message\/wrong-type|customer\/unknown)$/ : /: message\/wrong-type$/);
      }
    }
    await stillPaidOnce(recorded);
  });

  it('refuses its own message with a field too many, though its sender signed it, and with a byte changed', async () => {
    const { rounds, world } = recorded;
    const { signer } = world.customer.identity;
    const byName = new Map(methods());
    for (const { round, request } of rounds) {
      const call = byName.get(round)!;
      expect([round, await codeOf(async () => call(await resigned(request, { extra: 1 }, signer)))]).toEqual([round, 'message/malformed']);
      expect([round, await codeOf(() => call(tampered(request, { extra: 1 })))]).toEqual([round, 'message/signature']);
    }
  });

  it('knows no payment but those under way', async () => {
    const { world, rounds } = recorded;
    for (const id of ['', 'x', '__proto__', '00000000-0000-4000-8000-000000000000']) {
      expect(await codeOf(() => world.application.answerCard(id, rounds[1]!.request))).toBe('settlement/session');
      expect(await codeOf(() => world.application.complete(id, rounds[3]!.request))).toBe('settlement/session');
      expect(await codeOf(() => world.operating.answerCard(id, rounds[1]!.request))).toBe('settlement/session');
    }
  });
});
