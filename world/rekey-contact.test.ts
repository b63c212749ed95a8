/** Newer master keys in the whole flow: the next contact of any kind re-keys the card first, never while something is unresolved, and a lift in the middle costs nothing but another contact. */
import { beforeEach, describe, expect, it } from 'vitest';
import { createGatedCard } from '#bridge/gated-card.ts';
import { resolve } from '#protocol/resolve.ts';
import { assertConserved } from './in-process-audit.ts';
import type { InProcessCard } from './in-process-card.ts';
import { createInProcessWorld, ORDER_TOTAL_MINOR, type InProcessWorld } from './in-process.ts';
import { losingSettlement, tryToPay } from './payment.fixture.ts';

const CHANGE_KEY = 0xc4;

let world: InProcessWorld;
beforeEach(async () => {
  world = await createInProcessWorld();
});

/** How many ChangeKey have reached the card since `from` commands. */
const keyChanges = (card: InProcessCard, from = 0): number => card.commands.slice(from).filter((apdu) => apdu[1] === CHANGE_KEY).length;

async function read(card: InProcessCard) {
  const gated = createGatedCard(card.open(), new AbortController().signal);
  return resolve(gated, { about: null, history: true }, world.ports()).finally(() => gated.close());
}

describe('a card with older keys', () => {
  it('is re-keyed by its next payment, and by that one only', async () => {
    world.keyVersion.current = 2;
    const before = world.card.commands.length;
    expect((await tryToPay(world)).said).toBe('paid');
    expect(keyChanges(world.card, before)).toBe(5);
    expect((await tryToPay(world)).said).toBe('paid');
    expect(keyChanges(world.card, before)).toBe(5);
    expect(world.card.balanceMinor()).toBe(10_000n - 2n * ORDER_TOTAL_MINOR);
    await assertConserved(world);
  });

  it('is re-keyed by a reading and by a load, too', async () => {
    world.keyVersion.current = 2;
    expect((await read(world.card)).balanceMinor).toBe(10_000n);
    world.keyVersion.current = 3;
    expect((await world.load(world.card, 100n)).balanceAfterMinor).toBe(10_100n);
    expect(keyChanges(world.card)).toBe(5 + 5 + 5);
    await assertConserved(world);
  });

  it('keeps its keys while a payment is unresolved, and gets newer ones at the contact after its reading', async () => {
    await tryToPay(world, { settlement: losingSettlement(world, (nth) => (nth > 3 ? 'request-lost' : 'carried')) });
    world.keyVersion.current = 2;
    const before = world.card.commands.length;
    expect((await read(world.card)).decided).toMatchObject([{ outcome: 'paid' }]);
    expect(keyChanges(world.card, before)).toBe(0);
    expect((await tryToPay(world)).said).toBe('paid');
    expect(keyChanges(world.card, before)).toBe(5);
    await assertConserved(world);
  });

  it.each(['lift-before', 'lift-after'] as const)('pays once it is put back if it was lifted in the middle (%s), finished as it was begun', async (fate) => {
    for (let nth = 1; nth <= 5; nth++) {
      const begun = ++world.keyVersion.current;
      let changed = 0;
      world.card.fate = (instruction) => {
        if (instruction !== CHANGE_KEY || ++changed !== nth) return 'answer';
        // By the time that it is put back there are yet newer keys: they come with the contact after.
        world.keyVersion.current++;
        return fate;
      };
      expect((await tryToPay(world)).said).toBe('paid');
      expect(changed).toBeGreaterThan(nth);
      world.card.fate = () => 'answer';
      const before = world.card.commands.length;
      await world.load(world.card, ORDER_TOTAL_MINOR);
      expect([world.keyVersion.current, keyChanges(world.card, before)]).toEqual([begun + 1, 5]);
    }
    expect(world.card.balanceMinor()).toBe(10_000n);
    await assertConserved(world);
  });
});
