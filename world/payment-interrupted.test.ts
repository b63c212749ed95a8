/** The card lifted before or after every command, and every round lost on its way there or back: paid, not paid or unknown as the rules allow, and a reading ends it. */
import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createGatedCard } from '#bridge/gated-card.ts';
import { Failure, type FailureCode } from '#protocol/failure.ts';
import { resolve } from '#protocol/resolve.ts';
import { assertConserved } from './in-process-audit.ts';
import type { Fate, InProcessCard } from './in-process-card.ts';
import { createInProcessWorld, ORDER_TOTAL_MINOR, type InProcessWorld } from './in-process.ts';
import { losingSettlement, tryToPay } from './payment.fixture.ts';

const COMMIT = 0xc7;

/** One world for all, with a card that holds enough: each test ends with everything resolved. */
let world: InProcessWorld;
let before: bigint;
beforeAll(async () => {
  world = await createInProcessWorld({ balanceMinor: 50_000n });
});
beforeEach(async () => {
  if (world.card.balanceMinor() < 4n * ORDER_TOTAL_MINOR) await world.load(world.card, 40_000n);
  before = world.card.balanceMinor();
  world.card.commands.length = 0;
});

/** Puts the card back and has everything that is open on it decided. */
async function putBackAndResolve(): Promise<void> {
  world.card.fate = () => 'answer';
  const card = createGatedCard(world.card.open(), new AbortController().signal);
  await resolve(card, { about: null }, world.ports());
  await card.close();
}

async function endsResolved(said: string): Promise<void> {
  await putBackAndResolve();
  await world.deliverNotices();
  expect(await world.store.unresolvedOf(world.card.cardId)).toEqual([]);
  const takenMinor = before - world.card.balanceMinor();
  expect([0n, ORDER_TOTAL_MINOR]).toContain(takenMinor);
  const payments = (await Promise.all(world.operationIds.map((id) => world.store.find(id)))).filter((operation) => operation?.kind === 'pay');
  const last = payments.at(-1)?.bill ?? null;
  const attempts = last === null ? [] : await world.store.attemptsFor(last.shopId, last.billId);
  if (said === 'paid') expect(takenMinor).toBe(ORDER_TOTAL_MINOR);
  if (!said.startsWith('paid') && !said.startsWith('unknown')) expect(takenMinor).toBe(0n);
  if (takenMinor > 0n) expect(attempts.filter(({ state }) => state === 'DONE')).toHaveLength(1);
  await assertConserved(world);
  // The card is not blocked.
  expect((await tryToPay(world)).said).toBe('paid');
  await world.deliverNotices();
  await assertConserved(world);
}

/** Lifts the card at its nth command, once; `then` at every command after it. */
function liftOnce(card: InProcessCard, nth: number, fate: Fate, then: Fate = 'answer'): void {
  let commands = 0;
  card.fate = () => (++commands === nth ? fate : commands > nth ? then : 'answer');
}

