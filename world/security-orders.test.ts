/** What the security server makes of operators' orders by itself, whatever the application server does: limits, blocked cards, readings of a whole log, and one use. */
import { beforeEach, describe, expect, it } from 'vitest';
import { openContact } from '#protocol/card-contact.ts';
import { Failure } from '#protocol/failure.ts';
import { encodeResponses, parseCommands, type WireCommands } from '#protocol/messages/fields.ts';
import { operatorOrder } from '#protocol/messages/operator-order.ts';
import { randomNonce, platformRandom } from '#protocol/nonce.ts';
import type { OrderDetails } from '#protocol/operating.ts';
import { signMessage, type Jws, type Signer } from '#protocol/signed.ts';
import type { CardReading, PreparedTransaction } from '#servers/shared/apis/security.ts';
import type { InProcessCard } from './in-process-card.ts';
import { createInProcessWorld, type InProcessWorld } from './in-process.ts';

let world: InProcessWorld;
let operator: Signer;
beforeEach(async () => {
  world = await createInProcessWorld();
  operator = await world.pki.signer({ role: 'operator', commonName: 'operator' }, () => undefined);
});

const DAY_MS = 24 * 60 * 60_000;
const codeOf = (act: Promise<unknown>): Promise<string> => act.then(() => 'done', (thrown: unknown) => (thrown instanceof Failure ? thrown.code : Promise.reject(thrown as Error)));

type Details = Omit<OrderDetails<'load'>, 'cardId' | 'cardChallenge'> | Omit<OrderDetails<'replace'>, 'cardId' | 'cardChallenge'> | Omit<OrderDetails<'show'>, 'cardId' | 'cardChallenge'>;
const load = (amountMinor: bigint): Details => ({ kind: 'load', currency: 'JPY', amountMinor });
const replace = (amountMinor: bigint, lostCardId: string): Details => ({ kind: 'replace', currency: 'JPY', amountMinor, lostCardId, countAsNotDebited: [] });

/** A card on a reader, as an application server would speak to it. */
function onReader(card: InProcessCard) {
  const channel = card.open();
  const { signal } = new AbortController();
  const transmit = async (commands: WireCommands) => encodeResponses(await channel.transmit(parseCommands(commands), signal));
  const contact = () => openContact({ readerName: '', onLost: () => undefined, transmit: (_phase, commands) => channel.transmit(commands, signal), debit: () => Promise.reject(new Error('no debit')), close: () => Promise.resolve() }, 1);
  const sign = async (details: Details): Promise<Jws> => {
    const { cardId, cardChallenge } = await contact();
    return signMessage(operatorOrder, { ...details, cardId, cardChallenge, orderNonce: randomNonce(platformRandom), expiresAt: Math.floor(world.clock.now()) + 60_000 }, operator, { introduce: true });
  };
  const open = async (order: Jws): Promise<string> => {
    const opened = await world.security.openOrder({ order, cardChallenge: null, keysMayWait: false });
    if (opened.at !== 'opened') throw new Error('the card wants newer keys first');
    const responses = await transmit(opened.commands);
    const { commands } = await world.security.requestBalance({ sessionId: opened.sessionId, responses, reading: 'history' });
    pending = await transmit(commands);
    return opened.sessionId;
  };
  let pending: string[] = [];
  const read = (sessionId: string): Promise<CardReading> => world.security.takeBalance({ sessionId, responses: pending });
  const prepare = async (sessionId: string): Promise<PreparedTransaction> => {
    const challenge = await world.security.requestLoadChallenge({ sessionId });
    const answer = await world.security.authenticateLoad({ sessionId, responses: await transmit(challenge.commands) });
    return world.security.prepareCredit({ sessionId, responses: await transmit(answer.commands), operationId: '0011223344556677', timeSeconds: 1 });
  };
  /** The order carried out as far as the credit that would go to the card. */
  const credit = async (order: Jws): Promise<PreparedTransaction> => {
    const sessionId = await open(order);
    await read(sessionId);
    return prepare(sessionId);
  };
  return { sign, open, read, prepare, credit, transmit };
}

describe('a limit of loading', () => {
  it('for one order is the security server\'s own', async () => {
    const { sign, credit } = onReader(world.card);
    world.loadLimits.orderMinor = 500n;
    expect(await codeOf(credit(await sign(load(501n))))).toBe('operator/limit');
    expect(await codeOf(credit(await sign(replace(501n, world.card.cardId))))).toBe('operator/limit');
    expect(await codeOf(credit(await sign(load(500n))))).toBe('done');
  });

  it('for a day counts what was loaded before, of both kinds, and what it refuses is not used up', async () => {
    const { sign, credit } = onReader(world.card);
    const lost = await world.newCustomer('04FFFFFFFFFF41', 0n);
    await world.information.blockCard({ cardId: lost.card.cardId, blockedAt: 1 });
    // The customer's first 10,000 were loaded just now.
    world.loadLimits.dayMinor = 10_500n;
    expect(await codeOf(credit(await sign(load(501n))))).toBe('operator/limit');
    expect(await codeOf(credit(await sign(replace(300n, lost.card.cardId))))).toBe('done');
    expect(await codeOf(credit(await sign(load(201n))))).toBe('operator/limit');
    expect(await codeOf(credit(await sign(replace(201n, lost.card.cardId))))).toBe('operator/limit');
    expect(await codeOf(credit(await sign(load(200n))))).toBe('done');
    world.clock.advance(DAY_MS);
    expect(await codeOf(credit(await sign(load(10_500n))))).toBe('done');
  });

  it('for a day is not passed by two orders at once', async () => {
    const other = await world.newCustomer('04FFFFFFFFFF42', 0n);
    world.loadLimits.dayMinor = 10_500n;
    const readers = [onReader(world.card), onReader(other.card)];
    const orders = await Promise.all(readers.map(({ sign }) => sign(load(400n))));
    const said = await Promise.all(readers.map(({ credit }, at) => codeOf(credit(orders[at]!))));
    expect(said.toSorted()).toEqual(['done', 'operator/limit']);
  });
});

