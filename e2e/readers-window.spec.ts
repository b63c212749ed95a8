/** The payment window among the readers that the browser drives by itself: several at once, one that comes late, one that is not ours, and pages of ours that hold one. */
import { join } from 'node:path';
import type { Page } from 'playwright';
import { fillCart, press, startPayment, untilScreen } from '#world/checkout.ts';
import messages from '../extension/_locales/en/messages.json' with { type: 'json' };
import { READERS_PAGE } from '../extension/manifest.ts';
import { expect, PICTURES, test, type House } from './house.ts';
import { expectNothingTaken, expectPaid, expectShopTold, whileItCloses } from './outcome.ts';
import { lookAt, openReaderBench, type ReaderBench } from './reader-bench.ts';

const AMOUNT_MINOR = 720n;

let bench: ReaderBench<'rc-s300' | 'magtek'>;

test.beforeAll(async ({ house }) => {
  bench = await openReaderBench(house, 'readers-window', ['rc-s300', 'magtek']);
});
test.beforeEach(() => bench.clear());
test.afterAll(() => bench.close());

/** The questions before the card are answered with yes. */
async function asFarAsTheCard({ shop }: House): Promise<{ page: Page; window: Page }> {
  const page = await fillCart(bench.browser, shop.origin, ['sencha']);
  const window = await startPayment(bench.browser, page);
  const first = await untilScreen(window, 'estimate', 'bill');
  await press(window, 'primary');
  if (first === 'estimate') {
    await untilScreen(window, 'bill');
    await press(window, 'primary');
  }
  await untilScreen(window, 'card');
  return { page, window };
}

async function payWithCard(house: House, { page, window }: { page: Page; window: Page }): Promise<void> {
  await untilScreen(window, 'balance');
  await press(window, 'primary');
  await expectPaid(house, { page, window, amountMinor: AMOUNT_MINOR });
}

const problemOf = (window: Page, code: string) => window.locator(`[data-testid="reader-problem"][data-code="${code}"]`);
const readerButton = (window: Page, name: RegExp) => window.getByTestId('readers').getByRole('button', { name });

/** The page on which readers are paired has seen the reader, which then goes. */
async function pairAsAPersonDoes(): Promise<void> {
  await bench.readers['rc-s300'].plug();
  const page = await bench.browser.context.newPage();
  await page.goto(`${bench.browser.extensionOrigin}${READERS_PAGE}`);
  await expect(page.getByTestId('reader-row')).toHaveAttribute('data-reader-state', 'ready');
  await page.close();
  await bench.readers['rc-s300'].unplug();
}

test('two readers at once: the card is found on the one where it lies', async ({ house }) => {
  for (const reader of Object.values(bench.readers)) await reader.plug();
  const { page, window } = await asFarAsTheCard(house);
  await expect(window.getByTestId('heading')).toHaveText(messages.putCardAnywhere.message);
  await expect(window.getByTestId('readers').getByText(messages.readerEmpty.message)).toHaveCount(2);
  await window.screenshot({ path: join(PICTURES, 'readers-window-two.png') });
  await house.stage.card.insert(bench.readers.magtek.place);
  await payWithCard(house, { page, window });
});

test('the reader that was chosen by hand is the next window\'s too, and a card elsewhere is left alone until any reader will do', async ({ house }) => {
  for (const reader of Object.values(bench.readers)) await reader.plug();
  const first = await asFarAsTheCard(house);
  await readerButton(first.window, /DynaFlex/).click();
  await expect(readerButton(first.window, /DynaFlex/)).toHaveAttribute('aria-pressed', 'true');
  await press(first.window, 'cancel');
  await expectNothingTaken(first.window, { screen: 'not-paid' });
  await whileItCloses(first.window, press(first.window, 'close'));
  await expectShopTold(first.page, 'failed', 'payment/aborted');

  const { page, window } = await asFarAsTheCard(house);
  await expect(window.getByTestId('heading')).toContainText('DynaFlex');
  await expect(readerButton(window, /DynaFlex/)).toHaveAttribute('aria-pressed', 'true');
  await house.stage.card.insert(bench.readers['rc-s300'].place);
  await expect(readerButton(window, /RC-S300/)).toContainText(messages.readerPresent.message);
  await expectNothingTaken(window, { screen: 'card' });
  await window.getByTestId('any-reader').click();
  await payWithCard(house, { page, window });
});

