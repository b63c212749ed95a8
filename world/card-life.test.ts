/** A card's life in one process: linked by its code, read by its holder, blocked when it is lost, replaced by the books; with the rules of payment-rules 3, 16 and 20. */
import { beforeEach, describe, expect, it } from 'vitest';
import { createGatedCard } from '#bridge/gated-card.ts';
import { Failure } from '#protocol/failure.ts';
import type { Identity } from '#protocol/parties.ts';
import { link, resolve } from '#protocol/resolve.ts';
import { assertConserved } from './in-process-audit.ts';
import type { InProcessCard } from './in-process-card.ts';
import { createInProcessWorld, ORDER_TOTAL_MINOR, readerWith, type InProcessWorld } from './in-process.ts';
import { losingSettlement, tryToPay } from './payment.fixture.ts';

let world: InProcessWorld;
beforeEach(async () => {
  world = await createInProcessWorld();
});

const codeOf = (act: Promise<unknown>): Promise<string> => act.then(() => 'done', (thrown: unknown) => (thrown instanceof Failure ? thrown.code : Promise.reject(thrown as Error)));

async function onReader<T>(card: InProcessCard, act: (gated: ReturnType<typeof createGatedCard>) => Promise<T>): Promise<T> {
  const gated = createGatedCard(card.open(), new AbortController().signal);
  return act(gated).finally(() => gated.close());
}

const readAs = (card: InProcessCard, identity: Identity = world.customer.identity) => onReader(card, (gated) => resolve(gated, { about: null, history: true }, { ...world.ports(), identity }));
const linkAs = (card: InProcessCard, code: string, identity: Identity = world.customer.identity) => onReader(card, (gated) => link(gated, code, { ...world.ports(), identity }));

/** A card that was issued for no customer yet, with its activation code. */
async function cardForBearer(uid: string): Promise<{ card: InProcessCard; code: string }> {
  const card = world.newCard(uid);
  const { activationCode, enrolmentCode, customerId } = await world.issue(card, { holder: { is: 'bearer-of-code' } });
  expect([enrolmentCode, customerId]).toEqual([null, null]);
  return { card, code: activationCode! };
}

/** A payment whose SPC was carried out, and whose outcome the settlement has not heard: the INTENT is open. */
async function payUnheard(): Promise<void> {
  const { outcome } = await tryToPay(world, { settlement: losingSettlement(world, (nth) => (nth > 3 ? 'request-lost' : 'carried')) });
  expect(outcome?.kind).toBe('unknown');
}

/** A payment whose SPC has left the server, and never reached the card. */
async function payUnsent(): Promise<void> {
  const { said } = await tryToPay(world, { settlement: losingSettlement(world, (nth) => (nth === 3 ? 'answer-lost' : nth > 3 ? 'request-lost' : 'carried')) });
  expect(said).toMatch(/^settlement\/unreachable/);
}

describe('a reading by the card\'s holder', () => {
  it('shows balance, state and the last records with the shops\' names', async () => {
    await tryToPay(world);
    const report = await readAs(world.card);
    expect(report).toMatchObject({ balanceMinor: 10_000n - ORDER_TOTAL_MINOR, card: { state: 'active', currency: 'JPY', limitMinor: 50_000n } });
    expect(report.records.map(({ amountMinor, known }) => [amountMinor, known])).toEqual([
      [ORDER_TOTAL_MINOR, { kind: 'pay', outcome: 'done', shopName: 'Hanamaru Books' }],
      [10_000n, { kind: 'load', outcome: 'done', shopName: null }],
      [0n, { kind: 'issue', outcome: 'done', shopName: null }],
    ]);
  });

  it('keeps to as many records as the card keeps, newest first', async () => {
    for (let i = 1n; i <= 6n; i++) await world.load(world.card, i);
    const { records } = await readAs(world.card);
    expect(records.map(({ amountMinor }) => amountMinor)).toEqual([6n, 5n, 4n, 3n]);
  });

  it('shows nothing to another customer, nor of a card without a customer', async () => {
    const other = await world.newCustomer('04FFFFFFFFFF51', 1_000n);
    expect(await codeOf(readAs(world.card, other.identity))).toBe('customer/card-not-linked');
    const { card } = await cardForBearer('04FFFFFFFFFF52');
    expect(await codeOf(readAs(card))).toBe('customer/card-not-linked');
  });

  it('decides what is open, and then shows it as done', async () => {
    await payUnheard();
    const report = await readAs(world.card);
    expect(report.decided).toMatchObject([{ outcome: 'paid', amountMinor: ORDER_TOTAL_MINOR }]);
    expect(report.records[0]?.known).toMatchObject({ kind: 'pay', outcome: 'done' });
    await assertConserved(world);
  });
});

