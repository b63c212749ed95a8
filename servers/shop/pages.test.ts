import type { Agent } from 'node:https';
import { join } from 'node:path';
import { AxeBuilder } from '@axe-core/playwright';
import type { BrowserContextOptions, Page } from 'playwright';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { useFreshDatabase } from '../shared/database-for-tests.ts';
import type { RunningServer } from '../shared/process.ts';
import { launchBrowser, type TestBrowser } from './browser.fixture.ts';
import { createBuyer, type Buyer } from './buyer.fixture.ts';
import { callShop, prepareShop, silent, type PreparedShop } from './running-shop.fixture.ts';
import { startShop } from './start.ts';

/** Names a folder: the pages are photographed into it, for people to look at. */
const PICTURES = process.env['SHOP_PAGES_PICTURES'];
const PHONE = { width: 390, height: 844 };
const DESKTOP = { width: 1280, height: 900 };

const databaseUrl = useFreshDatabase();
let prepared: PreparedShop;
let server: RunningServer;
let agent: Agent;
let buyer: Buyer;
let chromium: TestBrowser;
/** What the browser complained about, in the page that is open: a policy that was broken, a script that failed. */
let complaints: string[];
let open: Page[] = [];

beforeAll(async () => {
  prepared = await prepareShop(databaseUrl());
  server = await startShop(prepared.config, silent);
  const caller = callShop(prepared);
  ({ agent } = caller);
  [buyer, chromium] = await Promise.all([createBuyer(prepared, caller.call), launchBrowser(prepared.parties.rootPem)]);
});

afterEach(async () => {
  for (const page of open) await page.context().close();
  open = [];
});

afterAll(async () => {
  await chromium.close();
  agent.destroy();
  await server.close();
  await prepared.remove();
});

async function openPage(path: string, options: BrowserContextOptions = {}, script?: string, origin = prepared.config.public.origin, browser = chromium.browser): Promise<Page> {
  const context = await browser.newContext({ locale: 'en-US', viewport: DESKTOP, reducedMotion: 'reduce', ...options });
  if (script !== undefined) await context.addInitScript(script);
  const page = await context.newPage();
  page.setDefaultTimeout(5_000);
  open.push(page);
  complaints = [];
  page.on('pageerror', (error) => complaints.push(error.message));
  page.on('console', (message) => message.type() === 'error' && complaints.push(message.text()));
  await page.goto(`${origin}${path}`);
  return page;
}

async function photograph(page: Page, name: string): Promise<void> {
  if (PICTURES !== undefined) await page.screenshot({ path: join(PICTURES, `${name}.png`), fullPage: true });
}

async function expectAccessible(page: Page): Promise<void> {
  const { violations } = await new AxeBuilder({ page }).withTags(['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']).analyze();
  expect(violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html, any }) => `${html} ${any.map(({ message }) => message).join()}`).join('\n')}`)).toEqual([]);
  expect(await page.evaluate('document.documentElement.scrollWidth - innerWidth'), 'nothing to scroll sideways').toBeLessThanOrEqual(0);
  const small = await page.evaluate(`[...document.querySelectorAll('button, a.button, a.brand, nav a')].filter((e) => e.checkVisibility()).map((e) => [e.outerHTML, e.getBoundingClientRect()]).filter(([, box]) => box.width < 44 || box.height < 44).map(([html]) => html)`);
  expect(small, 'targets of 44 px').toEqual([]);
  expect(complaints).toEqual([]);
}

const LOOKS: [string, BrowserContextOptions][] = [
  ['en-light-desktop', { locale: 'en-US', colorScheme: 'light', viewport: DESKTOP }],
  ['ja-dark-phone', { locale: 'ja-JP', colorScheme: 'dark', viewport: PHONE }],
];
/** The first two differ in everything; the others are for people who look. */
const MORE_LOOKS: [string, BrowserContextOptions][] = [
  ['ja-dark-desktop', { locale: 'ja-JP', colorScheme: 'dark', viewport: DESKTOP }],
  ['en-light-phone', { locale: 'en-US', colorScheme: 'light', viewport: PHONE }],
  ['en-dark-narrow', { locale: 'en-US', colorScheme: 'dark', viewport: { width: 320, height: 640 } }],
];

describe.each(PICTURES === undefined ? LOOKS : [...LOOKS, ...MORE_LOOKS])('in the look %s', (name, options) => {
  test('the front page is accessible, with a cart and what it says without the extension', async () => {
    const page = await openPage('/', options);
    await photograph(page, `front-empty-${name}`);
    await page.click('#add-sencha');
    await page.click('#add-genmaicha');
    await page.click('#add-night-train');
    await page.click('#pay');
    await page.waitForSelector('#pay-message[data-state="missing"] .code');
    await expectAccessible(page);
    await photograph(page, `front-${name}`);
    if (PICTURES !== undefined) await page.screenshot({ path: join(PICTURES, `front-${name}-fold.png`) });
  });

  test('a receipt and an absent page are accessible', async () => {
    const lines = [{ productId: 'sencha', quantity: 1 }, { productId: 'genmaicha', quantity: 1 }, { productId: 'book-of-tea', quantity: 2 }];
    const offered = await buyer.decide(lines);
    const { orderId } = offered.body;
    const show = async (state: string): Promise<void> => {
      const page = await openPage(`/orders/${orderId}`, options);
      await page.waitForSelector(`#receipt[data-state="${state}"]`);
      await expectAccessible(page);
      await photograph(page, `receipt-${state}-${name}`);
    };
    const claimed = await buyer.requestBill(offered);
    await show('open');
    await buyer.tell(claimed, { outcome: 'paid', paymentId: crypto.randomUUID(), at: Date.UTC(2026, 10, 22, 3, 4, 5) });
    await show('paid');
    const page = await openPage('/nothing-here', options);
    complaints = []; // the browser mentions the status 404
    await expectAccessible(page);
    await photograph(page, `absent-${name}`);
  });
});

