/** Windows reloaded, workers stopped, servers killed, impatient hands: a payment happens once or not at all, and is always settled in the end. */
import { join } from 'node:path';
import type { Page } from 'playwright';
import type { Browser } from '#world/browser.ts';
import { fillCart, press, startPayment, untilScreen } from '#world/checkout.ts';
import { startPostgres } from '#world/postgres.ts';
import { readOperations } from './accounts.ts';
import { COMMIT, recordCard } from './card-record.ts';
import { expect, test, type House } from './house.ts';
import { expectNothingTaken, expectPaid, whileItCloses } from './outcome.ts';
import { untilReaderEmpty } from './reader.ts';

async function asFarAs(screen: 'bill' | 'balance', house: House, browser: Browser): Promise<{ page: Page; window: Page }> {
  const page = await fillCart(browser, house.shop.origin, ['sencha']);
  const window = await startPayment(browser, page);
  await goOn(window, screen);
  return { page, window };
}

async function goOn(window: Page, until: 'bill' | 'balance'): Promise<void> {
  for (let shown = await untilScreen(window, 'estimate', 'bill', 'balance'); shown !== until; shown = await untilScreen(window, shown === 'estimate' ? 'bill' : 'balance')) await press(window, 'primary');
}

for (const screen of ['bill', 'balance'] as const) {
  test(`a window reloaded at the ${screen} begins again, and pays once`, async ({ house, browserOfTest: browser }) => {
    const record = recordCard(house.stage.card);
    const { page, window } = await asFarAs(screen, house, browser);
    await window.reload();
    await goOn(window, 'balance');
    await press(window, 'primary');
    await expectPaid(house, { page, window, amountMinor: 720n });
    expect(record.moneyCommands()).toHaveLength(3);
  });
}

test('a service worker that is stopped at every screen does not hurt', async ({ house, openBrowser }) => {
  const browser = await openBrowser();
  const page = await fillCart(browser, house.shop.origin, ['sencha']);
  const window = await startPayment(browser, page);
  const devtools = await browser.context.newCDPSession(window);
  await devtools.send('ServiceWorker.enable');
  for (const kind of ['estimate', 'bill', 'balance'] as const) {
    await untilScreen(window, kind);
    await devtools.send('ServiceWorker.stopAllWorkers');
    await press(window, 'primary');
  }
  await expectPaid(house, { page, window, amountMinor: 720n });
});

test('double clicks, in the shop and on every button of the window, are one payment', async ({ house, browserOfTest: browser }) => {
  const record = recordCard(house.stage.card);
  const before = (await readOperations(house.stage.world)).length;
  const page = await fillCart(browser, house.shop.origin, ['sencha']);
  const opening = browser.nextPaymentWindow();
  const pages = browser.context.pages().length;
  await page.locator('#pay').dblclick();
  const window = await opening;
  for (const kind of ['estimate', 'bill', 'balance'] as const) {
    await untilScreen(window, kind);
    await window.getByTestId('primary').dblclick();
  }
  await untilScreen(window, 'paid');
  expect(browser.context.pages()).toHaveLength(pages + 1);
  await expectPaid(house, { page, window, amountMinor: 720n });
  expect(await readOperations(house.stage.world)).toHaveLength(before + 1);
  expect(record.moneyCommands()).toHaveLength(3);
});

for (const name of ['application', 'security'] as const) {
  test(`${name} server killed (-9) after INTENT, before the consent: not known, and paid once it is back`, async ({ house, browserOfTest: browser }) => {
    const { world } = house.stage;
    const record = recordCard(house.stage.card);
    const { page, window } = await asFarAs('balance', house, browser);
    await world.servers.get(name)?.kill();
    await press(window, 'primary');
    await untilScreen(window, 'unknown');
    await expect(window.getByTestId('money')).toHaveAttribute('data-money', 'unknown');
    await expect(page.locator('#receipt')).toHaveAttribute('data-state', 'open');
    await world.restart(name);
    await press(window, 'retry');
    await expectPaid(house, { page, window, amountMinor: 720n });
    expect(record.moneyCommands()).toHaveLength(3);
  });
}

test('application server killed (-9) after INTENT, and the customer says no: certainly not paid, and the next contact ends the intent', async ({ house, browserOfTest: browser }) => {
  const { world } = house.stage;
  const { window } = await asFarAs('balance', house, browser);
  await world.servers.get('application')?.kill();
  await press(window, 'cancel');
  await expectNothingTaken(window, { screen: 'not-paid', money: 'not-taken' });
  await world.restart('application');
  const { page, window: next } = await asFarAs('balance', house, browser);
  await press(next, 'primary');
  await expectPaid(house, { page, window: next, amountMinor: 720n });
  expect((await readOperations(world)).slice(-2).map(({ state }) => state)).toEqual(['ABORTED', 'DONE']);
});

test('PostgreSQL killed (-9) between INTENT and DONE: not known, and paid once it is back', async ({ house, browserOfTest: browser }) => {
  const { world, card } = house.stage;
  recordCard(card);
  const { page, window } = await asFarAs('balance', house, browser);
  await world.postgres.crash();
  await press(window, 'primary');
  await untilScreen(window, 'unknown');
  const again = await startPostgres({ folder: join(world.folder, 'postgres') });
  try {
    // The shop had no books either when the page went there.
    await page.reload();
    await press(window, 'retry');
    await expectPaid(house, { page, window, amountMinor: 720n });
  } finally {
    await again.stop();
  }
});

for (const when of ['during the debit', 'while the outcome is not known'] as const) {
  test(`a window reloaded ${when} settles first, and does not ask for the same order again`, async ({ house, browserOfTest: browser }) => {
    const { card } = house.stage;
    const before = card.balanceMinor();
    recordCard(card, { of: COMMIT, is: when === 'during the debit' ? 'mute' : 'lift-after' });
    const { page, window } = await asFarAs('balance', house, browser);
    await press(window, 'primary');
    await untilScreen(window, when === 'during the debit' ? 'working' : 'unknown');
    await expect.poll(() => card.balanceMinor()).toBe(before - 720n);
    await window.reload();
    await untilScreen(window, 'earlier');
    await card.lift();
    await untilReaderEmpty(house.stage);
    await press(window, 'primary');
    await untilScreen(window, 'unknown');
    await card.insert();
    await expectPaid(house, { page, window, amountMinor: 720n });
  });
}

test('a window reloaded after the end closes, and does not begin again', async ({ house, browserOfTest: browser }) => {
  const { page, window } = await asFarAs('balance', house, browser);
  await press(window, 'primary');
  await untilScreen(window, 'paid');
  await whileItCloses(window, window.reload().then(() => undefined));
  await expect(page.locator('#receipt')).toHaveAttribute('data-state', 'paid');
});
