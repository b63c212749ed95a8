import fc from 'fast-check';
import { expect, test } from 'vitest';
import { createMemoryApplicationStore } from './memory-store.ts';
import { newBlock, newDecision, newLoad, newPayment } from './store.fixture.ts';
import type { ApplicationStore, Decision, Intent, OperationState } from './store.ts';

type Command =
  | { readonly load: number; readonly amountMinor: bigint; readonly isCarriedOut: boolean }
  | { readonly pay: number; readonly amountMinor: bigint; readonly isCarriedOut: boolean }
  | { readonly replace: number; readonly by: number; readonly amountMinor: bigint; readonly isCarriedOut: boolean; readonly counts: 'nothing' | 'what is open' }
  | { readonly refund: number; readonly amountMinor: bigint; readonly isCarriedOut: boolean }
  /** What is open on this card. */
  | { readonly decide: number; readonly expires: boolean }
  | { readonly block: number };

const card = fc.nat(3);
const amountMinor = fc.bigInt(1n, 10n);
const isCarriedOut = fc.boolean();
const anyCommand: fc.Arbitrary<Command> = fc.oneof(
  { weight: 3, arbitrary: fc.record({ load: card, amountMinor, isCarriedOut }) },
  { weight: 4, arbitrary: fc.record({ pay: card, amountMinor, isCarriedOut }) },
  { weight: 5, arbitrary: fc.record({ replace: card, by: card, amountMinor, isCarriedOut, counts: fc.constantFrom('nothing', 'what is open') }) },
  { weight: 1, arbitrary: fc.record({ refund: card, amountMinor, isCarriedOut }) },
  { weight: 3, arbitrary: fc.record({ decide: card, expires: fc.boolean() }) },
  { weight: 2, arbitrary: fc.record({ block: card }) },
);

/** A card is lost with a payment open on it, and its value is wanted at once. */
const anyLoss: fc.Arbitrary<Command[]> = fc
  .record({ lost: card, paidMinor: amountMinor, isDebited: isCarriedOut, expires: fc.boolean(), by: fc.array(fc.record({ card, amountMinor, counts: fc.constantFrom('nothing' as const, 'what is open' as const) }), { minLength: 1, maxLength: 3 }) })
  .map(({ lost, paidMinor, isDebited, expires, by }) => [
    { decide: lost, expires: false },
    { pay: lost, amountMinor: paidMinor, isCarriedOut: isDebited },
    ...(expires ? [{ decide: lost, expires }] : []),
    { block: lost },
    ...by.map((taken) => ({ replace: lost, by: taken.card, amountMinor: taken.amountMinor, isCarriedOut: true, counts: taken.counts })),
  ]);

const anyCommands = fc.array(fc.oneof({ weight: 5, arbitrary: anyCommand.map((command) => [command]) }, { weight: 1, arbitrary: anyLoss }), { minLength: 5, maxLength: 25, size: 'max' }).map((parts) => parts.flat());

interface Attempt {
  readonly intent: Intent;
  /** What the chip did: nobody knows it until a reading. */
  readonly isCarriedOut: boolean;
  state: OperationState;
}

const OPEN: readonly OperationState[] = ['INTENT', 'EXPIRED'];
const total = (amounts: readonly bigint[]): bigint => amounts.reduce((sum, amount) => sum + amount, 0n);

/** Four chips, and a settlement that does what the rules say; the store is asked, and the chips know the truth. */
class Town {
  readonly store: ApplicationStore = createMemoryApplicationStore();
  readonly cards = Array.from({ length: 4 }, () => newLoad().cardId);
  readonly chips = new Map(this.cards.map((cardId) => [cardId, 0n]));
  readonly blocked = new Set<string>();
  readonly attempts: Attempt[] = [];
  readonly answers = new Set<string>();

  /** Every card with something on it, so that there is something to lose. */
  async open(): Promise<void> {
    for (const index of this.cards.keys()) await this.act({ load: index, amountMinor: 10n, isCarriedOut: true });
    await this.settle();
  }