describe('a link', () => {
  it('gives the card to whoever has its code, once, and it pays at once', async () => {
    const { card, code } = await cardForBearer('04FFFFFFFFFF53');
    await world.load(card, 5_000n);
    expect(await linkAs(card, code)).toMatchObject({ balanceMinor: 5_000n, card: { state: 'active' } });
    expect((await tryToPay(world, { reader: readerWith(card) })).said).toBe('paid');
    const other = await world.newCustomer('04FFFFFFFFFF54', 0n);
    expect(await codeOf(linkAs(card, code, other.identity))).toMatch(/^customer\/(card-not-linked|activation-code)$/);
    await assertConserved(world);
  });

  it('is refused with a wrong code, the code of another card, too late, or without the card', async () => {
    const first = await cardForBearer('04FFFFFFFFFF55');
    const second = await cardForBearer('04FFFFFFFFFF56');
    expect(await codeOf(linkAs(first.card, 'AAAA-AAAA-AAAA-AAAA'))).toBe('customer/activation-code');
    expect(await codeOf(linkAs(first.card, second.code))).toBe('customer/activation-code');
    // The card is lifted before it has proved itself: nothing is linked, and the code is not used up.
    first.card.fate = (instruction) => (instruction === 0xaf ? 'lift-before' : 'answer');
    expect(await codeOf(linkAs(first.card, first.code))).toMatch(/^card\//);
    first.card.fate = () => 'answer';
    expect(await world.information.findCard({ cardId: first.card.cardId })).toMatchObject({ customerId: null });
    expect(await codeOf(linkAs(first.card, first.code))).toBe('done');
    world.clock.advance(60 * 24 * 3_600_000);
    expect(await codeOf(linkAs(second.card, second.code))).toBe('customer/activation-code');
  });

  it('that was carried out and not heard of is asked for again in vain or in peace, never for two', async () => {
    const { card, code } = await cardForBearer('04FFFFFFFFFF57');
    const settlement = losingSettlement(world, (nth) => (nth === 3 ? 'answer-lost' : 'carried'));
    expect(await codeOf(onReader(card, (gated) => link(gated, code, { ...world.ports(), settlement })))).toBe('settlement/unreachable');
    expect(await codeOf(readAs(card))).toBe('done');
  });
});

describe('a one-time code given anew', () => {
  it('enrols another browser of the same customer, which pays with the same card', async () => {
    const { customerId } = await world.account(world.card.cardId);
    const code = await world.enrolmentCode(customerId!);
    const identity = await world.enrol(code);
    expect((await tryToPay(world, { identity })).said).toBe('paid');
    expect(await readAs(world.card, identity)).toMatchObject({ balanceMinor: 10_000n - ORDER_TOTAL_MINOR });
    expect(await codeOf(world.enrol(code))).toBe('customer/enrolment-code');
    expect(await codeOf(world.enrolmentCode('6f9619ff-8b86-4011-b42d-00c04fc964ff'))).toBe('customer/unknown');
  });

  it('links a card beside its first code, and is given for no card that is linked, blocked or not ours', async () => {
    const { card, code } = await cardForBearer('04FFFFFFFFFF68');
    const again = await world.activationCode(card.cardId);
    expect(again).not.toBe(code);
    expect(await codeOf(linkAs(card, again))).toBe('done');
    expect(await codeOf(world.activationCode(card.cardId))).toBe('customer/card-not-linked');
    const lost = await cardForBearer('04FFFFFFFFFF69');
    await world.block(lost.card.cardId);
    expect(await codeOf(world.activationCode(lost.card.cardId))).toBe('card/blocked');
    expect(await codeOf(world.activationCode('04FFFFFFFFFF6A'))).toBe('card/not-issued');
  });
});

describe('a lost card', () => {
  it('pays nothing, is loaded with nothing and linked to nobody once it is blocked; its holder may still read it', async () => {
    expect(await world.block(world.card.cardId)).toMatchObject({ state: 'blocked', ledgerMinor: 10_000n, movableMinor: 10_000n, open: [] });
    expect((await tryToPay(world)).said).toBe('card/blocked at ST9');
    expect(await codeOf(world.load(world.card, 1n))).toBe('card/blocked');
    const bearer = await cardForBearer('04FFFFFFFFFF58');
    await world.block(bearer.card.cardId);
    expect(await codeOf(linkAs(bearer.card, bearer.code))).toBe('card/blocked');
    expect(await readAs(world.card)).toMatchObject({ card: { state: 'blocked' }, balanceMinor: 10_000n });
    expect(world.card.balanceMinor()).toBe(10_000n);
    await assertConserved(world);
  });

  it('is blocked in the middle of a payment: the offer is refused at ST14, before any debit', async () => {
    let blocked = false;
    const settlement = losingSettlement(world, () => 'carried');
    const { said } = await tryToPay(world, {
      settlement: { ...settlement, answerCard: async (id, answer) => {
        if (!blocked) await world.block(world.card.cardId);
        blocked = true;
        return settlement.answerCard(id, answer);
      } },
    });
    expect(said).toMatch(/^card\/blocked/);
    expect(world.card.balanceMinor()).toBe(10_000n);
    await assertConserved(world);
  });

  it('keeps its open payment visible; only the rest moves, until a reading decides it', async () => {
    await payUnsent();
    const account = await world.block(world.card.cardId);
    expect(account).toMatchObject({ ledgerMinor: 10_000n, movableMinor: 10_000n - ORDER_TOTAL_MINOR, open: [{ kind: 'pay', amountMinor: ORDER_TOTAL_MINOR, shopId: 'hanamaru' }] });
    const { card, code } = await cardForBearer('04FFFFFFFFFF59');
    await linkAs(card, code);
    expect(await codeOf(world.replace(world.card.cardId, card, 10_000n))).toBe('operator/balance');
    expect(await world.replace(world.card.cardId, card, 10_000n - ORDER_TOTAL_MINOR)).toMatchObject({ balanceAfterMinor: 10_000n - ORDER_TOTAL_MINOR });
    expect(await codeOf(world.replace(world.card.cardId, card, 1n))).toBe('operator/balance');
    // Found again and read: nothing was debited, so the rest may move too.
    await readAs(world.card);
    expect(await world.account(world.card.cardId)).toMatchObject({ ledgerMinor: ORDER_TOTAL_MINOR, movableMinor: ORDER_TOTAL_MINOR, open: [] });
    await world.replace(world.card.cardId, card, ORDER_TOTAL_MINOR);
    expect([card.balanceMinor(), (await world.account(world.card.cardId)).ledgerMinor]).toEqual([10_000n, 0n]);
  });

  it('an operator may count its open payment as not debited, once; if it was debited after all the institution bears it', async () => {
    await payUnheard();
    const { open } = await world.block(world.card.cardId);
    const { card } = await cardForBearer('04FFFFFFFFFF5A');
    const countAsNotDebited = open.map(({ paymentId }) => paymentId);
    await world.replace(world.card.cardId, card, 10_000n, { countAsNotDebited });
    expect(await codeOf(world.replace(world.card.cardId, card, 1n, { countAsNotDebited }))).toBe('operator/balance');
    await readAs(world.card);
    expect(await world.account(world.card.cardId)).toMatchObject({ ledgerMinor: -ORDER_TOTAL_MINOR, movableMinor: 0n });
    expect(card.balanceMinor()).toBe(10_000n);
  });

  it('gives nothing before it is blocked, nothing to itself, and no more than the new card may hold', async () => {
    const { card } = await cardForBearer('04FFFFFFFFFF5B');
    expect(await codeOf(world.replace(world.card.cardId, card, 1n))).toBe('card/not-blocked');
    await world.block(world.card.cardId);
    await world.load(card, 45_000n);
    expect(await codeOf(world.replace(world.card.cardId, card, 10_000n))).toBe('card/limit');
    expect(await codeOf(world.replace(world.card.cardId, world.card, 1_000n))).toBe('card/blocked');
  });

  it.each(['lift-before', 'lift-after'] as const)('replaced by a card that is lifted at any command (%s): moved once or not at all', async (fate) => {
    await world.block(world.card.cardId);
    const { card } = await cardForBearer('04FFFFFFFFFF5C');
    let torn = 0;
    for (let nth = 1; ; nth++) {
      let commands = 0;
      card.fate = () => (++commands === nth ? fate : 'answer');
      const before = card.balanceMinor();
      const said = await codeOf(world.replace(world.card.cardId, card, 10n));
      card.fate = () => 'answer';
      if (said === 'done') break;
      torn += 1;
      const { account } = await world.show(card);
      expect(account.open).toEqual([]);
      expect(account.ledgerMinor).toBe(card.balanceMinor());
      expect([before, before + 10n]).toContain(card.balanceMinor());
      expect((await world.account(world.card.cardId)).ledgerMinor).toBe(10_000n - card.balanceMinor());
    }
    expect(torn).toBeGreaterThan(12);
  });

  it('blocked twice stays as it was blocked first', async () => {
    const { blockedAt } = await world.block(world.card.cardId);
    world.clock.advance(1_000);
    expect((await world.block(world.card.cardId)).blockedAt).toBe(blockedAt);
    expect(await codeOf(world.block('04EEEEEEEEEEEE'))).toBe('card/not-issued');
  });
});

describe('what an operator is shown', () => {
  it('of a card on the reader: balance, log, account, and what the reading settled', async () => {
    await payUnheard();
    expect(await world.show(world.card)).toMatchObject({
      balanceMinor: 10_000n - ORDER_TOTAL_MINOR,
      account: { state: 'active', ledgerMinor: 10_000n - ORDER_TOTAL_MINOR, open: [] },
      decided: [{ kind: 'pay', outcome: 'done', amountMinor: ORDER_TOTAL_MINOR }],
    });
  });

  it('of a load: what was open before is told', async () => {
    await payUnheard();
    expect((await world.load(world.card, 100n)).decided).toMatchObject([{ kind: 'pay', outcome: 'done' }]);
  });

  it('a receipt of every operation that a transaction MAC proves, whether a notice or a reading decided it', async () => {
    await payUnheard();
    await readAs(world.card);
    await tryToPay(world);
    const [issued, loaded, read, noticed] = world.operationIds;
    expect(await codeOf(world.receipt(issued!))).toBe('payment/unknown');
    expect(await world.receipt(loaded!)).toMatchObject({ kind: 'load', bill: null, notice: null, amountMinor: 10_000n });
    expect(await world.receipt(read!)).toMatchObject({ kind: 'pay', statement: null, consent: null, amountMinor: ORDER_TOTAL_MINOR, bill: { shopId: 'hanamaru' } });
    const receipt = await world.receipt(noticed!);
    expect([receipt.statement, receipt.consent, receipt.notice].every((jws) => jws !== null)).toBe(true);
    expect(await codeOf(world.receipt(crypto.randomUUID()))).toBe('payment/unknown');
  });
});