describe('the cart', () => {
  test('counts, sums up, survives a reload, and speaks', async () => {
    const page = await openPage('/');
    expect(await page.isDisabled('#pay')).toBe(true);
    await page.click('#add-sencha');
    await page.click('#add-genmaicha');
    await page.click('[data-cart-line="sencha"] [data-change="1"]');
    expect(await page.textContent('#total')).toBe('JPY\u00a01,920');
    expect(await page.textContent('#cart-news')).toBe('Uji sencha, first flush, in the cart: 2');
    await page.reload();
    expect(await page.textContent('#total')).toBe('JPY\u00a01,920');
    await page.click('[data-cart-line="sencha"] [data-change="-1"]');
    await page.click('[data-cart-line="sencha"] [data-change="-1"]');
    expect(await page.locator('[data-cart-line]').count()).toBe(1);
    expect(await page.evaluate('document.activeElement.closest("[data-cart-line]").dataset.cartLine')).toBe('genmaicha');
    await page.click('[data-cart-line="genmaicha"] [data-change="-1"]');
    expect(await page.isVisible('#cart-empty')).toBe(true);
    expect(await page.evaluate('document.activeElement.id')).toBe('cart-title');
    expect(await page.isDisabled('#pay')).toBe(true);
  });

  test('takes no more than 99 of a kind, and nothing that lies in storage but is not for sale', async () => {
    const page = await openPage('/', {}, `if (!sessionStorage.getItem('kessai-cart')) sessionStorage.setItem('kessai-cart', JSON.stringify([['sencha', 99], ['car', 1], ['genmaicha', -5], ['gyokuro', 1.5], 'x']))`);
    expect(await page.locator('[data-cart-line]').count()).toBe(1);
    await page.click('#add-sencha');
    expect(await page.textContent('[data-cart-line="sencha"] .line-quantity')).toBe('99');
  });
});