describe('the card is lifted', () => {
  /** 5 of identifying, 1 of authenticating, 3 of reading, 4 of the SPC. */
  const COMMANDS = 13;
  const places = Array.from({ length: COMMANDS }, (_, i) => i + 1);
  const fates = ['lift-before', 'lift-after'] as const;
  const cases = places.flatMap((nth) => fates.map((fate) => [nth, fate] as const));

  it('at one of as many commands as this table knows', async () => {
    await tryToPay(world);
    expect(world.card.commands).toHaveLength(COMMANDS);
  });

  it.each(cases)('at command %i (%s) and put back at once', async (nth, fate) => {
    liftOnce(world.card, nth, fate);
    const asked: (string | undefined)[] = [];
    const { said, failure, outcome } = await tryToPay(world, {}, { askForCard: (again) => void asked.push(again?.code) });
    expect(failure).toBeUndefined();
    // Up to the reading the payment goes on with the card put back.
    if (nth <= 9) expect([said, asked]).toEqual(['paid', [undefined, 'card/removed']]);
    // In the SPC the PC does not ask again: what the card had answered is proof, or only a reading is.
    else if (nth === 13) expect(said).toBe('paid');
    else {
      expect(outcome).toMatchObject({ kind: 'unknown', cardId: world.card.cardId, failure: { code: 'card/removed' } });
      const committed = world.card.commands.some((apdu) => apdu[1] === COMMIT);
      expect(before - world.card.balanceMinor()).toBe(committed ? ORDER_TOTAL_MINOR : 0n);
    }
    await endsResolved(said);
  });

  it.each(places)('at command %i, and it does not come back', async (nth) => {
    liftOnce(world.card, nth, 'lift-before', 'lift-before');
    const { said } = await tryToPay(world);
    if (nth === 13) expect(said).toBe('paid');
    else expect(said).toMatch(nth <= 9 ? /^card\/removed at / : /^unknown: card\/removed$/);
    await endsResolved(said);
  });

  it('while the customer reads the balance: it is asked for again, and the question with it', async () => {
    let asked = 0;
    const opened: ReturnType<typeof createGatedCard>[] = [];
    const reader = { awaitCard: () => { const card = createGatedCard(world.card.open(), new AbortController().signal); opened.push(card); return Promise.resolve(card); } };
    const { said } = await tryToPay(world, { reader }, {
      agreeToDebit: () => {
        if (++asked > 1) return Promise.resolve({ agreed: true, shown: '' });
        void opened[0]!.close();
        queueMicrotask(() => opened[0]!.reportLost(failureOf('card/removed')));
        return new Promise(() => undefined); // the customer is still reading
      },
    });
    expect([said, asked]).toEqual(['paid', 2]);
    await endsResolved(said);
  });

  it('while its statement waits, and another one is put down: the first is asked for, and the other is not spoken to', async () => {
    const other = await world.newCustomer('04FFFFFFFFFF11', 5_000n);
    other.card.commands.length = 0;
    const cards = [world.card, other.card, world.card];
    const opened: ReturnType<typeof createGatedCard>[] = [];
    const reader = { awaitCard: () => { const card = createGatedCard(cards.shift()!.open(), new AbortController().signal); opened.push(card); return Promise.resolve(card); } };
    const asked: (string | undefined)[] = [];
    let questions = 0;
    const { said } = await tryToPay(world, { reader }, {
      askForCard: (again) => void asked.push(again?.code),
      agreeToDebit: () => {
        if (++questions > 1) return Promise.resolve({ agreed: true, shown: '' });
        queueMicrotask(() => opened[0]!.reportLost(failureOf('card/removed')));
        return new Promise(() => undefined);
      },
    });
    expect([said, asked]).toEqual(['paid', [undefined, 'card/removed', 'card/changed']]);
    // Selected, named and asked for a challenge, which holds no secret; nothing more.
    expect(other.card.commands).toHaveLength(5);
    expect(other.card.balanceMinor()).toBe(5_000n);
    await endsResolved(said);
  });

  it('never, but the customer thinks for longer than a statement lives: the question comes again with a new one', async () => {
    let questions = 0;
    const agreeToDebit = () => {
      if (++questions === 1) world.clock.advance(121_000);
      return Promise.resolve({ agreed: true, shown: '' });
    };
    const { said } = await tryToPay(world, {}, { agreeToDebit });
    expect([said, questions]).toEqual(['paid', 2]);
    await endsResolved(said);
  });
});

describe('the settlement is not heard', () => {
  const rounds = [1, 2, 3, 4];
  const ways = ['request-lost', 'answer-lost'] as const;
  const cases = rounds.flatMap((nth) => ways.map((way) => [nth, way] as const));
  // Before the SPC has left for the card it is certain that nothing was taken; after it a reading decides, at once.
  it.each(cases)('once, in round %i (%s)', async (nth, way) => {
    const settlement = losingSettlement(world, (round) => (round === nth ? way : 'carried'));
    const { said } = await tryToPay(world, { settlement });
    expect(said).toMatch(nth === 4 ? /^paid$/ : /^settlement\/unreachable at /);
    if (nth === 3) expect(settlement.carried.some(({ round }) => round === 'requestReading')).toBe(true);
    await endsResolved(said);
  });

  it.each(cases)('from round %i on (%s)', async (nth, way) => {
    const settlement = losingSettlement(world, (round) => (round >= nth ? way : 'carried'));
    const { said } = await tryToPay(world, { settlement });
    expect(said).toMatch(nth === 4 ? /^unknown: settlement\/unreachable$/ : /^settlement\/unreachable at /);
    await endsResolved(said);
  });

  it('at all: the channel cannot be opened at ST7', async () => {
    const settlement = { ...world.settlement(), connect: () => Promise.reject(failureOf('settlement/unreachable')) };
    const { said } = await tryToPay(world, { settlement });
    expect(said).toBe('settlement/unreachable at ST7');
    expect(world.card.commands).toEqual([]);
    await endsResolved(said);
  });

  it.each([1, 2, 3, 4])('because it was started anew before round %i: its conversations are gone, its INTENTs are not', async (nth) => {
    let settlement = world.settlement();
    let round = 0;
    const now = () => (settlement = ++round === nth ? world.settlement(world.restartApplication()) : settlement);
    const { said } = await tryToPay(world, {
      settlement: {
        connect: () => settlement.connect(),
        requestPayment: (request) => now().requestPayment(request),
        requestReading: (request) => now().requestReading(request),
        requestLink: (request) => now().requestLink(request),
        answerCard: (id, answer) => now().answerCard(id, answer),
        complete: (id, message) => now().complete(id, message),
      },
    });
    expect(said).toBe('paid');
    await endsResolved(said);
  });
});

function failureOf(code: FailureCode): Failure {
  return new Failure(code);
}
