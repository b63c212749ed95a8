/** Another card than the customer's own, and a card that is taken away: no money moves but what was agreed to, once. */
import { connectVpcd } from '#card-firmware-sim/vpcd.ts';
import { parseHex } from '#protocol/bytes.ts';
import type { Page } from 'playwright';
import { agreeToAll, fillCart, press, startPayment, untilScreen } from '#world/checkout.ts';
import type { Browser } from '#world/browser.ts';
import { readOperations } from './accounts.ts';
import { COMMIT, recordCard, WRITE_RECORD } from './card-record.ts';
import { expect, test, type House } from './house.ts';
import { expectNothingTaken, expectPaid, whileItCloses } from './outcome.ts';
import { untilReaderEmpty } from './reader.ts';

/** Both questions before the card are answered with yes. */
async function agreeToBill(house: House, browser: Browser): Promise<{ page: Page; window: Page }> {
  const page = await fillCart(browser, house.shop.origin, ['sencha']);
  const window = await startPayment(browser, page);
  await agreeAgain(window);
  return { page, window };
}

async function agreeAgain(window: Page): Promise<void> {
  for (const kind of ['estimate', 'bill'] as const) {
    await untilScreen(window, kind);
    await press(window, 'primary');
  }
}

test('another kind of card is refused, and the own card pays after a new try', async ({ house, browserOfTest: browser }) => {
  const { stage } = house;
  await stage.card.lift();
  const answer = Uint8Array.from(parseHex('6A82'));
  const stranger = { atr: Uint8Array.from(parseHex('3B8180018080')), process: () => Promise.resolve(answer), reset: () => Promise.resolve() };
  const other = await connectVpcd({ host: '127.0.0.1', port: stage.reader.deskPort, chip: stranger });
  const { page, window } = await agreeToBill(house, browser);
  await expectNothingTaken(window, { screen: 'error', code: 'card/unsupported' });
  other.remove();
  await other.closed;
  await stage.card.insert();
  await press(window, 'retry');
  await agreeAgain(window);
  await untilScreen(window, 'balance');
  await press(window, 'primary');
  await expectPaid(house, { page, window, amountMinor: 720n });
});

test('a factory card that nobody has issued is refused, and nothing is written to it', async ({ house, browserOfTest: browser }) => {
  const { stage } = house;
  await stage.card.lift();
  const factory = await stage.openCard('factory');
  try {
    const record = recordCard(factory);
    await factory.insert();
    const { window } = await agreeToBill(house, browser);
    await expectNothingTaken(window, { screen: 'error', code: 'card/not-issued' });
    expect(record.moneyCommands()).toEqual([]);
    await whileItCloses(window, press(window, 'close'));
  } finally {
    await factory.close();
  }
});

test("another customer's card is refused at the start, and in the middle the payment waits for the card that it began with", async ({ house, browserOfTest: browser }) => {
  const { stage, cards } = house;
  await stage.card.lift();
  const foreign = await stage.openCard('foreign');
  try {
    await untilReaderEmpty(stage);
    await foreign.insert();
    await stage.issue(3_000n);
    cards.push(foreign);
    const record = recordCard(foreign);
    const first = await agreeToBill(house, browser);
    await expectNothingTaken(first.window, { screen: 'error', code: 'customer/card-not-linked' });
    await whileItCloses(first.window, press(first.window, 'close'));
    await foreign.lift();

    await stage.card.insert();
    const { page, window } = await agreeToBill(house, browser);
    await untilScreen(window, 'balance');
    await stage.card.lift();
    await untilScreen(window, 'card');
    await foreign.insert();
    await expect(window.getByTestId('again')).toHaveText(/Another card lies on the reader/);
    await foreign.lift();
    await stage.card.insert();
    await untilScreen(window, 'balance');
    await press(window, 'primary');
    await expectPaid(house, { page, window, amountMinor: 720n });
    expect(record.moneyCommands()).toEqual([]);
    expect(foreign.balanceMinor()).toBe(3_000n);
  } finally {
    await foreign.close();
  }
});

