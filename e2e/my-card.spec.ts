/** "My card" in a real browser with a real card: it shows what was paid and to whom, nothing of a card that is not linked, and links one with its code. */
import { join } from 'node:path';
import { AxeBuilder } from '@axe-core/playwright';
import type { Page } from 'playwright';
import type { Browser } from '#world/browser.ts';
import { agreeToAll, fillCart, press, startPayment, untilScreen } from '#world/checkout.ts';
import type { SimulatedCard } from '#world/simulated-card.ts';
import messages from '../extension/_locales/en/messages.json' with { type: 'json' };
import { CARD_PAGE } from '../extension/manifest.ts';
import { COMMIT, recordCard } from './card-record.ts';
import { expect, PICTURES, test, type House } from './house.ts';
import { expectNothingTaken, expectPaid, whileItCloses } from './outcome.ts';
import { lookAt } from './reader-bench.ts';
import { untilReaderEmpty } from './reader.ts';

const AMOUNT_MINOR = 720n;

const yen = (amountMinor: bigint): string => new Intl.NumberFormat('en', { style: 'currency', currency: 'JPY', currencyDisplay: 'code' }).format(amountMinor);
/** Blanks between figures and currency are typography. */
const bare = (text: string): string => text.replaceAll(/\s/g, '');
const place = (page: Page) => page.getByTestId('card-place');
const expectState = (page: Page, state: string) => expect(place(page)).toHaveAttribute('data-state', state);
const picture = (page: Page, name: string) => page.screenshot({ path: join(PICTURES, `my-card-${name}.png`), fullPage: true });

async function openMyCard({ context, extensionOrigin }: Browser): Promise<Page> {
  const page = await context.newPage();
  await page.goto(`${extensionOrigin}${CARD_PAGE}`);
  return page;
}

async function pay(house: House, browser: Browser): Promise<void> {
  const page = await fillCart(browser, house.shop.origin, ['sencha']);
  const window = await startPayment(browser, page);
  expect(await agreeToAll(window)).toBe('paid');
  await expectPaid(house, { page, window, amountMinor: AMOUNT_MINOR });
}

/** Both questions before the card are answered with yes. */
async function agreeToBill(house: House, browser: Browser): Promise<Page> {
  const window = await startPayment(browser, await fillCart(browser, house.shop.origin, ['sencha']));
  for (const kind of ['estimate', 'bill'] as const) {
    await untilScreen(window, kind);
    await press(window, 'primary');
  }
  return window;
}

async function expectBalance(page: Page, card: SimulatedCard): Promise<void> {
  await expectState(page, 'shown');
  // What stood there before may be shown until the card has been read anew.
  await expect.poll(async () => bare(await page.getByTestId('balance').innerText())).toBe(bare(yen(card.balanceMinor())));
}

/** Not its balance, number or records, wherever in the page. */
async function expectNothingOf(page: Page, card: SimulatedCard): Promise<void> {
  await expect(page.getByTestId('shown-card')).toHaveCount(0);
  await expect(page.getByTestId('record')).toHaveCount(0);
  const html = await page.content();
  expect(html).not.toContain(card.cardId);
  expect(bare(html)).not.toContain(bare(yen(card.balanceMinor())));
}

async function expectAccessible(page: Page): Promise<void> {
  const { violations } = await new AxeBuilder({ page }).analyze();
  expect(violations.map(({ id, nodes }) => [id, nodes.map(({ target }) => String(target))])).toEqual([]);
}

test('after a payment the card says what it holds, and the newest record names the shop', async ({ house, browserOfTest: browser }) => {
  await pay(house, browser);
  const page = await openMyCard(browser);
  await expectBalance(page, house.stage.card);
  await expect(page.getByTestId('card-state')).toHaveText(messages.cardActive.message);
  expect(bare(await page.getByTestId('card-number').innerText())).toBe(house.stage.card.cardId);
  const newest = page.getByTestId('record').first();
  await expect(newest).toHaveAttribute('data-kind', 'pay');
  await expect(newest).toHaveAttribute('data-outcome', 'done');
  await expect(newest.getByTestId('record-title')).toHaveText(house.shop.organization);
  expect(bare(await newest.getByTestId('record-amount').innerText())).toBe(bare(`−${yen(AMOUNT_MINOR)}`));
  for (const colorScheme of ['light', 'dark'] as const) {
    await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
    await expectAccessible(page);
    await picture(page, `shown-${colorScheme}`);
  }
});

