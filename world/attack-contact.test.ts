/** An application server that has been taken over, with a card within its reach and messages that were signed for an earlier contact: the security server speaks to the card for none of them. */
import { beforeEach, describe, expect, it } from 'vitest';
import { createGatedCard } from '#bridge/gated-card.ts';
import { openContact } from '#protocol/card-contact.ts';
import { Failure } from '#protocol/failure.ts';
import { encodeResponses, parseCommands, type WireCommands } from '#protocol/messages/fields.ts';
import type { OperatingPort } from '#protocol/operating.ts';
import { resolve } from '#protocol/resolve.ts';
import type { Jws } from '#protocol/signed.ts';
import type { OpenedOrRekey } from '#servers/shared/apis/security.ts';
import { assertConserved } from './in-process-audit.ts';
import type { InProcessCard } from './in-process-card.ts';
import { createInProcessWorld, ORDER_TOTAL_MINOR, type InProcessWorld } from './in-process.ts';
import { losingSettlement, recordedSettlement, tryToPay } from './payment.fixture.ts';

let world: InProcessWorld;
beforeEach(async () => {
  world = await createInProcessWorld();
});

const codeOf = (act: Promise<unknown>): Promise<string> => act.then(() => 'done', (thrown: unknown) => (thrown instanceof Failure ? thrown.code : Promise.reject(thrown as Error)));

/** A card that somebody has brought near a reader, without its holder. */
function withinReach(card: InProcessCard) {
  const channel = card.open();
  const { signal } = new AbortController();
  const transmit = async (commands: WireCommands) => encodeResponses(await channel.transmit(parseCommands(commands), signal));
  const challenge = async () => (await openContact({ readerName: '', onLost: () => undefined, transmit: (_phase, commands) => channel.transmit(commands, signal), debit: () => Promise.reject(new Error('no debit')), close: () => Promise.resolve() }, 1)).cardChallenge;
  const rekey = async (): Promise<string> => {
    const opened = await world.security.openRekey({ cardId: card.cardId });
    let { commands } = opened;
    for (;;) {
      const turn = await world.security.continueRekey({ sessionId: opened.sessionId, responses: await transmit(commands) });
      if (turn.at === 'done') return turn.cardChallenge;
      commands = turn.commands;
    }
  };
  return { transmit, challenge, rekey };
}

const openPayment = (request: Jws, cardChallenge: string | null): Promise<OpenedOrRekey> => world.security.openPayment({ paymentId: crypto.randomUUID(), request, cardChallenge, keysMayWait: true });

/** The customer's own request of a payment that went straight. */
async function paidRequest(): Promise<Jws> {
  const settlement = recordedSettlement(world);
  expect((await tryToPay(world, { settlement })).said).toBe('paid');
  return settlement.carried[0]!.request;
}

async function debitAgain(opening: Promise<OpenedOrRekey>, { transmit }: ReturnType<typeof withinReach>): Promise<void> {
  const opened = await opening;
  if (opened.at !== 'opened') throw new Failure('settlement/session', { detail: 'newer keys first' });
  const responses = await transmit(opened.commands);
  const prepared = await world.security.prepareDebit({ sessionId: opened.sessionId, operationId: '0011223344556677', timeSeconds: 1, responses, balance: false });
  await transmit(prepared.commands);
}

describe('a message that was signed for one contact', () => {
  it('debits the card once, whatever challenge of the card is brought with it later', async () => {
    const request = await paidRequest();
    const reach = withinReach(world.card);
    expect(await codeOf(debitAgain(openPayment(request, await reach.challenge()), reach))).toBe('settlement/session');
    expect(world.card.balanceMinor()).toBe(10_000n - ORDER_TOTAL_MINOR);
    await assertConserved(world);
  });

  it('debits the card once, also with the challenge that a re-keying ended with', async () => {
    const request = await paidRequest();
    world.keyVersion.current = 2;
    const reach = withinReach(world.card);
    expect(await codeOf(debitAgain(openPayment(request, await reach.rekey()), reach))).toBe('settlement/session');
    expect(world.card.balanceMinor()).toBe(10_000n - ORDER_TOTAL_MINOR);
    await assertConserved(world);
  });

  it('reads the card in that contact only: a reading, and an order to show', async () => {
    const settlement = recordedSettlement(world);
    const gated = createGatedCard(world.card.open(), new AbortController().signal);
    await resolve(gated, { about: null }, world.ports({ settlement }));
    await gated.close();
    const orders: Jws[] = [];
    const operating: OperatingPort = { ...world.operating, requestOrder: (order) => { orders.push(order); return world.operating.requestOrder(order); } };
    await world.show(world.card, { operating });
    const { security } = world;
    const reach = withinReach(world.card);
    for (const open of [
      (cardChallenge: string) => security.openReading({ request: settlement.carried[0]!.request, cardChallenge, keysMayWait: true }),
      (cardChallenge: string) => security.openOrder({ order: orders[0]!, cardChallenge, keysMayWait: true }),
    ]) {
      expect(await codeOf(open(await reach.challenge()))).toBe('settlement/session');
    }
  });
});

describe('the challenge that a re-keying ended with', () => {
  it('is good for one session, of that card, and for no other challenge', async () => {
    const settlement = recordedSettlement(world);
    const gated = createGatedCard(world.card.open(), new AbortController().signal);
    await resolve(gated, { about: null }, world.ports({ settlement }));
    await gated.close();
    world.keyVersion.current = 2;
    const reach = withinReach(world.card);
    const open = (cardChallenge: string) => world.security.openReading({ request: settlement.carried[0]!.request, cardChallenge, keysMayWait: true });
    const renewed = await reach.rekey();
    expect(await codeOf(open('00'.repeat(16)))).toBe('settlement/session');
    const opened = await open(renewed);
    if (opened.at !== 'opened') throw new Error('re-keyed, and still not up to date');
    expect(await codeOf(world.security.requestBalance({ sessionId: opened.sessionId, responses: await reach.transmit(opened.commands), reading: 'balance' }))).toBe('done');
    expect(await codeOf(open(renewed))).toBe('settlement/session');
  });
});

describe('a re-keying while a payment is open', () => {
  it('that nobody should have begun takes the transaction MAC away, not the money: the log decides, and there is no receipt', async () => {
    const { outcome } = await tryToPay(world, { settlement: losingSettlement(world, (nth) => (nth > 3 ? 'request-lost' : 'carried')) });
    expect(outcome?.kind).toBe('unknown');
    world.keyVersion.current = 2;
    await withinReach(world.card).rekey();
    const gated = createGatedCard(world.card.open(), new AbortController().signal);
    const { decided } = await resolve(gated, { about: null }, world.ports());
    expect(decided).toMatchObject([{ outcome: 'paid' }]);
    expect(await codeOf(world.receipt(world.operationIds.at(-1)!))).toBe('payment/unknown');
    await assertConserved(world);
  });
});
