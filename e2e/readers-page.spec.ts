/** The pairing page in a real Chromium among emulated readers: it follows what is plugged in, tries a card, and says what is wrong and what helps. */
import { join } from 'node:path';
import type { Page } from 'playwright';
import messages from '../extension/_locales/en/messages.json' with { type: 'json' };
import { READERS_PAGE } from '../extension/manifest.ts';
import { expect, openCopy, PICTURES, test } from './house.ts';
import { lookAt, openReaderBench, type ReaderBench } from './reader-bench.ts';

type Kind = 'rc-s300' | 'rc-s380' | 'magtek';
/** What a person takes for "at once". */
const MOMENT_MS = 3_000;

let bench: ReaderBench<Kind>;

test.beforeAll(async ({ house }) => {
  bench = await openReaderBench(house, 'readers-page', ['rc-s300', 'rc-s380', 'magtek']);
});
test.beforeEach(() => bench.clear());
test.afterAll(() => bench.close());

async function openPage(): Promise<Page> {
  const { context, extensionOrigin } = bench.browser;
  const page = await context.newPage();
  await page.goto(`${extensionOrigin}${READERS_PAGE}`);
  await expect(page.getByTestId('program')).not.toHaveAttribute('data-program', 'starting');
  return page;
}

const rowOf = (page: Page, name: string) => page.getByTestId('reader-row').filter({ hasText: name });
const expectRow = (page: Page, name: string, state: string) => expect(rowOf(page, name)).toHaveAttribute('data-reader-state', state, { timeout: MOMENT_MS });
const picture = (page: Page, name: string) => page.screenshot({ path: join(PICTURES, `readers-page-${name}.png`), fullPage: true });

test('a paired reader is seen as it is plugged in, pulled out and plugged in again, over either bus', async () => {
  const page = await openPage();
  await expect(page.getByTestId('no-readers')).toBeVisible();
  for (const [kind, name] of [['rc-s300', 'RC-S300'], ['magtek', 'MagTek']] as const) {
    await bench.readers[kind].plug();
    await expectRow(page, name, 'ready');
    await bench.readers[kind].unplug();
    await expect(rowOf(page, name)).toHaveAttribute('data-reader-state', /^away/, { timeout: MOMENT_MS });
    await bench.readers[kind].plug();
    await expectRow(page, name, 'ready');
  }
  await picture(page, 'two-ready');
});

test('a page that is left and come back to, however fast, gives its readers back and has them again', async ({ house: { stage } }) => {
  const { 'rc-s300': usb, magtek: hid } = bench.readers;
  await usb.plug();
  await hid.plug();
  const page = await openPage();
  await expectRow(page, 'RC-S300', 'ready');
  const states = await recordStates(page);
  for (let time = 0; time < 5; time++) await lookAt(page, false, true);
  await stage.card.insert(usb.place);
  await expectRow(page, 'RC-S300', 'card');
  await expectRow(page, 'MagTek', 'ready');
  // Taken again too early, a reader would have failed once before it served.
  expect((await states()).filter((state) => !['connected', 'ready', 'card'].includes(state))).toEqual([]);
  await lookAt(page, false);
  // Nothing is known of a reader that is not held, but that it is there.
  for (const name of ['RC-S300', 'MagTek']) await expectRow(page, name, 'connected');
  const other = await openPage();
  await expectRow(other, 'RC-S300', 'card');
  await expectRow(other, 'MagTek', 'ready');
});

test('a reader is tried with the customer\'s card: recognised, timed, and its number stays out of the report', async ({ house: { stage: { card } } }) => {
  await bench.readers['rc-s300'].plug();
  const page = await openPage();
  await rowOf(page, 'RC-S300').getByTestId('test').click();
  await expect(page.getByTestId('trial')).toHaveAttribute('data-step', 'waiting');
  await card.insert(bench.readers['rc-s300'].place);
  await expect(page.getByTestId('trial')).toHaveAttribute('data-step', 'done');
  const ending = card.cardId.slice(-4);
  await expect(page.getByTestId('trial-card')).toHaveText(messages.trialPaymentCard.message.replace('$1', ending));
  await expect(page.getByTestId('trial-time')).toHaveText(/^\d+(\.\d+)? ms/);
  await picture(page, 'tested');

  const report = await copiedReport(page);
  expect(report).toMatch(/^Kessai reader report\n/);
  expect(report).toContain('card payment, UID 7-byte, median ');
  // Neither the number, nor its end that the page shows, nor the reader's serial number.
  expect(report).not.toContain(card.cardId);
  expect(report).not.toContain(ending);
  expect(report).not.toContain('0000001');
});

test('a card that is lifted during the test is told as such, and the next test works', async ({ house: { stage: { card } } }) => {
  await bench.readers['rc-s300'].plug();
  const page = await openPage();
  card.fate = (_, index) => (index === 5 ? 'lift-before' : 'answer');
  await rowOf(page, 'RC-S300').getByTestId('test').click();
  await card.insert(bench.readers['rc-s300'].place);
  await expect(page.getByTestId('trial')).toHaveAttribute('data-step', 'failed');
  await expect(page.getByTestId('trial-words')).toHaveText(messages.failure_card_removed.message);
  card.fate = () => 'answer';
  await page.getByTestId('trial-again').click();
  await card.insert(bench.readers['rc-s300'].place);
  await expect(page.getByTestId('trial')).toHaveAttribute('data-step', 'done');
});