test('the paid screen leads to it, and gives up its reader for it', async ({ house, browserOfTest: browser }) => {
  const shopPage = await fillCart(browser, house.shop.origin, ['sencha']);
  const window = await startPayment(browser, shopPage);
  expect(await agreeToAll(window)).toBe('paid');
  const opening = browser.context.waitForEvent('page', { predicate: (page) => page.url().endsWith(CARD_PAGE) });
  await whileItCloses(window, window.getByTestId('my-card').click());
  const page = await opening;
  await expectBalance(page, house.stage.card);
  await expect(shopPage.locator('#receipt')).toHaveAttribute('data-state', 'paid');
});

test('a card that is taken away and put back is read anew; hidden, it is gone at once', async ({ house, browserOfTest: browser }) => {
  const { card } = house.stage;
  const page = await openMyCard(browser);
  await expectBalance(page, card);
  await card.lift();
  await expect(page.getByTestId('lifted')).toHaveText(messages.cardLifted.message);
  await card.insert();
  await expect(page.getByTestId('lifted')).toHaveText(messages.takeCard.message);
  await page.getByTestId('hide').click();
  await expectState(page, 'waiting');
  await expectNothingOf(page, card);
  await page.getByTestId('retry').click();
  await expectBalance(page, card);
});

test('while nobody looks at it no card is read, and what comes back into sight is read anew', async ({ house, browserOfTest: browser }) => {
  const { card } = house.stage;
  const page = await openMyCard(browser);
  await expectBalance(page, card);
  await lookAt(page, false);
  await card.lift();
  await untilReaderEmpty(house.stage);
  const record = recordCard(card);
  await card.insert();
  await pay(house, browser);
  const ofPayment = record.commands().length;
  // Still the balance from before: the card was the payment's alone.
  expect(bare(await page.getByTestId('balance').innerText())).toBe(bare(yen(card.balanceMinor() + AMOUNT_MINOR)));
  await lookAt(page, true);
  await expect(page.getByTestId('record-title').first()).toHaveText(house.shop.organization);
  await expectBalance(page, card);
  expect(ofPayment).toBe(13);
});

test('a card that is taken away while it is read is asked for again, and read as soon as it is back', async ({ house, browserOfTest: browser }) => {
  const { card } = house.stage;
  await card.lift();
  await untilReaderEmpty(house.stage);
  const page = await openMyCard(browser);
  await expectState(page, 'waiting');
  await expect(page.getByTestId('panel-heading')).not.toHaveText(messages.readerStarting.message);
  // Selected, GetVersion in three frames, the challenge; then the settlement's part.
  card.fate = (_, index) => (index === 5 ? 'lift-before' : 'answer');
  await card.insert();
  await expect(page.getByTestId('failure-code')).toHaveText('card/removed');
  await picture(page, 'removed');
  card.fate = () => 'answer';
  await card.insert();
  await expectBalance(page, card);
});

