/** A hostile page: what it carries it may change, what it shows it may steal, and it gains nothing by either. */
import type { Page } from 'playwright';
import type { FailureCode } from '#protocol/failure.ts';
import { fillCart, press, startPayment, untilScreen } from '#world/checkout.ts';
import type { Browser } from '#world/browser.ts';
import { recordCard } from './card-record.ts';
import { expect, test } from './house.ts';
import { expectNothingTaken, expectShopTold } from './outcome.ts';

const STATEMENT_PATH = '/.well-known/kessai-shop';

/** What the page's own script does to what it fetches: `kept` are answers of an earlier order, by path. */
type Trick = 'alter' | 'replay';

/** Put into the page before any script of the shop: a shop's page is whatever the shop, or who broke into it, makes of it. */
function playTrick({ trick, path, kept }: { trick: string; path: string; kept: string }): void {
  const honest = globalThis.fetch.bind(globalThis);
  globalThis.fetch = async (input, init) => {
    const answer = await honest(input, init);
    if (new URL(answer.url).pathname !== path) return answer;
    const text = (await answer.text()).trim();
    const [header, payload = '', signature] = text.split('.');
    const body = JSON.parse(atob(payload.replaceAll('-', '+').replaceAll('_', '/'))) as Record<string, unknown>;
    const bill = { ...body, amountMinor: '1', totalMinor: '1' };
    const forged = [header, btoa(JSON.stringify(bill)).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', ''), signature].join('.');
    return new Response(trick === 'alter' ? forged : kept, { headers: { 'Content-Type': 'application/jose' } });
  };
}

async function answersOfAnHonestOrder(browser: Browser, origin: string): Promise<Record<string, string>> {
  const page = await fillCart(browser, origin, ['genmaicha']);
  const answers: Record<string, Promise<string>> = {};
  page.on('response', (response) => {
    const { pathname } = new URL(response.url());
    if (pathname.startsWith('/kessai/')) answers[pathname] = response.text();
  });
  const window = await startPayment(browser, page);
  await untilScreen(window, 'estimate');
  await press(window, 'primary');
  await untilScreen(window, 'bill');
  await press(window, 'cancel');
  await untilScreen(window, 'not-paid');
  return Object.fromEntries(await Promise.all(Object.entries(answers).map(async ([path, text]) => [path, (await text).trim()] as const)));
}

const TRICKS: readonly { readonly what: string; readonly trick: Trick; readonly path: string; readonly code: FailureCode }[] = [
  { what: 'alters the estimate on its way', trick: 'alter', path: '/kessai/decisions', code: 'message/signature' },
  { what: 'serves the estimate of an earlier order', trick: 'replay', path: '/kessai/decisions', code: 'message/not-fresh' },
  { what: 'alters the BILL on its way', trick: 'alter', path: '/kessai/bill-requests', code: 'bill/signature' },
  { what: 'serves the BILL of an earlier order', trick: 'replay', path: '/kessai/bill-requests', code: 'message/not-fresh' },
];

for (const { what, trick, path, code } of TRICKS) {
  test(`a page that ${what} is refused as ${code}, and the card is not even asked for`, async ({ house, browserOfTest: browser }) => {
    const card = recordCard(house.stage.card);
    const kept = trick === 'replay' ? ((await answersOfAnHonestOrder(browser, house.shop.origin))[path] ?? '') : '';
    const page = await browser.context.newPage();
    await page.addInitScript(playTrick, { trick, path, kept });
    await page.goto(house.shop.origin);
    await page.locator('#add-sencha').click();
    const window = await startPayment(browser, page);
    if (path === '/kessai/bill-requests') {
      await untilScreen(window, 'estimate');
      await press(window, 'primary');
    }
    await expectNothingTaken(window, { screen: 'error', code });
    await expectShopTold(page, 'failed', code);
    expect(card.commands()).toEqual([]);
  });
}

test("a page that serves another shop's statement does not even learn that the extension is there", async ({ house, browserOfTest: browser }) => {
  const other = await browser.context.newPage();
  await other.goto(house.otherShop.origin);
  const kept = await other.evaluate(async (path) => (await (await fetch(path)).text()).trim(), STATEMENT_PATH);
  const page = await browser.context.newPage();
  await page.addInitScript(playTrick, { trick: 'replay', path: STATEMENT_PATH, kept });
  await page.goto(house.shop.origin);
  await page.locator('#add-sencha').click();
  const pages = browser.context.pages().length;
  await page.locator('#pay').click();
  await expectShopTold(page, 'missing', 'extension/missing');
  expect(browser.context.pages()).toHaveLength(pages);
});

test('a payment that a script starts without a click is refused, and no window opens', async ({ house, browserOfTest: browser }) => {
  const page = await browser.context.newPage();
  // Told by the console: to ask the page from here would count as its customer's own act.
  await page.addInitScript(() => {
    addEventListener('load', () => {
      const { icCard } = globalThis as unknown as { icCard: { pay(order: unknown): Promise<unknown> } };
      icCard.pay({ lines: [{ productId: 'sencha', quantity: 1 }] }).then(() => console.log('tried: paid'), (error: unknown) => console.log(`tried: ${(error as { code: string }).code}`));
    });
  });
  const pages = browser.context.pages().length + 1;
  const [told] = await Promise.all([page.waitForEvent('console', (message) => message.text().startsWith('tried: ')), page.goto(house.shop.origin).then(() => undefined)]);
  expect(told.text()).toBe('tried: shop/no-click');
  expect(browser.context.pages().length).toBeLessThanOrEqual(pages);
});

const STRANGER = 'https://stranger.example';

/** A page of nobody, at an origin of nobody's: `body` is all it is. */
async function openStranger(browser: Browser, body: string): Promise<Page> {
  const page = await browser.context.newPage();
  await page.route(`${STRANGER}/**`, (route) => route.fulfill({ contentType: 'text/html', body: `<!doctype html><title>stranger</title>${body}` }));
  await page.goto(STRANGER);
  return page;
}

test("a stranger's page learns nothing: no answer to any message, not even with a real shop's statement, and no resource", async ({ house, browserOfTest: browser }) => {
  const shopPage = await browser.context.newPage();
  await shopPage.goto(house.shop.origin);
  const { statement, script } = await shopPage.evaluate(async (path) => {
    const source = document.querySelector<HTMLScriptElement>('script[src*="ic-card"]')?.src ?? '';
    return { statement: (await (await fetch(path)).text()).trim(), script: await (await fetch(source)).text() };
  }, STATEMENT_PATH);
  const page = await openStranger(browser, '');
  await page.evaluate(() => {
    const heard: unknown[] = [];
    Object.assign(globalThis, { heard });
    addEventListener('message', ({ data }) => {
      const { icCard, message } = data as { icCard?: string; message?: unknown };
      if (icCard !== 'to-extension') heard.push(message ?? data);
    });
  });
  const messages = [
    { type: 'introduce', id: 1, statement },
    { type: 'introduce', id: 2, statement: 'a.b.c' },
    { type: 'pay', id: 3, order: { lines: [{ productId: 'sencha', quantity: 1 }] } },
    { type: 'carried', id: 4, exchange: 1, message: statement },
    { type: 'focus', id: 5 },
    {},
  ];
  await page.evaluate((all) => all.forEach((message) => postMessage({ icCard: 'to-extension', message }, '*')), messages);
  // The shop's own script, whose question with a real statement waits as long as an answer could take.
  await page.route(`${STRANGER}${STATEMENT_PATH}`, (route) => route.fulfill({ body: statement }));
  await page.addScriptTag({ content: script, type: 'module' });
  await page.waitForFunction(() => 'icCard' in globalThis);
  const found = await page.evaluate(() => (globalThis as unknown as { icCard: { find(): Promise<unknown> } }).icCard.find().catch((error: unknown) => (error as { code: string }).code));
  expect(found).toBe('extension/missing');
  expect(await page.evaluate(() => (globalThis as unknown as { heard: unknown[] }).heard)).toEqual([]);
  const traces = await page.evaluate(async (origin) => {
    const files = ['manifest.json', 'icons/16.png', 'window/window.html', 'options/options.html', 'content-script.js', 'background.js'];
    const loaded = await Promise.all(files.map((file) => fetch(origin + file).then(() => file, () => null)));
    const { chrome } = globalThis as unknown as { chrome?: { runtime?: unknown } };
    return { loaded: loaded.filter((file) => file !== null), runtime: chrome?.runtime === undefined, attributes: document.documentElement.getAttributeNames(), elements: document.querySelectorAll('iframe,object,embed').length };
  }, browser.extensionOrigin);
  expect(traces).toEqual({ loaded: [], runtime: true, attributes: [], elements: 0 });
});

test("a shop's page inside a stranger's frame gets nothing, however it asks", async ({ house, browserOfTest: browser }) => {
  const framed = `${house.shop.origin}/framed`;
  const page = await browser.context.newPage();
  const shopPage = await fillCart(browser, house.shop.origin, ['sencha']);
  const script = await shopPage.evaluate(async () => (await fetch(document.querySelector<HTMLScriptElement>('script[src*="ic-card"]')?.src ?? '')).text());
  // The shop itself forbids to be framed; here it would allow it.
  await page.route(framed, (route) => route.fulfill({ contentType: 'text/html', body: `<!doctype html><title>framed</title><script type="module">${script}</script>` }));
  await page.route(`${STRANGER}/**`, (route) => route.fulfill({ contentType: 'text/html', body: `<!doctype html><title>stranger</title><iframe src="${framed}"></iframe>` }));
  await page.goto(STRANGER);
  const frame = page.frame({ url: framed });
  if (frame === null) throw new Error('the frame was not loaded');
  await frame.waitForFunction(() => 'icCard' in globalThis);
  const answers = await frame.evaluate(async (path) => {
    const heard: unknown[] = [];
    addEventListener('message', ({ data }) => heard.push(data));
    const statement = (await (await fetch(path)).text()).trim();
    for (const target of [window, window.parent]) target.postMessage({ icCard: 'to-extension', message: { type: 'introduce', id: 1, statement } }, '*');
    const { icCard } = globalThis as unknown as { icCard: Record<'find' | 'pay', (order?: unknown) => Promise<unknown>> };
    const codes = await Promise.all([icCard.find(), icCard.pay({ lines: [{ productId: 'sencha', quantity: 1 }] })].map((asked) => asked.catch((error: unknown) => (error as { code: string }).code)));
    return { codes, heard: heard.filter((data) => (data as { icCard?: string }).icCard === 'to-page') };
  }, STATEMENT_PATH);
  expect(answers).toEqual({ codes: ['extension/missing', 'extension/missing'], heard: [] });
});
