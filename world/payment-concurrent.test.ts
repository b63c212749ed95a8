/** More than one at a time: one card in two payments, two cards for one bill, sessions that supersede each other, a card that comes back late. */
import { beforeEach, describe, expect, it } from 'vitest';
import { createGatedCard } from '#bridge/gated-card.ts';
import { openContact } from '#protocol/card-contact.ts';
import { Failure } from '#protocol/failure.ts';
import { link, resolve } from '#protocol/resolve.ts';
import type { Settlement } from '#protocol/parties.ts';
import { relayDialog } from '#protocol/settling.ts';
import type { Jws } from '#protocol/signed.ts';
import { endOverdue } from '#servers/application/expiry.ts';
import { assertConserved } from './in-process-audit.ts';
import type { InProcessCard } from './in-process-card.ts';
import { createInProcessWorld, ORDER_TOTAL_MINOR, readerWith, type InProcessWorld } from './in-process.ts';
import { bodyOf, carriedSettlement, losingSettlement, recordedSettlement, resigned, tryToPay, type Carried } from './payment.fixture.ts';

let world: InProcessWorld;
beforeEach(async () => {
  world = await createInProcessWorld();
});

async function read(card: InProcessCard, about: string | null = null) {
  const opened = createGatedCard(card.open(), new AbortController().signal);
  const report = await resolve(opened, { about }, world.ports());
  await opened.close();
  return report;
}

const lastOperation = async () => world.store.find(world.operationIds.at(-1) ?? '');
/** The card loses power before the nth of the commands that write (1: WriteRecord, 4: the last GetValue), once. */
function liftInSpc(card: InProcessCard, nth: number): void {
  let writes = 0;
  card.fate = (instruction) => {
    if (instruction === 0x8b || writes > 0) writes += 1;
    return writes === nth ? 'lift-before' : 'answer';
  };
}
/** The statement goes out and is never answered: the INTENT stays open. */
async function leaveIntentOpen(): Promise<void> {
  await tryToPay(world, { settlement: losingSettlement(world, (nth) => (nth >= 3 ? 'answer-lost' : 'carried')) });
  expect((await lastOperation())?.state).toBe('INTENT');
}

