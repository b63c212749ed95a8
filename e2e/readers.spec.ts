/** A payment over every kind of reader that the browser drives by itself; and, on RC-S300 and PC/SC, the card lifted and the reader pulled out around every command of the debit. */
import type { Page } from 'playwright';
import { DEVICE_KINDS } from '#card-firmware-sim/usb/device-kinds.ts';
import { agreeToAll, fillCart, press, startPayment, untilScreen } from '#world/checkout.ts';
import { readOperations } from './accounts.ts';
import { COMMIT, DEBIT, GET_VALUE, recordCard, WRITE_RECORD } from './card-record.ts';
import { expect, test, type House } from './house.ts';
import { expectNothingTaken, expectPaid, whileItCloses } from './outcome.ts';
import { openReaderRoad, type ReaderRoad } from './reader-road.ts';

const AMOUNT_MINOR = 720n;

async function order({ shop }: House, { browser }: ReaderRoad): Promise<{ page: Page; window: Page }> {
  const page = await fillCart(browser, shop.origin, ['sencha']);
  return { page, window: await startPayment(browser, page) };
}

/** The questions before the card are answered with yes. */
async function agreeToBill(window: Page): Promise<void> {
  const first = await untilScreen(window, 'estimate', 'bill');
  await press(window, 'primary');
  if (first === 'bill') return;
  await untilScreen(window, 'bill');
  await press(window, 'primary');
}

for (const kind of DEVICE_KINDS) {
  test(`a payment over ${kind}, with no program installed: the card is found where it lies, and the reader is free afterwards`, async ({ house }) => {
    const road = await openReaderRoad(house, kind);
    try {
      const { page, window } = await order(house, road);
      await agreeToBill(window);
      await expectNothingTaken(window, { screen: 'card' });
      await road.putCard();
      await untilScreen(window, 'balance');
      await press(window, 'primary');
      await expectPaid(house, { page, window, amountMinor: AMOUNT_MINOR });
      // The next payment finds the same reader: the first window has given it back.
      const next = await order(house, road);
      expect(await agreeToAll(next.window)).toBe('paid');
      await expectPaid(house, { ...next, amountMinor: AMOUNT_MINOR });
    } finally {
      await road.close();
    }
  });
}

type Mishap = 'lifted' | 'pulled out';

/** What the card and the books hold once the card, or the reader, is back. */
interface Case {
  readonly of: number;
  readonly where: string;
  readonly is: 'lift-before' | 'lift-after';
  readonly taken: boolean;
}

const CASES: readonly Case[] = [
  { where: 'before the log record', of: WRITE_RECORD, is: 'lift-before', taken: false },
  { where: 'between log record and debit', of: DEBIT, is: 'lift-before', taken: false },
  { where: 'between debit and commit', of: COMMIT, is: 'lift-before', taken: false },
  { where: 'after the commit, before its answer', of: COMMIT, is: 'lift-after', taken: true },
  { where: 'between commit and last reading', of: GET_VALUE, is: 'lift-before', taken: true },
];

async function interrupt(house: House, road: ReaderRoad, mishap: Mishap, { of, is, taken }: Case): Promise<void> {
  const { card, world } = house.stage;
  await road.putCard();
  const before = card.balanceMinor();
  const { page, window } = await order(house, road);
  await agreeToBill(window);
  await untilScreen(window, 'balance');
  let pulling: Promise<void> | undefined;
  const record = recordCard(card, { of, is, then: () => (pulling = mishap === 'pulled out' ? road.pullOut() : undefined) });
  await press(window, 'primary');
  // A lost last reading does not matter: the commit's answer proved the debit.
  const seen = await untilScreen(window, 'unknown', 'paid');
  expect(card.balanceMinor()).toBe(taken ? before - AMOUNT_MINOR : before);
  if (pulling !== undefined) {
    await pulling;
    await road.plugIn();
  }
  await road.putCard();
  if (taken) {
    await expectPaid(house, { page, window, amountMinor: AMOUNT_MINOR });
    expect(record.moneyCommands()).toHaveLength(3);
  } else {
    expect(seen).toBe('unknown');
    await expectNothingTaken(window, { screen: 'not-paid', money: 'not-taken' });
    expect((await readOperations(world)).at(-1)).toMatchObject({ state: 'ABORTED', amountMinor: AMOUNT_MINOR });
    await expect(page.locator('#receipt')).toHaveAttribute('data-state', 'open');
    await whileItCloses(window, press(window, 'close'));
  }
}

for (const kind of ['rc-s300', 'pcsc'] as const) {
  for (const mishap of ['lifted', 'pulled out'] as const) {
    test(`${kind}: ${mishap === 'lifted' ? 'the card is lifted' : 'the reader is pulled out'} around every command of the debit: never a guess, never a second debit`, async ({ house }) => {
      test.slow();
      const road = await openReaderRoad(house, kind);
      try {
        for (const each of CASES) await test.step(each.where, () => interrupt(house, road, mishap, each));
      } finally {
        await road.close();
      }
    });
  }
}
