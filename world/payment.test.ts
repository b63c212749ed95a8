/** The straight payment in one process: every step once and in order, four rounds, and all parties agree. */
import { describe, expect, it } from 'vitest';
import { STEPS } from '#protocol/steps.ts';
import { assertConserved } from './in-process-audit.ts';
import { createInProcessWorld, ORDER_TOTAL_MINOR, type InProcessWorld } from './in-process.ts';
import { losingSettlement, recordedSettlement, tryToPay } from './payment.fixture.ts';

const GET_VALUE = 0x6c;

function stepsAsTheyHappened({ journal }: InProcessWorld): string[] {
  return journal.toSorted((a, b) => a.at - b.at).map(({ step }) => step);
}

async function partiesSay(world: InProcessWorld) {
  const [shownId = ''] = world.card.operationIds();
  const payments = (await Promise.all(world.operationIds.map((id) => world.store.find(id)))).filter((operation) => operation?.kind === 'pay');
  const [payment] = payments;
  const billed = payment?.bill === undefined || payment.bill === null ? undefined : await world.shop.store.findBill(payment.bill.billId);
  return { payments: payments.length, state: payment?.state, onCard: payment?.operationId === shownId, shop: billed?.outcome?.outcome, shopPaymentId: billed?.outcome?.paymentId === payment?.paymentId };
}

describe('a straight payment', () => {
  it('runs ST1 to ST20, each once, in order, across all parties', async () => {
    const world = await createInProcessWorld();
    world.journal.length = 0;
    expect((await tryToPay(world)).outcome).toMatchObject({ kind: 'paid', balanceAfterMinor: 10_000n - ORDER_TOTAL_MINOR });
    expect(stepsAsTheyHappened(world)).toEqual(STEPS.map(({ id }) => id));
    expect(world.journal.filter(({ failed }) => failed !== undefined)).toEqual([]);
  });

  it('takes four rounds between PC and application server', async () => {
    const world = await createInProcessWorld();
    const settlement = recordedSettlement(world);
    await tryToPay(world, { settlement });
    expect(settlement.carried.map(({ round }) => round)).toEqual(['requestPayment', 'answerCard', 'answerCard', 'complete']);
  });

  it('leaves card, ledger, settlement and shop of one mind', async () => {
    const world = await createInProcessWorld();
    const { outcome, shown } = await tryToPay(world);
    expect(shown).toEqual([outcome]);
    expect(world.card.balanceMinor()).toBe(10_000n - ORDER_TOTAL_MINOR);
    expect(await world.store.balanceOf('shop:hanamaru', 'JPY')).toBe(ORDER_TOTAL_MINOR);
    expect(await world.deliverNotices()).toBe(1);
    expect(await world.deliverNotices()).toBe(0);
    expect(await partiesSay(world)).toEqual({ payments: 1, state: 'DONE', onCard: true, shop: 'paid', shopPaymentId: true });
    await assertConserved(world);
  });

  it('keeps statement and consent as evidence', async () => {
    const world = await createInProcessWorld();
    const { outcome } = await tryToPay(world);
    const paid = await world.store.find(outcome?.kind === 'paid' ? outcome.paymentId : '');
    expect(paid?.evidence).toMatchObject({ by: 'notice', statement: expect.any(String) as string, consent: expect.any(String) as string });
  });

  it('runs again and again with one card', async () => {
    const world = await createInProcessWorld();
    for (let i = 1n; i <= 4n; i++) {
      expect((await tryToPay(world)).outcome).toMatchObject({ kind: 'paid', balanceAfterMinor: 10_000n - i * ORDER_TOTAL_MINOR });
    }
    expect(await world.deliverNotices()).toBe(4);
    await assertConserved(world);
  });
});

describe('a payment without the balance (paragraph 0064)', () => {
  it('runs every step but ST12 and ST13, in three rounds, and no GetValue reaches the card', async () => {
    const world = await createInProcessWorld();
    world.journal.length = 0;
    world.card.commands.length = 0;
    const settlement = recordedSettlement(world);
    const { outcome } = await tryToPay(world, { settlement }, {}, { readBalance: false });
    expect(outcome).toMatchObject({ kind: 'paid', balanceAfterMinor: null });
    expect(stepsAsTheyHappened(world)).toEqual(STEPS.map(({ id }) => id).filter((id) => id !== 'ST12' && id !== 'ST13'));
    expect(settlement.carried.map(({ round }) => round)).toEqual(['requestPayment', 'answerCard', 'complete']);
    expect(world.card.commands.some((apdu) => apdu[1] === GET_VALUE)).toBe(false);
    expect(world.card.balanceMinor()).toBe(10_000n - ORDER_TOTAL_MINOR);
    await world.deliverNotices();
    expect(await partiesSay(world)).toMatchObject({ state: 'DONE', onCard: true, shop: 'paid' });
    await assertConserved(world);
  });

  it('reads the log first where something is unresolved on the card, and still not the balance', async () => {
    const world = await createInProcessWorld();
    // The statement of the first payment is lost, and every round after it: its INTENT stays open.
    expect((await tryToPay(world, { settlement: losingSettlement(world, (nth) => (nth >= 3 ? 'answer-lost' : 'carried')) })).said).toBe('settlement/unreachable at no step');
    world.card.commands.length = 0;
    const settlement = recordedSettlement(world);
    expect((await tryToPay(world, { settlement }, {}, { readBalance: false })).said).toBe('paid');
    expect(settlement.carried).toHaveLength(4);
    expect(world.card.commands.some((apdu) => apdu[1] === GET_VALUE)).toBe(false);
    await assertConserved(world);
  });

  it('is not paid, and says so at once, where the card holds too little', async () => {
    const world = await createInProcessWorld({ balanceMinor: 2_099n });
    expect((await tryToPay(world, {}, {}, { readBalance: false })).said).toBe('not-paid: not-debited');
    expect(world.card.balanceMinor()).toBe(2_099n);
    await assertConserved(world);
  });
});

it('a payment after one that was declined at ST16 is paid: the card was not blocked', async () => {
  const world = await createInProcessWorld();
  await tryToPay(world, {}, { agreeToDebit: () => Promise.resolve({ agreed: false, shown: '' }) });
  expect((await tryToPay(world)).said).toBe('paid');
  await assertConserved(world);
});