test('a card lifted before the consent is asked for again, and put back it pays once', async ({ house, browserOfTest: browser }) => {
  const { stage } = house;
  const record = recordCard(stage.card);
  const { page, window } = await agreeToBill(house, browser);
  await untilScreen(window, 'balance');
  await stage.card.lift();
  await expectNothingTaken(window, { screen: 'card' });
  await expect(window.getByTestId('again')).toHaveText(/taken away too early/);
  expect(record.moneyCommands()).toEqual([]);
  await stage.card.insert();
  await untilScreen(window, 'balance');
  await press(window, 'primary');
  await expectPaid(house, { page, window, amountMinor: 720n });
  expect(record.moneyCommands()).toHaveLength(3);
  expect((await readOperations(stage.world)).slice(-2).map(({ state }) => state)).toEqual(['ABORTED', 'DONE']);
});

test('a card lifted after its commit: not known, put back it is paid, once, and the shop hears of it', async ({ house, browserOfTest: browser }) => {
  const { stage } = house;
  const before = stage.card.balanceMinor();
  const record = recordCard(stage.card, { of: COMMIT, is: 'lift-after' });
  const { page, window } = await agreeToBill(house, browser);
  await untilScreen(window, 'balance');
  await press(window, 'primary');
  await untilScreen(window, 'unknown');
  await expect(window.getByTestId('money')).toHaveText('We do not know yet whether JPY\u00a0720 was taken. Put the card back and we will find out.');
  await expect(page.locator('#receipt')).toHaveAttribute('data-state', 'open');
  expect(stage.card.balanceMinor()).toBe(before - 720n);
  await stage.card.insert();
  await expectPaid(house, { page, window, amountMinor: 720n });
  expect(record.moneyCommands()).toHaveLength(3);
});

for (const [where, of] of [['its first command', WRITE_RECORD], ['its commit', COMMIT]] as const) {
  test(`a card lifted before ${where}: not known, put back it is certain that nothing was taken, and the shop is not told "paid"`, async ({ house, browserOfTest: browser }) => {
    const { stage } = house;
    const before = stage.card.balanceMinor();
    recordCard(stage.card, { of, is: 'lift-before' });
    const { page, window } = await agreeToBill(house, browser);
    await untilScreen(window, 'balance');
    await press(window, 'primary');
    await untilScreen(window, 'unknown');
    await stage.card.insert();
    await expectNothingTaken(window, { screen: 'not-paid', money: 'not-taken' });
    await expect(window.getByTestId('reason')).toHaveAttribute('data-reason', 'not-debited');
    expect(stage.card.balanceMinor()).toBe(before);
    expect((await readOperations(stage.world)).at(-1)).toMatchObject({ state: 'ABORTED', amountMinor: 720n });
    await expect(page.locator('#receipt')).toHaveAttribute('data-state', 'open');
    await whileItCloses(window, press(window, 'close'));
  });
}

test('a window closed while it is not known: the next one offers to settle first, and then goes on with its own order', async ({ house, browserOfTest: browser }) => {
  const { stage } = house;
  recordCard(stage.card, { of: COMMIT, is: 'lift-after' });
  const { page, window } = await agreeToBill(house, browser);
  await untilScreen(window, 'balance');
  await press(window, 'primary');
  await untilScreen(window, 'unknown');
  await window.close();

  const nextPage = await fillCart(browser, house.shop.origin, ['genmaicha']);
  const next = await startPayment(browser, nextPage);
  await untilScreen(next, 'earlier');
  await expect(next.getByTestId('amount')).toHaveText(/720/);
  await press(next, 'primary');
  await untilScreen(next, 'unknown');
  await stage.card.insert();
  await untilScreen(next, 'paid');
  await expect(page.locator('#receipt')).toHaveAttribute('data-state', 'paid');
  await press(next, 'close');
  expect(await agreeToAll(next)).toBe('paid');
  await expectPaid(house, { page: nextPage, window: next, amountMinor: 480n });
});
