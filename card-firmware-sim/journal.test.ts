/** The journal tells a payment's two steps inside the card, and nothing else. */
import { describe, expect, it } from 'vitest';
import { CardUnderTest, usableCard } from './testing/card.ts';
import { journalPayments } from './journal.ts';
import type { CardStep } from './journal.ts';

describe('the journal', () => {
  async function journalOf(act: (card: CardUnderTest) => Promise<unknown>): Promise<CardStep[]> {
    const steps: CardStep[] = [];
    let clock = 1000;
    const card = new CardUnderTest(usableCard, { observer: journalPayments((step) => steps.push(step)), now: () => (clock += 0.5) });
    await card.begin(3);
    await act(card);
    return steps;
  }

  it('ST17 and ST18: a commit with a log record and a debit, once each, in order', async () => {
    const steps = await journalOf(async (card) => {
      await card.writeRecord(new Uint8Array(16));
      await card.debit(5);
      await card.commit();
      await card.getValue();
    });
    expect(steps.map((step) => [step.step, step.party])).toEqual([
      ['ST17', 'card'],
      ['ST18', 'card'],
    ]);
    const [st17, st18] = steps as [CardStep, CardStep];
    expect(st17.ms).toBe(0.5);
    expect(st18).toMatchObject({ at: st17.at + st17.ms, ms: 0.5 });
  });

  it.each<[string, (card: CardUnderTest) => Promise<unknown>]>([
    ['a load', async (card) => [await card.writeRecord(new Uint8Array(16)), await card.credit(5), await card.commit()]],
    ['a debit without a record', async (card) => [await card.debit(5), await card.commit()]],
    ['a record without a debit', async (card) => [await card.writeRecord(new Uint8Array(16)), await card.commit()]],
    ['a payment that was aborted', async (card) => [await card.writeRecord(new Uint8Array(16)), await card.debit(5), await card.abort(), await card.commit()]],
    ['a reading', async (card) => [await card.getValue(), await card.readRecords(0, 1), await card.readCounter()]],
  ])('%s leaves no step', async (_, act) => {
    expect(await journalOf(act)).toEqual([]);
  });
});