test('a payment that was left open is decided by this reading, and told', async ({ house, browserOfTest: browser }) => {
  const { card } = house.stage;
  const shopPage = await fillCart(browser, house.shop.origin, ['sencha']);
  const window = await startPayment(browser, shopPage);
  const first = await untilScreen(window, 'estimate', 'bill');
  await press(window, 'primary');
  if (first === 'estimate') {
    await untilScreen(window, 'bill');
    await press(window, 'primary');
  }
  await untilScreen(window, 'balance');
  recordCard(card, { of: COMMIT, is: 'lift-after' });
  await press(window, 'primary');
  await untilScreen(window, 'unknown');
  await whileItCloses(window, press(window, 'later'));
  const page = await openMyCard(browser);
  await card.insert();
  await expect(page.getByTestId('decided')).toHaveAttribute('data-outcome', 'paid');
  expect(bare(await page.getByTestId('decided').innerText())).toBe(bare(messages.decidedPaidTo.message.replace('$1', yen(AMOUNT_MINOR)).replace('$2', house.shop.organization)));
  await picture(page, 'decided');
  await expectBalance(page, card);
  // Nothing is open any more: the next payment begins with its bill.
  const next = await startPayment(browser, await fillCart(browser, house.shop.origin, ['sencha']));
  expect(await untilScreen(next, 'earlier', 'estimate', 'bill')).not.toBe('earlier');
  await press(next, 'cancel');
  await untilScreen(next, 'not-paid');
});

test('the settlement cannot be reached: said plainly, nothing of the card shown, and it goes on by hand', async ({ house, browserOfTest: browser }) => {
  const { world } = house.stage;
  await world.servers.get('application')?.kill();
  const page = await openMyCard(browser);
  try {
    await expect(page.getByTestId('failure-code')).toHaveText('settlement/unreachable');
    await expectNothingOf(page, house.stage.card);
    await picture(page, 'offline');
  } finally {
    await world.restart('application');
  }
  await page.getByTestId('retry').click();
  await expectBalance(page, house.stage.card);
});

test('a browser that is not enrolled says so and leads to the options', async ({ house }) => {
  const browser = await house.stage.openBrowser({ profile: 'my-card-fresh', enrolled: false });
  try {
    const page = await openMyCard(browser);
    await expectState(page, 'not-enrolled');
    await expectAccessible(page);
    // The page of the first start would only come to the front.
    for (const opened of browser.context.pages()) if (opened.url().includes('options/')) await opened.close();
    const opening = browser.context.waitForEvent('page');
    await page.getByTestId('set-up').click();
    await expect((await opening).getByTestId('options')).toBeVisible();
  } finally {
    await browser.close();
  }
});

test('a card that is not linked pays nothing and leads here; nothing of it is shown; a wrong code says so; its own code links it, and it pays', async ({ house, browserOfTest: browser }) => {
  const { stage } = house;
  await stage.card.lift();
  await untilReaderEmpty(stage);
  const card = await stage.openCard('bearer');
  try {
    await card.insert();
    const activationCode = await stage.issueForBearer(3_000n);
    house.cards.push(card);
    const window = await agreeToBill(house, browser);
    await expectNothingTaken(window, { screen: 'error', code: 'customer/card-not-linked' });
    const opening = browser.context.waitForEvent('page', { predicate: (opened) => opened.url().endsWith(CARD_PAGE) });
    await whileItCloses(window, window.getByTestId('my-card').click());
    const page = await opening;
    await expectState(page, 'not-linked');
    await expectNothingOf(page, card);
    await expectAccessible(page);
    await picture(page, 'not-linked');

    const field = page.getByTestId('activation-code');
    await field.fill('0000-0000-0000-0000');
    await page.keyboard.press('Enter');
    await expect(page.getByTestId('activation-problem').getByTestId('failure-code')).toHaveText('customer/activation-code');
    await expect(field).toHaveValue('0000-0000-0000-0000');
    await expectNothingOf(page, card);
    await picture(page, 'wrong-code');

    // As people type: small letters, no dashes.
    await field.fill(` ${activationCode.toLowerCase().replaceAll('-', ' ')}`);
    await page.getByTestId('link-card').click();
    await expect(page.getByTestId('linked')).toHaveText(messages.cardLinked.message);
    await expectBalance(page, card);
    await picture(page, 'linked');
    await lookAt(page, false);
    await pay(house, browser);
    await lookAt(page, true);
    await expect(page.getByTestId('record-title').first()).toHaveText(house.shop.organization);
  } finally {
    await card.close();
  }
});
