/** The straight payment, from the shop's page to the card and back, over everything that is real. */
import { join } from 'node:path';
import { AxeBuilder } from '@axe-core/playwright';
import type { Page } from 'playwright';
import { STEPS } from '#protocol/steps.ts';
import { agreeToAll, fillCart, hideBalance, press, startPayment, untilScreen, type ScreenKind } from '#world/checkout.ts';
import { countRounds } from '#world/play.ts';
import { recordCard } from './card-record.ts';
import { expect, PICTURES, test } from './house.ts';
import { expectPaid, whileItCloses } from './outcome.ts';

test('the journal of all parties is ST1 to ST20, in order, each once', async ({ house, browserOfTest: browser }) => {
  const page = await fillCart(browser, house.shop.origin, ['book-of-tea', 'sencha']);
  const window = await startPayment(browser, page);
  expect(await agreeToAll(window)).toBe('paid');
  const { journal } = await browser.journal();
  const everything = [...house.stage.journal, ...journal].sort((a, b) => a.at - b.at);
  expect(everything.map(({ step }) => step)).toEqual(STEPS.map(({ id }) => id));
  await expectPaid(house, { page, window, amountMinor: 1820n });
});

test('PC and application server need four rounds, and the debit is one native message', async ({ house, browserOfTest: browser }) => {
  const card = recordCard(house.stage.card);
  const page = await fillCart(browser, house.shop.origin, ['sencha']);
  const rounds = countRounds(browser, house.stage.world.origins.application);
  const before = (await house.native.messages()).length;
  const window = await startPayment(browser, page);
  expect(await agreeToAll(window)).toBe('paid');
  expect(rounds()).toBe(4);
  const batches = (await house.native.messages()).slice(before).flatMap((message) => (message.op === 'transmit' ? [message.commands.map(({ apdu }) => apdu)] : []));
  // Identify, authenticate, read, debit: what the card saw is what these four carried.
  expect(batches.map((batch) => batch.length)).toEqual([5, 1, 3, 4]);
  expect(batches.flat()).toEqual(card.commands());
  expect(batches[3]?.map((apdu) => apdu.slice(2, 4))).toEqual(['8B', 'DC', 'C7', '6C']);
  await expectPaid(house, { page, window, amountMinor: 720n });
});

test('without the balance three rounds are enough, and no command asks for it', async ({ house, browserOfTest: browser }) => {
  await hideBalance(browser, true);
  const card = recordCard(house.stage.card);
  const page = await fillCart(browser, house.shop.origin, ['sencha']);
  const rounds = countRounds(browser, house.stage.world.origins.application);
  const window = await startPayment(browser, page);
  const seen: ScreenKind[] = [];
  const outcome = await agreeToAll(window, async (kind) => {
    seen.push(kind);
    if (kind === 'balance') await expect(window.getByTestId('balance-not-read')).toBeVisible();
    await expect(window.locator('[data-testid^="balance-"]:not([data-testid="balance-not-read"])')).toHaveCount(0);
  });
  expect(outcome).toBe('paid');
  expect(seen).toEqual(['estimate', 'bill', 'balance', 'paid']);
  expect(rounds()).toBe(3);
  expect(card.commands().filter((apdu) => apdu.startsWith('906C'))).toEqual([]);
  const { journal } = await browser.journal();
  const steps = new Set([...house.stage.journal, ...journal].map(({ step }) => step));
  expect(STEPS.map(({ id }) => id).filter((id) => !steps.has(id))).toEqual(['ST12', 'ST13']);
  await expectPaid(house, { page, window, amountMinor: 720n });
});

test('only a shop that was never paid before asks for the estimate', async ({ house, browserOfTest: browser }) => {
  const shopping = [
    { shop: house.shop, product: 'genmaicha', amountMinor: 480n, first: 'estimate' },
    { shop: house.shop, product: 'genmaicha', amountMinor: 480n, first: 'bill' },
    { shop: house.otherShop, product: 'hojicha', amountMinor: 640n, first: 'estimate' },
  ] as const;
  for (const { shop, product, amountMinor, first } of shopping) {
    const page = await fillCart(browser, shop.origin, [product]);
    const window = await startPayment(browser, page);
    expect(await untilScreen(window, 'estimate', 'bill')).toBe(first);
    await expect(window.getByTestId('shop-name')).toHaveText(shop.organization);
    await expect(window.getByTestId('shop-origin')).toHaveText(shop.origin);
    expect(await agreeToAll(window)).toBe('paid');
    await expectPaid(house, { page, window, amountMinor });
  }
});

test('the keyboard is enough, in the shop and in the window', async ({ house, browserOfTest: browser }) => {
  const page = await browser.context.newPage();
  await page.goto(house.shop.origin);
  await tabTo(page, '#add-sencha');
  await page.keyboard.press('Enter');
  await tabTo(page, '#pay');
  const opening = browser.nextPaymentWindow();
  await page.keyboard.press('Space');
  const window = await opening;
  for (const [kind, key] of [['estimate', 'Enter'], ['bill', 'Space'], ['balance', 'Enter']] as const) {
    await untilScreen(window, kind);
    await expect(window.getByTestId('heading')).toBeFocused();
    await expect(window.getByTestId('primary')).toBeEnabled();
    await tabTo(window, '[data-testid="primary"]');
    await window.keyboard.press(key);
  }
  await untilScreen(window, 'paid');
  await tabTo(window, '[data-testid="receipt"]');
  await window.keyboard.press('Enter');
  await expect(window.getByTestId('payment-id')).toBeVisible();
  await tabTo(window, '[data-testid="back"]');
  await window.keyboard.press('Space');
  await untilScreen(window, 'paid');
  await tabTo(window, '[data-testid="close"]');
  await whileItCloses(window, window.keyboard.press('Enter'));
  await expect(page.locator('#receipt')).toHaveAttribute('data-state', 'paid');
});

test('every screen of a real payment passes axe, in light and in dark', async ({ house, browserOfTest: browser }) => {
  const page = await fillCart(browser, house.shop.origin, ['kyoto-moss']);
  await expectAccessible(page);
  const window = await startPayment(browser, page);
  const outcome = await agreeToAll(window, async (kind) => {
    for (const colorScheme of ['light', 'dark'] as const) {
      await window.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
      if (kind === 'estimate' || kind === 'bill' || kind === 'balance') await expect(window.getByTestId('primary')).toBeEnabled();
      await expectAccessible(window);
      await window.screenshot({ path: join(PICTURES, `${kind}-${colorScheme}.png`) });
    }
  });
  expect(outcome).toBe('paid');
  await whileItCloses(window, press(window, 'close'));
  await expect(page.locator('#receipt')).toHaveAttribute('data-state', 'paid');
  await expectAccessible(page);
});

async function tabTo(page: Page, selector: string): Promise<void> {
  const target = page.locator(selector);
  for (let presses = 0; presses < 60; presses++) {
    await page.keyboard.press('Tab');
    if (await target.evaluate((element) => element === document.activeElement)) return;
  }
  throw new Error(`the Tab key does not reach ${selector}`);
}

async function expectAccessible(page: Page): Promise<void> {
  const { violations } = await new AxeBuilder({ page }).analyze();
  expect(violations.map(({ id, nodes }) => [id, nodes.map(({ target }) => String(target))])).toEqual([]);
}