describe('paying', () => {
  const pay = async (script: string): Promise<Page> => {
    const page = await openPage('/', {}, script);
    await page.click('#add-sencha');
    await page.click('#pay');
    return page;
  };
  const rejecting = (error: object): string => `globalThis.icCardPay = () => Promise.reject(Object.assign(new Error('x'), ${JSON.stringify(error)}))`;

  test('hands the order to the interface program and goes to the receipt, which updates itself and empties the cart', async () => {
    const offered = await buyer.decide([{ productId: 'sencha', quantity: 1 }]);
    const claimed = await buyer.requestBill(offered);
    const { orderId } = offered.body;
    const page = await pay(`globalThis.icCardPay = (order) => { sessionStorage.setItem('order', JSON.stringify(order)); return Promise.resolve({ outcome: 'unknown', orderId: '${orderId}' }); }`);
    await page.waitForURL(`**/orders/${orderId}`);
    expect(await page.evaluate(`sessionStorage.getItem('order')`)).toBe('{"lines":[{"productId":"sencha","quantity":1}]}');
    expect(await page.textContent('#order-state h2')).toBe('Not known yet');
    const paymentId = crypto.randomUUID();
    await buyer.tell(claimed, { outcome: 'paid', paymentId, at: Date.UTC(2026, 10, 22, 3, 4, 5) });
    await page.waitForSelector('#receipt[data-state="paid"]');
    expect(await page.textContent('#order-state')).toBe('Paid' + 'JPY\u00a0720' + 'JPY\u00a0720 was taken from your card. Thank you.');
    expect(await page.textContent('#payment-number')).toBe(paymentId);
    expect(await page.textContent('#decided-at')).toBe('November 22, 2026 at 12:04:05 PM GMT+9');
    await page.click('.back a');
    expect(await page.isVisible('#cart-empty')).toBe(true);
  });

  test('a receipt says "not paid", and the cart of that order stays', async () => {
    const offered = await buyer.decide([{ productId: 'sencha', quantity: 1 }]);
    const claimed = await buyer.requestBill(offered);
    const page = await pay(`globalThis.icCardPay = () => Promise.resolve({ outcome: 'unknown', orderId: '${offered.body.orderId}' })`);
    await page.waitForURL('**/orders/*');
    await buyer.tell(claimed, { outcome: 'not-paid', paymentId: crypto.randomUUID(), at: Date.UTC(2026, 10, 22, 3, 4, 5) });
    await page.waitForSelector('#receipt[data-state="not-paid"]');
    await photograph(page, 'receipt-not-paid');
    await page.click('.back a');
    expect(await page.textContent('#total')).toBe('JPY\u00a0720');
  });

  test('while the window is open the cart stands still, and the button brings the window to the front', async () => {
    const page = await pay(`globalThis.calls = 0; const receipt = new Promise((resolve) => { globalThis.stop = () => resolve({ outcome: 'not-paid' }); }); globalThis.icCardPay = () => { globalThis.calls += 1; return receipt; }`);
    await page.waitForSelector('#pay-message[data-state="paying"]');
    await expectAccessible(page);
    await photograph(page, 'front-paying');
    expect(await page.isDisabled('#add-sencha')).toBe(true);
    expect(await page.textContent('#pay')).toBe('Show the payment window');
    await page.click('#pay');
    expect(await page.evaluate('globalThis.calls')).toBe(2);
    await page.evaluate('globalThis.stop()');
    await page.waitForSelector('#pay-message[data-state="stopped"]');
    expect(await page.textContent('#pay-message')).toContain('Nothing has been taken from your card');
    expect(await page.textContent('#pay')).toBe('Pay with IC card');
    expect(await page.isEnabled('#add-sencha')).toBe(true);
  });

  test.each([
    [{ code: 'extension/missing', text: 'x' }, 'missing', ['Paying needs an extension', 'Nothing has been taken from your card.', 'extension/missing']],
    [{ code: 'shop/version', text: 'Too old.', neededVersion: '0.2.0' }, 'version', ['The extension needs an update', 'Too old.', '0.2.0', 'Nothing has been taken', 'shop/version']],
    [{ code: 'shop/version', text: 'Too old.' }, 'version', ['Too old.']],
    [{ code: 'card/removed', text: '<b>The card</b> was taken away.' }, 'failed', ['<b>The card</b> was taken away.', 'The payment window says whether anything was taken', 'card/removed']],
    [{}, 'failed', ['internal/bug']],
  ])('%j is told as %s', async (error, state, says) => {
    const page = await pay(rejecting(error));
    await page.waitForSelector(`#pay-message[data-state="${state}"]`);
    const told = await page.textContent('#pay-message');
    for (const sentence of says) expect(told).toContain(sentence);
    expect(told).not.toMatch(/undefined|null/);
    expect(await page.isEnabled('#pay')).toBe(true);
    await photograph(page, `front-${state}`);
  });
});

test.each(['light', 'dark'] as const)('the other shop has its own goods and colours, which are as easy to read in %s', async (colorScheme) => {
  const midori = await prepareShop(databaseUrl(), { shopId: 'midori', legalName: 'Midori Tea House Ltd' });
  const running = await startShop(midori.config, silent);
  const other = await launchBrowser(midori.parties.rootPem);
  try {
    const page = await openPage('/', { colorScheme }, undefined, midori.config.public.origin, other.browser);
    await page.click('#add-matcha');
    await page.click('#pay');
    await page.waitForSelector('#pay-message[data-state="missing"]');
    await expectAccessible(page);
    await photograph(page, `midori-${colorScheme}`);
  } finally {
    await other.close();
    open = [];
    await running.close();
    await midori.remove();
  }
});

test.each(['/', '/nothing-here'])('at a width of 320 px nothing of %s has to be scrolled sideways', async (path) => {
  const page = await openPage(path, { viewport: { width: 320, height: 640 } });
  for (const add of await page.locator('[id^=add-]').all()) await add.click();
  expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(320);
});

test('without JavaScript the goods are there, and the page says why the cart is not', async () => {
  const page = await openPage('/', { javaScriptEnabled: false });
  expect(await page.locator('.item').count()).toBe(6);
  expect(await page.isVisible('noscript p')).toBe(true);
});