  async act(command: Command): Promise<void> {
    if ('block' in command) {
      await this.store.blockCard(newBlock(this.#card(command.block)));
      this.blocked.add(this.#card(command.block));
    } else if ('decide' in command) await this.#decide(this.#of(this.#card(command.decide)).at(-1), command.expires);
    else if ('load' in command) await this.#try(newLoad({ cardId: this.#card(command.load), amountMinor: command.amountMinor }), command.isCarriedOut);
    else if ('refund' in command) await this.#try(newLoad({ kind: 'refund', cardId: this.#card(command.refund), amountMinor: command.amountMinor }), command.isCarriedOut);
    else if ('pay' in command) {
      // A chip debits no more than it holds.
      if ((this.chips.get(this.#card(command.pay)) ?? 0n) >= command.amountMinor) await this.#try(newPayment({ cardId: this.#card(command.pay), amountMinor: command.amountMinor }), command.isCarriedOut);
    } else {
      const cardId = this.#card(command.replace);
      const countedAsNotDebited = command.counts === 'nothing' ? [] : this.#of(cardId).filter(({ intent, state }) => intent.kind === 'pay' && OPEN.includes(state)).map(({ intent }) => intent.paymentId);
      await this.#try(newLoad({ cardId: this.#card(command.by), amountMinor: command.amountMinor, source: { cardId, countedAsNotDebited } }), command.isCarriedOut);
    }
  }

  /** Reads every card. */
  async settle(): Promise<void> {
    for (const attempt of this.attempts) if (OPEN.includes(attempt.state)) await this.#decide(attempt, false);
  }

  async check(): Promise<void> {
    const booked = new Map(await Promise.all(this.cards.map(async (cardId) => [cardId, await this.store.bookedCard(cardId, 'JPY')] as const)));
    const others = await Promise.all((['cash', 'refunds', 'shop:shop'] as const).map((account) => this.store.balanceOf(account, 'JPY')));
    expect(total([...others, ...[...booked.values()].map(({ ledgerMinor }) => ledgerMinor)])).toBe(0n);
    for (const [cardId, { ledgerMinor, movableMinor, block }] of booked) {
      expect(block !== null).toBe(this.blocked.has(cardId));
      if (ledgerMinor < 0n) this.answers.add('a loss that somebody chose');
      expect(movableMinor <= (ledgerMinor > 0n ? ledgerMinor : 0n) && movableMinor >= 0n).toBe(true);
      // What the chip holds is what its account says, what it did unseen, and what has moved to another card by the books.
      const unseen = total(this.#of(cardId).map(({ intent, isCarriedOut: did, state }) => (did && OPEN.includes(state) ? (intent.kind === 'pay' ? -intent.amountMinor : intent.amountMinor) : 0n)));
      const takers = this.attempts.filter(({ intent }) => intent.source?.cardId === cardId);
      const moved = total(takers.map(({ intent, state }) => (state === 'DONE' ? intent.amountMinor : 0n)));
      expect(this.chips.get(cardId)).toBe(ledgerMinor + unseen + moved);
      // Never moved twice: whatever the open payments turn out to be, the institution loses only what it chose to count as not debited.
      const promised = total(takers.map(({ intent, state }) => (state === 'INTENT' ? intent.amountMinor : 0n)));
      const counted = new Set(takers.filter(({ state }) => state === 'INTENT' || state === 'DONE').flatMap(({ intent }) => intent.source?.countedAsNotDebited ?? []));
      const lost = total(this.#of(cardId).map(({ intent, isCarriedOut: did, state }) => (did && state !== 'ABORTED' && counted.has(intent.paymentId) ? intent.amountMinor : 0n)));
      const open = total(this.#of(cardId).map(({ intent, isCarriedOut: did, state }) => (did && intent.kind === 'pay' && OPEN.includes(state) ? intent.amountMinor : 0n)));
      if (this.blocked.has(cardId)) expect(ledgerMinor - open - promised >= -lost).toBe(true);
      else expect(moved + promised).toBe(0n);
    }
  }

  async #try(intent: Intent, isCarriedOut: boolean): Promise<void> {
    const said = await this.store.writeIntent(intent);
    this.answers.add(intent.source === null ? said : `${said} as a replacement`);
    expect(said === 'card-blocked').toBe(this.blocked.has(intent.cardId));
    if (said !== 'written') return;
    this.attempts.push({ intent, isCarriedOut, state: 'INTENT' });
    if (isCarriedOut) this.chips.set(intent.cardId, (this.chips.get(intent.cardId) ?? 0n) + (intent.kind === 'pay' ? -intent.amountMinor : intent.amountMinor));
  }

  /** A payment may expire; everything else waits for a reading, which tells the truth. */
  async #decide(attempt: Attempt | undefined, expires: boolean): Promise<void> {
    if (attempt === undefined || !OPEN.includes(attempt.state)) return;
    const { intent, isCarriedOut, state } = attempt;
    const byReading: Decision['to'] = state === 'EXPIRED' ? (isCarriedOut ? 'REFUND_DUE' : 'CLOSED') : isCarriedOut ? 'DONE' : 'ABORTED';
    const to = expires && state === 'INTENT' && intent.kind === 'pay' ? 'EXPIRED' : byReading;
    expect(await this.store.decide(newDecision(intent, to))).toBe(true);
    attempt.state = to;
  }

  #card(index: number): string {
    return this.cards[index]!;
  }

  #of(cardId: string): Attempt[] {
    return this.attempts.filter(({ intent }) => intent.cardId === cardId);
  }
}

test('whatever is loaded, paid, lost and replaced, no value is made or lost, and none is moved twice', async () => {
  const answers = new Set<string>();
  await fc.assert(
    fc.asyncProperty(anyCommands, async (commands) => {
      const town = new Town();
      await town.open();
      for (const command of commands) {
        await town.act(command);
        await town.check();
      }
      await town.settle();
      await town.check();
      for (const answer of town.answers) answers.add(answer);
    }),
    { numRuns: 150 },
  );
  const replacements = ['written', 'card-blocked', 'source-not-blocked', 'source-too-low'].map((said) => `${said} as a replacement`);
  expect([...answers]).toEqual(expect.arrayContaining(['written', 'card-taken', 'card-blocked', 'a loss that somebody chose', ...replacements]));
});
