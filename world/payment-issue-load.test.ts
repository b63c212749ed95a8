/** Issuing and loading in one process: torn at every command and taken up again, each order once, within the limit, and in the ledger. */
import { beforeEach, describe, expect, it } from 'vitest';
import { Failure } from '#protocol/failure.ts';
import { assertConserved } from './in-process-audit.ts';
import type { Fate, InProcessCard } from './in-process-card.ts';
import { LIMIT_MINOR } from './in-process-operator.ts';
import { createInProcessWorld, readerWith, type InProcessWorld } from './in-process.ts';
import { tryToPay } from './payment.fixture.ts';

let world: InProcessWorld;
beforeEach(async () => {
  world = await createInProcessWorld();
});

const codeOf = (act: Promise<unknown>): Promise<string> => act.then(() => 'done', (thrown: unknown) => (thrown instanceof Failure ? thrown.code : Promise.reject(thrown as Error)));
const uidOf = (nth: number): string => `04EEEEEEEEE${nth.toString(16).toUpperCase().padStart(3, '0')}`;

function liftAt(card: InProcessCard, nth: number, fate: Fate): void {
  let commands = 0;
  card.fate = () => (++commands === nth ? fate : 'answer');
}

describe('issuing', () => {
  it.each(['lift-before', 'lift-after'] as const)('torn at any command (%s) is taken up again, with one customer and one INTENT', async (fate) => {
    let torn = 0;
    for (let nth = 1; ; nth++) {
      const card = world.newCard(uidOf(nth));
      liftAt(card, nth, fate);
      if ((await codeOf(world.issue(card))) === 'done') break;
      torn += 1;
      card.fate = () => 'answer';
      const { customerId, enrolmentCode } = await world.issue(card);
      expect(await world.information.findCard({ cardId: card.cardId })).toMatchObject({ customerId, limitMinor: LIMIT_MINOR });
      expect(await world.store.unresolvedOf(card.cardId)).toEqual([]);
      expect([nth, card.records(), card.balanceMinor()]).toEqual([nth, 1, 0n]);
      expect(enrolmentCode).toMatch(/./);
    }
    expect(torn).toBeGreaterThan(30);
    await assertConserved(world);
  });

  it('of a card that is issued already is refused, and changes nothing on it', async () => {
    expect(await codeOf(world.issue(world.card))).toBe('card/already-issued');
    expect((await tryToPay(world)).said).toBe('paid');
    await assertConserved(world);
  });

  it('gives a card that pays at once after it is loaded', async () => {
    const other = await world.newCustomer('04EEEEEEEEEEEE', 3_000n);
    expect((await tryToPay(world, { identity: other.identity, reader: readerWith(other.card) })).said).toBe('paid');
    await assertConserved(world);
  });

  it('gives a code that enrols one browser', async () => {
    const { enrolmentCode } = await world.issue(world.newCard('04EEEEEEEEEEE0'));
    await world.enrol(enrolmentCode!);
    expect(await codeOf(world.enrol(enrolmentCode!))).toBe('customer/enrolment-code');
  });
});

describe('loading', () => {
  it.each(['lift-before', 'lift-after'] as const)('torn at any command (%s) is decided by the next contact: loaded or not, as the card says', async (fate) => {
    let torn = 0;
    for (let nth = 1; ; nth++) {
      const heldMinor = world.card.balanceMinor();
      liftAt(world.card, nth, fate);
      if ((await codeOf(world.load(world.card, 10n))) === 'done') break;
      torn += 1;
      const tornMinor = world.card.balanceMinor() - heldMinor;
      expect([0n, 10n]).toContain(tornMinor);
      await assertConserved(world);
      world.card.fate = () => 'answer';
      const { balanceAfterMinor } = await world.load(world.card, 1n);
      expect(balanceAfterMinor).toBe(heldMinor + tornMinor + 1n);
      expect(await world.store.unresolvedOf(world.card.cardId)).toEqual([]);
      await assertConserved(world);
    }
    expect(torn).toBeGreaterThan(12);
  });

  it('goes into the ledger: cash in, cards up', async () => {
    const before = await world.store.balanceOf(`card:${world.card.cardId}`, 'JPY');
    expect(await world.load(world.card, 2_500n)).toMatchObject({ kind: 'load', amountMinor: 2_500n, balanceAfterMinor: 12_500n });
    expect(await world.store.balanceOf(`card:${world.card.cardId}`, 'JPY')).toBe(before + 2_500n);
    expect(await world.store.balanceOf('cash', 'JPY')).toBe(-before - 2_500n);
    await assertConserved(world);
  });

  it('up to the limit of the card and not above it', async () => {
    expect(await codeOf(world.load(world.card, LIMIT_MINOR - 10_000n + 1n))).toBe('card/limit');
    expect(world.card.balanceMinor()).toBe(10_000n);
    expect(await codeOf(world.load(world.card, LIMIT_MINOR - 10_000n))).toBe('done');
    expect(await codeOf(world.load(world.card, 1n))).toBe('card/limit');
    expect(world.card.balanceMinor()).toBe(LIMIT_MINOR);
    await assertConserved(world);
  });

  it('of a card that was not issued is refused', async () => {
    expect(await codeOf(world.load(world.newCard('04EEEEEEEEEEE1'), 1n))).toBe('card/not-issued');
  });

  it('is resolved by a payment of the card\'s customer', async () => {
    liftAt(world.card, 15, 'lift-before');
    expect(await codeOf(world.load(world.card, 10n))).toMatch(/^card\//);
    world.card.fate = () => 'answer';
    expect((await tryToPay(world)).said).toBe('paid');
    expect(await world.store.unresolvedOf(world.card.cardId)).toEqual([]);
    await assertConserved(world);
  });
});