describe('an order', () => {
  it('is used once, though it opens sessions as often as it likes', async () => {
    const { sign, open, read, credit } = onReader(world.card);
    const order = await sign(load(100n));
    await credit(order);
    await sign(load(100n));
    // The challenge in the order is not the card's present one any more.
    expect(await codeOf(open(order).then(read))).toBe('card/not-genuine');
    const renewed = onReader(world.card);
    const session = await renewedSession(renewed, order);
    expect(await codeOf(renewed.prepare(session))).toBe('operator/order-used');
  });

  it('to load or replace is refused for a blocked card; one to show it is not, and gives no credit', async () => {
    const { sign, open, read, prepare } = onReader(world.card);
    await world.information.blockCard({ cardId: world.card.cardId, blockedAt: 1 });
    expect(await codeOf(open(await sign(load(1n))))).toBe('card/blocked');
    expect(await codeOf(open(await sign(replace(1n, '04FFFFFFFFFF43'))))).toBe('card/blocked');
    const sessionId = await open(await sign({ kind: 'show' }));
    expect(await codeOf(prepare(sessionId))).toBe('settlement/session');
    const reading = await read(await open(await sign({ kind: 'show' })));
    expect(reading).toMatchObject({ balanceMinor: 10_000n, keyVersion: 1 });
  });

  it('to replace needs a lost card that is blocked, and known', async () => {
    const { sign, open } = onReader(world.card);
    const lost = await world.newCustomer('04FFFFFFFFFF44', 0n);
    expect(await codeOf(open(await sign(replace(1n, lost.card.cardId))))).toBe('card/not-blocked');
    expect(await codeOf(open(await sign(replace(1n, world.card.cardId))))).toBe('card/not-blocked');
    expect(await codeOf(open(await sign(replace(1n, '04FFFFFFFFFF45'))))).toBe('card/not-issued');
    await world.information.blockCard({ cardId: lost.card.cardId, blockedAt: 1 });
    expect(await codeOf(open(await sign(replace(1n, lost.card.cardId))))).toBe('done');
  });

  it('in another currency than the card\'s is refused', async () => {
    const { sign, open } = onReader(world.card);
    expect(await codeOf(open(await sign({ kind: 'load', currency: 'EUR', amountMinor: 1n })))).toBe('card/unsupported');
  });
});

describe('a reading of the whole log', () => {
  it('gives every record that the card keeps, newest first, and what is prepared after it is proved', async () => {
    for (let amountMinor = 1n; amountMinor <= 5n; amountMinor++) await world.load(world.card, amountMinor);
    const { sign, open, read, prepare, transmit } = onReader(world.card);
    const sessionId = await open(await sign(load(6n)));
    const reading = await read(sessionId);
    expect(reading.records.map(({ amountMinor }) => amountMinor)).toEqual([5n, 4n, 3n, 2n]);
    expect(reading).toMatchObject({ balanceMinor: 10_015n, transactionCounter: 7, keyVersion: 1 });
    const prepared = await prepare(sessionId);
    expect(prepared).toMatchObject({ transactionCounter: 7, keyVersion: 1 });
    const verdict = await world.security.verifyNotice({ sessionId, responses: await transmit(prepared.commands) });
    expect(verdict).toMatchObject({ verdict: 'committed', transactionCounter: 8, balanceAfterMinor: 10_021n });
    if (verdict.verdict !== 'committed') throw new Error('not committed');
    const { transactionCounter, transactionMac } = verdict;
    const said = (changes: object) => world.security.checkTransaction({ cardId: world.card.cardId, keyVersion: 1, transactionCounter, transactionMac, transactionMacInput: prepared.expectedTmi, ...changes });
    expect(await said({})).toBe(true);
    expect(await said({ transactionCounter: 7 })).toBe(false);
    expect(await said({ cardId: '04FFFFFFFFFF46' })).toBe(false);
    expect(await said({ transactionMac: `${transactionMac.slice(0, -1)}${transactionMac.endsWith('0') ? '1' : '0'}` })).toBe(false);
    expect(await said({ transactionMacInput: prepared.expectedTmi.replace('0600', '0700') })).toBe(false);
  });
});

/** A session for an order whose challenge is used up: with the one that a re-keying ended with. */
async function renewedSession({ transmit }: ReturnType<typeof onReader>, order: Jws): Promise<string> {
  const { security, card, keyVersion } = world;
  keyVersion.current += 1;
  const rekeying = await security.openRekey({ cardId: card.cardId });
  let cardChallenge: string | null = null;
  for (let { commands } = rekeying; cardChallenge === null; ) {
    const turn = await security.continueRekey({ sessionId: rekeying.sessionId, responses: await transmit(commands) });
    if (turn.at === 'done') cardChallenge = turn.cardChallenge;
    else commands = turn.commands;
  }
  const opened = await security.openOrder({ order, cardChallenge, keysMayWait: false });
  if (opened.at !== 'opened') throw new Error('the card wants newer keys first');
  const { commands } = await security.requestBalance({ sessionId: opened.sessionId, responses: await transmit(opened.commands), reading: 'log' });
  await security.takeBalance({ sessionId: opened.sessionId, responses: await transmit(commands) });
  return opened.sessionId;
}
