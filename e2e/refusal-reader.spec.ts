/** What stands between the customer and the reader: each with its own code, the money sentence, and a way on or out. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Page } from 'playwright';
import type { FailureCode } from '#protocol/failure.ts';
import { fillCart, press, startPayment, untilScreen } from '#world/checkout.ts';
import type { Browser } from '#world/browser.ts';
import { startVirtualReader } from '#world/virtual-reader.ts';
import { expect, test, type House } from './house.ts';
import { expectNothingTaken, expectPaid, expectShopTold } from './outcome.ts';

/** As far as the card: both questions before it are answered with yes. */
async function asFarAsTheCard(house: House, browser: Browser): Promise<{ page: Page; window: Page }> {
  const page = await fillCart(browser, house.shop.origin, ['sencha']);
  const window = await startPayment(browser, page);
  for (const kind of ['estimate', 'bill'] as const) {
    await untilScreen(window, kind);
    await press(window, 'primary');
  }
  return { page, window };
}

async function expectReaderProblem(house: House, browser: Browser, code: FailureCode): Promise<void> {
  const { page, window } = await asFarAsTheCard(house, browser);
  const problem = window.locator(`[data-testid="reader-problem"][data-code="${code}"]`);
  await expect(problem).not.toBeEmpty();
  await expectNothingTaken(window, { screen: 'card', code });
  // What has not changed fails again, and says so again.
  await press(window, 'retry');
  await expect(problem).toBeVisible();
  await press(window, 'cancel');
  await expectNothingTaken(window, { screen: 'not-paid' });
  await expectShopTold(page, 'failed', 'payment/aborted');
}

test('the native host is not installed', async ({ house, openBrowser }) => {
  await expectReaderProblem(house, await openBrowser({ hostBundle: null }), 'host/missing');
});

test('the native host has another version', async ({ house, openBrowser }) => {
  const hostBundle = join(house.stage.world.folder, 'future-host.mjs');
  await writeFile(hostBundle, FUTURE_HOST);
  await expectReaderProblem(house, await openBrowser({ hostBundle }), 'host/version');
});

test('the native host dies at once', async ({ house, openBrowser }) => {
  const hostBundle = join(house.stage.world.folder, 'dying-host.mjs');
  await writeFile(hostBundle, 'process.exit(1);\n');
  await expectReaderProblem(house, await openBrowser({ hostBundle }), 'host/failed');
});

test('the PC/SC service is not running', async ({ house, openBrowser }) => {
  const environment = { PCSCLITE_CSOCK_NAME: join(house.stage.world.folder, 'no-such-pcscd.comm') };
  await expectReaderProblem(house, await openBrowser({ environment }), 'reader/no-service');
});

test('no reader is connected', async ({ house, openBrowser }) => {
  const service = await startVirtualReader({ folder: join(house.stage.world.folder, 'no-reader'), readers: 0 });
  try {
    await expectReaderProblem(house, await openBrowser({ environment: service.environment }), 'reader/none');
  } finally {
    await service.stop();
  }
});

test('no card on the reader: the window asks for it, and goes on by itself when it lies there', async ({ house, browserOfTest: browser }) => {
  await house.stage.card.lift();
  const { page, window } = await asFarAsTheCard(house, browser);
  await expect(window.getByTestId('heading')).toHaveText(/^Put your card on/);
  // vpcd makes two slots of a reader.
  await expect(window.getByTestId('readers').getByText('No card')).toHaveCount(2);
  await expectNothingTaken(window, { screen: 'card' });
  await expect(window.getByTestId('reader-problem')).toHaveCount(0);
  await house.stage.card.insert();
  await untilScreen(window, 'balance');
  await press(window, 'primary');
  await expectPaid(house, { page, window, amountMinor: 720n });
});

test('a browser that is not enrolled is told where to set it up', async ({ house }) => {
  const browser = await house.stage.openBrowser({ profile: 'new-customer', enrolled: false });
  try {
    const page = await fillCart(browser, house.shop.origin, ['sencha']);
    const window = await startPayment(browser, page);
    await expectNothingTaken(window, { screen: 'error', code: 'customer/not-enrolled' });
    await expect(window.getByTestId('set-up')).toBeVisible();
    await expectShopTold(page, 'failed', 'customer/not-enrolled');
  } finally {
    await browser.close();
  }
});

/** Answers the greeting as a host of the next version would. */
const FUTURE_HOST = `let held = Buffer.alloc(0);
process.stdin.on('data', (chunk) => {
  held = Buffer.concat([held, chunk]);
  while (held.length >= 4 && held.length >= 4 + held.readUInt32LE(0)) {
    const end = 4 + held.readUInt32LE(0);
    const { id } = JSON.parse(held.subarray(4, end).toString());
    held = held.subarray(end);
    const answer = Buffer.from(JSON.stringify({ id, ok: { version: '99.0.0', protocol: 2, platform: 'linux', backends: ['pcsc'] } }));
    const length = Buffer.alloc(4);
    length.writeUInt32LE(answer.length);
    process.stdout.write(Buffer.concat([length, answer]));
  }
});
process.stdin.on('end', () => process.exit(0));
`;