describe('one card, two payments at once', () => {
  it('another payment that reads the card in the middle supersedes the first: at most one of them is paid with each statement', async () => {
    let second: string | undefined;
    const settlement = carriedSettlement(world.settlement(), async (_round, send, nth) => {
      const answer = await send();
      // After the first has its statement, the same card pays for something else in another window.
      if (nth === 3) second = (await tryToPay(world)).said;
      return answer;
    });
    const { said } = await tryToPay(world, { settlement });
    expect(second).toBe('paid');
    // The SPC of the first belongs to a session that the card has left.
    expect(said).toBe('not-paid: not-debited');
    expect(world.card.balanceMinor()).toBe(10_000n - ORDER_TOTAL_MINOR);
    await assertConserved(world);
  });

  it.each([1, 2])('another payment that begins after round %i ends the first\'s session, and the first goes on by itself', async (at) => {
    let second: string | undefined;
    const settlement = carriedSettlement(world.settlement(), async (_round, send, nth) => {
      const answer = await send();
      if (nth === at) second = (await tryToPay(world)).said;
      return answer;
    });
    const { said } = await tryToPay(world, { settlement });
    expect([said, second]).toEqual([expect.stringMatching(/^paid$|^card\//), 'paid']);
    await assertConserved(world);
  });

  it('two requests that both found nothing unresolved leave one INTENT', async () => {
    const waiting: (() => void)[] = [];
    const together = (): Settlement => carriedSettlement(world.settlement(), async (_round, send, nth) => {
      if (nth === 1) {
        await new Promise<void>((go) => { waiting.push(go); if (waiting.length === 2) for (const each of waiting) each(); });
      }
      return send();
    });
    const said = (await Promise.all([tryToPay(world, { settlement: together() }), tryToPay(world, { settlement: together() })])).map((one) => one.said);
    const paid = said.filter((one) => one === 'paid').length;
    expect(10_000n - world.card.balanceMinor()).toBe(BigInt(paid) * ORDER_TOTAL_MINOR);
    await read(world.card);
    expect(await world.store.unresolvedOf(world.card.cardId)).toEqual([]);
    await assertConserved(world);
  });
});

describe('an INTENT that is written while another request begins', () => {
  it('by another process is not decided by this one\'s reading, and its SPC never leaves (payment-rules 3, 4)', async () => {
    const unresolvedOf = world.store.unresolvedOf.bind(world.store);
    let first = true;
    Object.assign(world.store, {
      unresolvedOf: async (cardId: string) => {
        const found = await unresolvedOf(cardId);
        if (first) {
          first = false;
          const loaded = await lastOperation();
          const written = await world.store.writeIntent({ ...loaded!, kind: 'pay', paymentId: crypto.randomUUID(), operationId: 'AAAAAAAAAAAAAAAA', bill: { shopId: 'hanamaru', billId: 'elsewhere', billDigest: 'D'.repeat(43), expiresAt: loaded!.writtenAt } });
          expect(written).toBe('written');
        }
        return found;
      },
    });
    const { said } = await tryToPay(world);
    expect(said).toBe('card/unresolved at ST14');
    // The PC had the card read at once, so nothing is blocked.
    expect((await lastOperation())?.state).toBe('ABORTED');
    expect(world.card.balanceMinor()).toBe(10_000n);
    expect((await tryToPay(world)).said).toBe('paid');
    await assertConserved(world);
  });
});

describe('one bill', () => {
  it('that was paid with this card unheard is found paid when it comes again, not in progress', async () => {
    const settlement = losingSettlement(world, (nth) => (nth >= 4 ? 'request-lost' : 'carried'));
    expect((await tryToPay(world, { settlement })).said).toMatch(/^unknown/);
    const opened = createGatedCard(world.card.open(), new AbortController().signal);
    const { cardChallenge } = await openContact(opened, 1);
    const request = await resigned(settlement.carried[0]!.request, { cardChallenge, paymentNonce: 'p'.repeat(22) }, world.customer.identity.signer);
    const first = { request, answer: await world.settlement().requestPayment(request) };
    const dialog = relayDialog(world.settlement(), first, { contact: { card: opened, cardId: world.card.cardId, cardChallenge }, nonce: 'p'.repeat(22) }, world.customer.identity, () => undefined);
    expect(bodyOf((await dialog).answer)).toMatchObject({ code: 'bill/already-paid', step: 'ST14' });
    expect(world.card.balanceMinor()).toBe(10_000n - ORDER_TOTAL_MINOR);
    await assertConserved(world);
  });

  it('two cards of two customers: the other is not the payer', async () => {
    const other = await world.newCustomer('04FFFFFFFFFF41', 5_000n);
    const settlement = recordedSettlement(world);
    await tryToPay(world, { settlement: { ...settlement, answerCard: () => Promise.reject(new Failure('settlement/unreachable')) } });
    const bill = bodyOf(settlement.carried[0]!.request)['bill'];
    // The other customer's PC passes the same bill on as its own.
    const { said } = await tryToPay(world, { identity: other.identity, reader: readerWith(other.card), shop: { ...world.shopPort(), requestBill: () => Promise.resolve(bill as Jws) } });
    expect(said).toBe('bill/payer at ST4');
    expect(other.card.balanceMinor()).toBe(5_000n);
  });

  it('two cards of one customer: while one has an open intent the other is refused, and after it is paid too', async () => {
    const second = world.newCard('04FFFFFFFFFF42');
    const { activationCode } = await world.issue(second, { holder: { is: 'bearer-of-code' } });
    const opened = createGatedCard(second.open(), new AbortController().signal);
    await link(opened, activationCode!, world.ports());
    await opened.close();
    await world.load(second, 5_000n);
    const cards = [world.card, second];
    // The statement is lost after the first card's INTENT, then the customer puts down the other card.
    let said = (await tryToPay(world, {
      reader: { awaitCard: () => readerWith(cards.shift() ?? second).awaitCard() },
      settlement: losingSettlement(world, (nth) => (nth === 3 ? 'answer-lost' : nth > 3 ? 'request-lost' : 'carried')),
    })).said;
    expect(said).toMatch(/^settlement\/unreachable/);
    const intent = await lastOperation();
    const request = intent?.request ?? '';
    const other = await resigned(request, { cardId: second.cardId, paymentNonce: 'm'.repeat(22) }, world.customer.identity.signer);
    said = await world.application.requestPayment(other).then(() => 'begun', (failure: unknown) => (failure as Failure).code);
    expect(said).toBe('bill/in-progress');
    await read(world.card);
    const again = await resigned(request, { cardId: second.cardId, paymentNonce: 'l'.repeat(22) }, world.customer.identity.signer);
    expect(await world.application.requestPayment(again).then(() => 'begun')).toBe('begun'); // ABORTED: another card may pay it now
    await assertConserved(world);
  });

  it('is retried after ABORTED with a new operation, and paid once', async () => {
    let nth = 0;
    const settlement = carriedSettlement(world.settlement(), async ({ round }, send) => {
      const answer = await send();
      // The first statement is lost as a card lifted too early is: the flow asks for the card and begins a new attempt.
      if (round === 'answerCard' && ++nth === 2) throw new Failure('card/removed');
      return answer;
    });
    expect((await tryToPay(world, { settlement })).said).toBe('paid');
    const paid = await lastOperation();
    const attempts = await world.store.attemptsFor('hanamaru', paid?.bill?.billId ?? '');
    expect(attempts.map(({ state }) => state)).toEqual(['ABORTED', 'DONE']);
    expect(new Set(attempts.map(({ operationId }) => operationId)).size).toBe(2);
    expect(world.card.balanceMinor()).toBe(10_000n - ORDER_TOTAL_MINOR);
    await assertConserved(world);
  });
});

describe('what comes late', () => {
  /** A payment whose card committed and whose completion nobody has heard of yet. */
  async function withheldCompletion(waitMs = 0): Promise<Carried> {
    let withheld: Carried | undefined;
    const settlement = carriedSettlement(world.settlement(), (round, send) => {
      if (round.round === 'complete') withheld = round;
      return withheld === undefined ? send() : Promise.reject(new Failure('settlement/unreachable'));
    });
    const agreeToBill = () => { world.clock.advance(waitMs); return Promise.resolve(true); };
    expect((await tryToPay(world, { settlement }, { agreeToBill })).said).toBe('unknown: settlement/unreachable');
    return withheld!;
  }

  it('a PCN from a superseded session is proof: INTENT becomes DONE (payment-rules 5)', async () => {
    const { paymentId, request } = await withheldCompletion();
    // Another conversation with the card begins and is left alone.
    await tryToPay(world, { settlement: losingSettlement(world, (nth) => (nth > 1 ? 'request-lost' : 'carried')) });
    await world.application.complete(paymentId!, request);
    expect((await world.store.find(paymentId!))?.state).toBe('DONE');
    await world.deliverNotices();
    await assertConserved(world);
  });

  /** The shop was told "not paid", the card was debited: the sum is owed to the holder, and no shop has it. */
  async function isOwedToTheHolder(paymentId: string): Promise<void> {
    const refund = await world.store.find(paymentId);
    expect(refund?.state).toBe('REFUND_DUE');
    expect(await world.store.balanceOf('refunds', 'JPY')).toBe(ORDER_TOTAL_MINOR);
    await world.deliverNotices();
    expect((await world.shop.store.findBill(refund?.bill?.billId ?? ''))?.outcome?.outcome).toBe('not-paid');
    await assertConserved(world);
  }

  it('a PCN after the payment EXPIRED makes it REFUND_DUE, never DONE', async () => {
    const { paymentId, request } = await withheldCompletion(10.5 * 60_000);
    world.clock.advance(8.4 * 60_000);
    expect(await endOverdue(world.applicationParts)).toBe(0); // not before the bill's expiry and five minutes
    world.clock.advance(0.2 * 60_000);
    expect(await endOverdue(world.applicationParts)).toBe(1);
    expect((await world.store.find(paymentId!))?.state).toBe('EXPIRED');
    await expect(world.application.complete(paymentId!, request)).rejects.toMatchObject({ code: 'card/unresolved' });
    await isOwedToTheHolder(paymentId!);
  });

  it('a reading after the payment EXPIRED does so too', async () => {
    const { paymentId } = await withheldCompletion();
    world.clock.advance(20 * 60_000);
    expect(await endOverdue(world.applicationParts)).toBe(1);
    expect((await read(world.card, paymentId)).decided).toMatchObject([{ paymentId, outcome: 'not-paid', notice: null }]);
    await isOwedToTheHolder(paymentId!);
  });

  it('a payment that never debited EXPIRED and is CLOSED by the next reading', async () => {
    await leaveIntentOpen();
    world.clock.advance(20 * 60_000);
    expect(await endOverdue(world.applicationParts)).toBe(1);
    expect(await endOverdue(world.applicationParts)).toBe(0);
    await read(world.card);
    expect((await lastOperation())?.state).toBe('CLOSED');
    await world.deliverNotices();
    await assertConserved(world);
  });

  it('a reading that another session has overtaken decides nothing (payment-rules 4)', async () => {
    await leaveIntentOpen();
    const opened = createGatedCard(world.card.open(), new AbortController().signal);
    const stale = carriedSettlement(world.settlement(), async (_round, send, nth) => {
      // Its last answer waits while another payment begins with the card.
      if (nth === 3) await tryToPay(world, { settlement: losingSettlement(world, (at) => (at > 1 ? 'request-lost' : 'carried')) });
      return send();
    });
    await expect(resolve(opened, { about: null }, { ...world.ports(), settlement: stale })).rejects.toMatchObject({ code: 'settlement/session' });
    expect((await lastOperation())?.state).toBe('INTENT');
    await read(world.card);
    expect((await lastOperation())?.state).toBe('ABORTED');
    await assertConserved(world);
  });

  it('a reading decides only what was open when its session began', async () => {
    const opened = createGatedCard(world.card.open(), new AbortController().signal);
    const settlement = carriedSettlement(world.settlement(), (_round, send) => send());
    const report = await resolve(opened, { about: null }, { ...world.ports(), settlement });
    expect(report.decided).toEqual([]);
  });
});

describe('an unresolved payment', () => {
  it('gets no second SPC: the next attempt reads first, and a load does too', async () => {
    liftInSpc(world.card, 4);
    const { said } = await tryToPay(world, { settlement: losingSettlement(world, (_nth, round) => (round === 'complete' ? 'request-lost' : 'carried')) });
    expect(said).toMatch(/^unknown/);
    world.card.fate = () => 'answer';
    await world.load(world.card, 1_000n);
    expect((await Promise.all(world.operationIds.map((id) => world.store.find(id)))).map((operation) => `${operation?.kind ?? ''} ${operation?.state ?? ''}`)).toEqual(['issue DONE', 'load DONE', 'pay DONE', 'load DONE']);
    expect(world.card.balanceMinor()).toBe(10_000n - ORDER_TOTAL_MINOR + 1_000n);
    await assertConserved(world);
  });
});