test('no reader yet: it is plugged in while the window waits, then the card is put there, and it pays', async ({ house }) => {
  await pairAsAPersonDoes();
  const { page, window } = await asFarAsTheCard(house);
  // A reader was paired here: it is what is missed, and not the reader program.
  await expect(problemOf(window, 'reader/none')).toBeVisible();
  await expectNothingTaken(window, { screen: 'card', code: 'reader/none' });
  await bench.readers['rc-s300'].plug();
  await expect(window.getByTestId('reader-problem')).toHaveCount(0);
  await expect(window.getByTestId('heading')).toContainText('RC-S300');
  await house.stage.card.insert(bench.readers['rc-s300'].place);
  await payWithCard(house, { page, window });
});

for (const [what, options, code] of [
  ['the system denies', { denied: true }, 'reader/permission'],
  ['another program holds', { heldInterfaces: [1] }, 'reader/in-use'],
] as const) {
  test(`a reader that ${what} says so, and serves as soon as it is free`, async ({ house }) => {
    const reader = bench.readers['rc-s300'];
    await reader.plug(options);
    const { page, window } = await asFarAsTheCard(house);
    await expect(problemOf(window, code)).not.toBeEmpty();
    await expectNothingTaken(window, { screen: 'card', code });
    await window.screenshot({ path: join(PICTURES, `readers-window-${code.replace('/', '-')}.png`) });
    if (code === 'reader/permission') await expectPageAboutReaders(window);
    await reader.unplug();
    await reader.plug();
    await expect(window.getByTestId('reader-problem')).toHaveCount(0);
    await house.stage.card.insert(reader.place);
    await payWithCard(house, { page, window });
  });
}

/** The button opens the page that says what to do; seen and closed again, it has kept nothing. */
async function expectPageAboutReaders(window: Page): Promise<void> {
  const opening = bench.browser.context.waitForEvent('page', { predicate: (page) => page.url().endsWith(READERS_PAGE) });
  await window.getByTestId('set-up-reader').click();
  const page = await opening;
  await expect(page.getByTestId('reader-row').getByTestId('fix')).toContainText('udev');
  await page.close();
}

test('the options page has the reader only while somebody looks at it: behind, it keeps nothing from the payment', async ({ house }) => {
  const reader = bench.readers['rc-s300'];
  await reader.plug();
  const options = await bench.browser.openOptions();
  await expect(options.getByTestId('reader-words')).toContainText('RC-S300');
  await house.stage.card.insert(reader.place);
  await expect(options.getByTestId('step-card')).toHaveAttribute('data-state', 'done');
  await house.stage.card.lift();
  const { page, window } = await asFarAsTheCard(house);
  // Two pages that are both in front: what the second one meets must end by itself.
  await expect(problemOf(window, 'reader/in-use')).toBeVisible();
  await lookAt(options, false);
  await expect(window.getByTestId('reader-problem')).toHaveCount(0);
  await expect(options.getByTestId('reader-words')).toContainText('RC-S300');
  await house.stage.card.insert(reader.place);
  await payWithCard(house, { page, window });
  await lookAt(options, true);
  await expect(options.getByTestId('step-card')).toHaveAttribute('data-state', 'done');
});

test('a reader of the browser\'s and one of the reader program\'s: the card is found on the latter too', async ({ house }) => {
  await bench.installHost();
  await bench.readers['rc-s300'].plug();
  const { page, window } = await asFarAsTheCard(house);
  await expect(readerButton(window, /RC-S300/)).toBeVisible();
  await expect(readerButton(window, /Virtual Reader/).first()).toContainText(messages.readerEmpty.message);
  await house.stage.card.insert();
  await payWithCard(house, { page, window });
});
