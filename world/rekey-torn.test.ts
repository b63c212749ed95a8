/** A payment that has to re-key the card first, torn at any command, at any message and by anybody else with the same card: afterwards the card has keys of one version, pays, and no money is made or lost. */
import { beforeEach, describe, expect, it } from 'vitest';
import { createGatedCard } from '#bridge/gated-card.ts';
import type { Identity } from '#protocol/parties.ts';
import { resolve } from '#protocol/resolve.ts';
import { assertConserved } from './in-process-audit.ts';
import type { InProcessCard } from './in-process-card.ts';
import { createInProcessWorld, readerWith, type InProcessCustomer, type InProcessWorld } from './in-process.ts';
import { carriedSettlement, losingSettlement, tryToPay } from './payment.fixture.ts';

let world: InProcessWorld;
beforeEach(async () => {
  world = await createInProcessWorld({ balanceMinor: 50_000n });
});

const CHANGE_KEY = 0xc4;
const CREATE_TRANSACTION_MAC_FILE = 0xce;
const SMALL_ORDER = { lines: [{ productId: 'sencha', quantity: 1 }] };

async function readAs({ card, identity }: { card: InProcessCard; identity: Identity }) {
  const gated = createGatedCard(card.open(), new AbortController().signal);
  return resolve(gated, { about: null, history: true }, { ...world.ports(), identity }).finally(() => gated.close());
}

/** The card reads, is up to date at once or after one more contact, nothing is open on it, and the books agree. */
async function expectWhole(customer: InProcessCustomer): Promise<void> {
  customer.card.fate = () => 'answer';
  await readAs(customer);
  await readAs(customer);
  expect(await world.store.unresolvedOf(customer.card.cardId)).toEqual([]);
  const before = customer.card.commands.length;
  expect((await readAs(customer)).balanceMinor).toBe(customer.card.balanceMinor());
  expect(customer.card.commands.slice(before).some((apdu) => apdu[1] === CHANGE_KEY)).toBe(false);
  await assertConserved(world);
}

describe('a re-keying that is torn', () => {
  it.each(['ev2', 'ev3'] as const)('at the same place however often uses up no memory of a card of kind %s, whose money would be lost', async (profile) => {
    const customer = await world.newCustomer('04A1B2C3D4E5A1', 5_000n, profile);
    const { card } = customer;
    world.keyVersion.current += 1;
    let torn = 0;
    card.fate = (instruction) => (instruction === CREATE_TRANSACTION_MAC_FILE || instruction === CHANGE_KEY ? (torn++, 'lift-after') : 'answer');
    for (let contacts = 0; contacts < 80; contacts++) await expect(readAs(customer)).rejects.toMatchObject({ code: 'card/removed' });
    expect(torn).toBe(80);
    await expectWhole(customer);
    expect(card.balanceMinor()).toBe(5_000n);
  });
});

describe('a payment that re-keys the card', () => {
  it.each([
    ['light', 'lift-before', true],
    ['light', 'lift-after', false],
    ['ev2', 'lift-after', true],
    ['ev3', 'lift-before', false],
    ['ev3', 'lift-after', true],
  ] as const)('on a card of kind %s is torn at any command (%s; balance shown: %s) and leaves the card whole', async (profile, fate, readBalance) => {
    const customer = await world.newCustomer('04A1B2C3D4E5A1', 50_000n, profile);
    const { card, identity } = customer;
    let isReached = true;
    let nth = 0;
    while (isReached) {
      world.keyVersion.current += 1;
      let count = 0;
      nth += 1;
      card.fate = () => (++count === nth ? fate : 'answer');
      const before = card.balanceMinor();
      const { said } = await tryToPay(world, { reader: readerWith(card), identity }, {}, { order: SMALL_ORDER, readBalance });
      isReached = count >= nth;
      expect(said).toMatch(/^(paid|unknown: card.removed)$/);
      const debitedMinor = before - card.balanceMinor();
      expect(said === 'paid' ? [600n] : [0n, 600n]).toContain(debitedMinor);
      await expectWhole(customer);
    }
    expect(nth).toBeGreaterThan(25);
  });
});

describe('the settlement is not heard while a card is re-keyed', () => {
  it.each(['request-lost', 'answer-lost'] as const)('in any round (%s), nor does the application server remember the conversation', async (fate) => {
    for (let nth = 1; nth <= 10; nth += 1) {
      world.keyVersion.current += 1;
      await tryToPay(world, { settlement: losingSettlement(world, (round) => (round === nth ? fate : 'carried')) }, {}, { order: SMALL_ORDER });
      await expectWhole(world.customer);
      world.keyVersion.current += 1;
      let service = world.application;
      const restarted = carriedSettlement({
        connect: () => Promise.resolve(),
        requestPayment: (request) => world.settlement(service).requestPayment(request),
        requestReading: (request) => world.settlement(service).requestReading(request),
        requestLink: (request) => world.settlement(service).requestLink(request),
        answerCard: (paymentId, answer) => world.settlement(service).answerCard(paymentId, answer),
        complete: (paymentId, message) => world.settlement(service).complete(paymentId, message),
      }, (_round, send, round) => {
        if (round === nth) service = world.restartApplication();
        return send();
      });
      await tryToPay(world, { settlement: restarted }, {}, { order: SMALL_ORDER });
      await expectWhole(world.customer);
    }
  });
});

describe('another contact of the same card, while a payment re-keys it', () => {
  it('before any of the payment\'s messages: a reading, another payment or a load', async () => {
    const others = [
      () => readAs(world.customer),
      () => tryToPay(world, {}, {}, { order: SMALL_ORDER }),
      () => world.load(world.card, 100n),
    ];
    for (const other of others) {
      for (let nth = 1; nth <= 8; nth += 1) {
        world.keyVersion.current += 1;
        const settlement = carriedSettlement(world.settlement(), async (_round, send, round) => {
          if (round === nth) await other().catch(() => undefined);
          return send();
        });
        const before = world.card.balanceMinor();
        await tryToPay(world, { settlement }, {}, { order: SMALL_ORDER });
        expect(before - world.card.balanceMinor()).toBeLessThanOrEqual(1_200n);
        await expectWhole(world.customer);
      }
    }
  });
});