test('a reader that the system denies, and one that a driver holds: what is wrong, and what to type on Linux; freed, both serve', async () => {
  const { 'rc-s300': denied, 'rc-s380': held } = bench.readers;
  await denied.plug({ denied: true });
  await held.plug({ heldInterfaces: [0] });
  const page = await openPage();
  await expect(rowOf(page, 'RC-S300').getByTestId('reader-problem')).toHaveAttribute('data-code', 'reader/permission');
  await expect(rowOf(page, 'RC-S300').getByTestId('fix')).toContainText('npx kessai-host doctor --udev-rules | sudo tee /etc/udev/rules.d/60-kessai.rules');
  await expect(rowOf(page, 'RC-S380').getByTestId('reader-problem')).toHaveAttribute('data-code', 'reader/driver');
  await expect(rowOf(page, 'RC-S380').getByTestId('fix')).toContainText('sudo modprobe -r port100');
  const problems = page.getByTestId('findings').locator('[data-finding-state="problem"]');
  await expect(problems.and(page.locator('[data-finding="device-access"]'))).toHaveCount(1);
  await expect(problems.and(page.locator('[data-finding="port100"]'))).toHaveCount(1);
  await picture(page, 'denied');
  for (const [reader, name] of [[denied, 'RC-S300'], [held, 'RC-S380']] as const) {
    await reader.unplug();
    await reader.plug();
    await expectRow(page, name, 'ready');
  }
});

test('a reader that another program works with is told as in use, and is found free when it is', async () => {
  await bench.readers['rc-s300'].plug({ heldInterfaces: [1] });
  const page = await openPage();
  await expectRow(page, 'RC-S300', 'in-use');
  await expect(rowOf(page, 'RC-S300').getByTestId('reader-problem')).toHaveText(messages.rowInUse.message);
  await expect(rowOf(page, 'RC-S300').getByTestId('fix')).toContainText('pcscd');
  await bench.readers['rc-s300'].unplug();
  await bench.readers['rc-s300'].plug();
  await expectRow(page, 'RC-S300', 'ready');
});

test('the report is shown, to be copied by hand, where the browser does not let the page copy', async () => {
  const page = await openPage();
  await page.evaluate(() => {
    navigator.clipboard.writeText = () => Promise.reject(new DOMException('not allowed', 'NotAllowedError'));
  });
  await page.getByTestId('copy-report').click();
  await expect(page.getByTestId('copy-refused')).toBeVisible();
  await expect(page.getByTestId('report-field')).toHaveValue(/^Kessai reader report\n/);
});

test('without the reader program its installation is shown; installed, one click finds it, its readers and what its doctor found', async ({ house }) => {
  await house.stage.card.insert();
  const page = await openPage();
  await expect(page.getByTestId('program')).toHaveAttribute('data-program', 'failed');
  await expect(page.getByTestId('install-command')).toHaveText('npx kessai-host install');
  await expect(page.locator('[data-finding="host-registered"]')).toHaveAttribute('data-finding-state', 'problem');
  await bench.installHost();
  await page.getByTestId('look-again').click();
  await expect(page.getByTestId('program')).toHaveAttribute('data-program', 'running');
  await expect(page.locator('[data-reader^="pcsc-"]').first()).toBeVisible();
  await page.locator('[data-place="in-order-summary"]').click();
  for (const id of ['host-answers', 'pcsc-service', 'pcsc-reader']) await expect(page.locator(`[data-finding="${id}"]`).first()).toHaveAttribute('data-finding-state', 'ok');
  await picture(page, 'program');
});

test('on ChromeOS it is the Smart Card Connector that is missing, and the way to it is shown', async ({ house }) => {
  // Only its name is ChromeOS's: that a browser without the Connector says so is Chromium's own doing.
  const browser = await openCopy(house.stage, 'readers-page-chromeos', { browserArguments: ['--user-agent=Mozilla/5.0 (X11; CrOS x86_64 16093.0.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36'] });
  try {
    const page = await browser.context.newPage();
    await page.goto(`${browser.extensionOrigin}${READERS_PAGE}`);
    await expect(page.getByTestId('program')).toHaveAttribute('data-program', 'failed');
    await expect(page.getByTestId('program-words')).toHaveText(messages.failure_connector_missing.message);
    await expect(page.getByTestId('connector-store')).toHaveAttribute('href', /^https:\/\/chromewebstore\.google\.com\/detail\/khpfeaanjngmcnplbdlpegiifgpfgdco$/);
    await expect(page.getByTestId('install-command')).toHaveCount(0);
    await expect(page.locator('[data-finding="pcsc-service"]').getByTestId('fix')).toHaveText(messages.fix_pcsc_service_chromeos.message);
    await picture(page, 'chromeos');
  } finally {
    await browser.close();
  }
});

/** Every state that a reader's row has from now on. */
async function recordStates(page: Page): Promise<() => Promise<string[]>> {
  const recorded = await page.evaluateHandle(() => {
    const seen: string[] = [];
    new MutationObserver(() => {
      for (const row of document.querySelectorAll<HTMLElement>('[data-reader-state]')) seen.push(row.dataset.readerState ?? '');
    }).observe(document.body, { subtree: true, childList: true });
    return seen;
  });
  return () => recorded.jsonValue();
}

/** What the clipboard holds after the click, as a person sees it: pasted. */
async function copiedReport(page: Page): Promise<string> {
  await page.getByTestId('copy-report').click();
  await expect(page.getByTestId('copy-report')).toHaveText(messages.copied.message);
  await page.evaluate(() => document.body.append(Object.assign(document.createElement('textarea'), { id: 'pasted' })));
  await page.locator('#pasted').focus();
  await page.keyboard.press('ControlOrMeta+V');
  await expect(page.locator('#pasted')).not.toHaveValue('');
  return page.locator('#pasted').inputValue();
}
