/** Pairing as the customer does it: one click on the page, one choice in the browser's own dialog, in a Chromium that is seen; over WebUSB and over WebHID. */
import { join } from 'node:path';
import type { Page } from 'playwright';
import { createEmulatedReader, type EmulatedReader } from '#card-firmware-sim/usb/device-kinds.ts';
import type { Browser, BrowserOptions } from '#world/browser.ts';
import { fieldOf } from '#world/card-place.ts';
import { agreeToAll, fillCart, startPayment } from '#world/checkout.ts';
import { openEmulatedReaders } from '#world/emulated-readers.ts';
import { startVirtualDisplay, type VirtualDisplay } from '#world/virtual-display.ts';
import { READERS_PAGE } from '../extension/manifest.ts';
import { openChooser, type DeviceChooser } from './device-chooser.ts';
import { expect, openCopy, test as testInHouse } from './house.ts';
import { expectPaid } from './outcome.ts';

const AMOUNT_MINOR = 720n;
/** One of each road. Each has a serial number: without one, Chromium would forget the pairing. */
const KINDS = ['rc-s300', 'magtek'] as const;
type Kind = (typeof KINDS)[number];
const TITLES: Readonly<Record<Kind, string>> = { 'rc-s300': 'Sony PaSoRi RC-S300', magtek: 'MagTek DynaFlex' };
const PROFILE = 'pairing-browser';

/** A screen and a keyboard, and two readers plugged in of which the browser knows nothing yet; no card. */
interface Desk {
  readonly display: VirtualDisplay;
  readonly readers: Readonly<Record<Kind, EmulatedReader>>;
  openBrowser(): Promise<Browser>;
  /** The same profile in a new browser. */
  restart(browser: Browser): Promise<Browser>;
}

const test = testInHouse.extend<{ desk: Desk }>({
  desk: async ({ house: { stage } }, use) => {
    const folder = join(stage.world.folder, 'pairing');
    const display = await startVirtualDisplay({ folder });
    const bus = await openEmulatedReaders({ folder });
    const readers = { 'rc-s300': createEmulatedReader('rc-s300'), magtek: createEmulatedReader('magtek') };
    for (const kind of KINDS) await bus.plug(kind, readers[kind].device);
    const seen = { hostBundle: null, headless: false, viewport: null, environment: display.environment } satisfies Partial<BrowserOptions>;
    const browsers: Browser[] = [];
    const noted = (browser: Browser): Browser => {
      browsers.push(browser);
      return browser;
    };
    await stage.card.lift();
    await use({
      display,
      readers,
      openBrowser: async () => noted(await openCopy(stage, PROFILE, { ...seen, launch: bus.launch({ paired: [] }) })),
      restart: async (browser) => {
        await browser.close();
        return noted(await stage.openBrowser({ ...seen, profile: PROFILE, launch: bus.launch() }));
      },
    });
    await stage.card.lift();
    for (const browser of browsers) await browser.close();
    await bus.close();
    await display.stop();
  },
});

async function openPairingPage({ context, extensionOrigin }: Browser): Promise<Page> {
  const page = await context.newPage();
  await page.goto(`${extensionOrigin}${READERS_PAGE}`);
  await page.bringToFront();
  return page;
}

const rowOf = (page: Page, kind: Kind) => page.getByTestId('reader-row').filter({ hasText: TITLES[kind] });

function clickPair(display: VirtualDisplay, page: Page, kind: Kind): Promise<DeviceChooser> {
  return openChooser(display, page, () => page.locator(`[data-testid="family"][data-kind="${kind}"]`).getByTestId('pair').click());
}

async function expectNothingPaired(page: Page): Promise<void> {
  await expect(page.getByTestId('no-readers')).toBeVisible();
  await expect(page.getByTestId('reader-row')).toHaveCount(0);
  expect(await page.evaluate(async () => (await navigator.usb.getDevices()).length + (await navigator.hid.getDevices()).length)).toBe(0);
}

test('one click and the browser\'s own dialog pair a reader; it stays paired until the customer forgets it', async ({ house, desk }) => {
  const { stage, shop } = house;
  const { display, readers } = desk;
  let browser = await desk.openBrowser();
  let page = await openPairingPage(browser);

  await test.step('nothing is paired at first, though both readers are plugged in', () => expectNothingPaired(page));

  for (const kind of KINDS) {
    await test.step(`${kind}: a dialog that is closed changes nothing, and is no error`, async () => {
      const rows = await page.getByTestId('reader-row').count();
      await (await clickPair(display, page, kind)).cancel();
      await expect(page.getByTestId('pair-problem')).toHaveCount(0);
      await expect(page.getByTestId('reader-row')).toHaveCount(rows);
    });

    await test.step(`${kind}: a choice connects it, and its driver has it ready`, async () => {
      await (await clickPair(display, page, kind)).choose();
      await expect(rowOf(page, kind)).toHaveAttribute('data-reader-state', 'ready');
    });
  }

  await test.step('after a restart of the browser both are still paired', async () => {
    browser = await desk.restart(browser);
    page = await openPairingPage(browser);
    for (const kind of KINDS) await expect(rowOf(page, kind)).toHaveAttribute('data-reader-state', 'ready');
  });

  await test.step('a payment finds the card on the reader', async () => {
    await page.close();
    await stage.card.insert(fieldOf(readers['rc-s300'].field));
    const shopPage = await fillCart(browser, shop.origin, ['sencha']);
    const window = await startPayment(browser, shopPage);
    expect(await agreeToAll(window)).toBe('paid');
    await expectPaid(house, { page: shopPage, window, amountMinor: AMOUNT_MINOR });
  });

  await test.step('forgotten, they are gone, also for a page that is opened anew', async () => {
    page = await openPairingPage(browser);
    for (const kind of KINDS) {
      await rowOf(page, kind).getByTestId('forget').click();
      await expect(rowOf(page, kind)).toHaveCount(0);
    }
    await expectNothingPaired(page);
    await page.reload();
    await expectNothingPaired(page);
  });
});
