/** pay() in one process: the straight road, and every way in which it is refused or interrupted. */
import { describe, expect, it } from 'vitest';
import { pay } from '#protocol/payment.ts';
import { STEPS } from '#protocol/steps.ts';
import { createInProcessWorld, ORDER, ORDER_TOTAL_MINOR } from './in-process.ts';

describe('a straight payment', () => {
  it('runs ST1 to ST20, each once, in order, across all parties', async () => {
    const world = await createInProcessWorld();
    world.journal.length = 0;
    const outcome = await pay(ORDER, world.ports(), { readBalance: true });
    expect(outcome).toMatchObject({ kind: 'paid', balanceAfterMinor: 10_000n - ORDER_TOTAL_MINOR });
    expect(world.card.balanceMinor()).toBe(10_000n - ORDER_TOTAL_MINOR);
    const ids = world.journal.map((entry) => entry.step);
    expect([...ids].sort()).toEqual(STEPS.map((step) => step.id).sort());
    expect(await world.deliverNotices()).toBe(1);
  });

  it('runs without the balance: no ST12, no ST13, no GetValue', async () => {
    const world = await createInProcessWorld();
    world.journal.length = 0;
    world.card.commands.length = 0;
    const outcome = await pay(ORDER, world.ports(), { readBalance: false });
    expect(outcome).toMatchObject({ kind: 'paid', balanceAfterMinor: null });
    expect(world.card.balanceMinor()).toBe(10_000n - ORDER_TOTAL_MINOR);
    expect(world.card.commands.some((apdu) => apdu[1] === 0x6c)).toBe(false);
  });
});
