/** Every screen in real Chromium, in both languages, light and dark: readable, operable and within its limits. Pictures go to var/screens/. Needs the gallery only: no server, no card. */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { AxeBuilder } from '@axe-core/playwright';
import { chromium, expect, test, type BrowserContext, type Page } from 'playwright/test';
import { EXTENSION_ID } from '../../extension/extension-id.ts';
import { buildGallery, GALLERY_PAGE } from './gallery-build.ts';
import { CARD_NAMES } from './gallery/card-names.ts';
import { READERS_NAMES } from './gallery/readers-names.ts';
import { createSamples } from './gallery/samples.ts';

const PICTURES = resolve(import.meta.dirname, '../../var/screens');
const WINDOW = { width: 440, height: 640 };
const NAMES = Object.keys(createSamples(() => undefined));
const OPTIONS = ['options-new', 'options-done'];
/** Pages in a tab: longer than a window, and seen whole. */
const TABS: readonly string[] = [...OPTIONS, ...READERS_NAMES, ...CARD_NAMES];

/** A file for each language, so that two workers share them. */
// eslint-disable-next-line max-lines-per-function -- a list of tests, as in any spec
export function testEveryScreen(language: 'en' | 'ja'): void {
  test.describe.configure({ timeout: 120_000 });

  let folder: string;
  let context: BrowserContext;
  let page: Page;

  test.beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'kessai-screens-'));
    mkdirSync(PICTURES, { recursive: true });
    const gallery = join(folder, 'gallery');
    await buildGallery(gallery);
    context = await chromium.launchPersistentContext(join(folder, 'profile'), {
      executablePath: '/usr/bin/chromium',
      headless: true,
      viewport: WINDOW,
      // The environment switches messages, interface and Intl together.
      env: { ...process.env, LANGUAGE: language },
      args: ['--no-sandbox', `--load-extension=${gallery}`, `--disable-extensions-except=${gallery}`, '--disable-background-networking', '--disable-component-update', '--disable-sync', '--disable-quic'],
    });
    page = await context.newPage();
  });

  test.afterAll(async () => {
    await context.close();
    rmSync(folder, { recursive: true, force: true });
  });

  const open = async (name: string): Promise<void> => {
    await page.goto(`chrome-extension://${EXTENSION_ID}/${GALLERY_PAGE}#${name}`);
    await expect(page.locator(`body[data-sample="${name}"] main`)).toBeVisible();
  };

  for (const colorScheme of ['light', 'dark'] as const) {
    for (const [what, names] of [['screen', NAMES], ['page in a tab', TABS]] as const) {
      test(`${language}, ${colorScheme}: every ${what} passes axe, fits its window and shows all its words`, async () => {
        await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
        for (const name of names) {
          await open(name);
          await expect(page.locator('button:disabled')).toHaveCount(0);
          await page.screenshot({ path: join(PICTURES, `${name}-${language}-${colorScheme}.png`), fullPage: names === TABS });
          // Colours do not depend on the words: the dark theme is judged in one language.
          if (language === 'en' || colorScheme === 'light') expect(await violationsOf(page), name).toEqual([]);
          expect(await emptyMessages(page), name).toEqual([]);
          expect(await sidewaysOverflow(page), name).toBeLessThanOrEqual(0);
        }
      });
    }
  }

  test(`${language}: the amount is the largest thing on the screen, with AAA contrast`, async () => {
    for (const name of ['estimate', 'bill', 'balance', 'balance-hidden', 'paid', 'earlier']) {
      await open(name);
      const sizes = await page.locator('main *').evaluateAll((all) => all.filter((element) => !element.classList.contains('amount-figures')).map((element) => Number.parseFloat(getComputedStyle(element).fontSize)));
      const amount = await page.locator('.amount-figures').evaluate((element) => Number.parseFloat(getComputedStyle(element).fontSize));
      expect(amount, name).toBeGreaterThan(Math.max(...sizes));
    }
    for (const colorScheme of ['light', 'dark'] as const) {
      await page.emulateMedia({ colorScheme });
      await open('balance');
      const { violations } = await new AxeBuilder({ page }).include('.amount').withRules('color-contrast-enhanced').analyze();
      expect(violations).toEqual([]);
    }
  });

  test(`${language}: everything that can be pressed is at least 44 pixels high and wide`, async () => {
    for (const name of [...NAMES, 'options-new', ...READERS_NAMES, ...CARD_NAMES]) {
      await open(name);
      for (const box of await page.locator('button, summary, a').evaluateAll((all) => all.map((element) => element.getBoundingClientRect().toJSON() as DOMRect))) {
        expect(box.height, name).toBeGreaterThanOrEqual(44);
        expect(box.width, name).toBeGreaterThanOrEqual(44);
      }
    }
  });

  test(`${language}: at 200 % nothing is cut off`, async () => {
    await page.setViewportSize({ width: WINDOW.width / 2, height: WINDOW.height / 2 });
    for (const name of [...NAMES, ...TABS]) {
      await open(name);
      expect(await sidewaysOverflow(page), name).toBeLessThanOrEqual(0);
    }
    await page.setViewportSize(WINDOW);
  });

  test(`${language}: Enter never agrees by accident, and the keyboard reaches every button with the primary last`, async () => {
    for (const name of ['estimate', 'bill', 'balance', 'card', 'error-forged', 'unknown-offline']) {
      await open(name);
      await expect(page.getByTestId('heading')).toBeFocused();
      await page.keyboard.press('Enter');
      await page.keyboard.press('Space');
      expect(await page.evaluate(() => (globalThis as unknown as { answered: string[] }).answered), name).toEqual([]);
    }
    await open('balance');
    await expect(page.getByTestId('primary')).toBeEnabled();
    await page.keyboard.press('Tab');
    await expect(page.getByTestId('cancel')).toBeFocused();
    await page.keyboard.press('Tab');
    await expect(page.getByTestId('primary')).toBeFocused();
    await page.keyboard.press('Enter');
    expect(await page.evaluate(() => (globalThis as unknown as { answered: string[] }).answered)).toEqual(['agree']);
  });

  test(`${language}: "My card" keeps what was typed and the focus while it works, and says each change aloud`, async () => {
    const code = page.getByTestId('activation-code');
    await open('my-card-not-linked');
    await code.fill('abcd-ef12');
    for (const name of ['my-card-linking', 'my-card-wrong-code', 'my-card-link-waits']) {
      await open(name);
      await expect(code, name).toBeFocused();
      await expect(code, name).toHaveValue('abcd-ef12');
      await expect(page.getByTestId('live'), name).not.toBeEmpty();
    }
    await page.keyboard.press('Enter');
    expect(await page.evaluate(() => (globalThis as unknown as { answered: string[] }).answered)).toEqual(['link abcd-ef12']);
    await open('my-card-linking');
    await page.keyboard.press('Enter');
    expect(await page.evaluate(() => (globalThis as unknown as { answered: string[] }).answered), 'once is enough').toEqual([]);
    await open('my-card-linked');
    await expect(page.getByTestId('panel-heading')).toBeFocused();
    expect(await page.getByTestId('live').innerText()).toContain(await page.getByTestId('linked').innerText());
    await page.getByTestId('hide').focus();
    await open('my-card-lifted');
    await expect(page.getByTestId('hide')).toBeFocused();
    await open('my-card-not-linked');
    await expect(code).toHaveValue('');
  });

  test(`${language}: every screen says where the money is, and every failure shows its code`, async () => {
    for (const name of NAMES) {
      await open(name);
      await expect(page.getByTestId('money'), name).not.toBeEmpty();
      const describedBy = await page.getByTestId('heading').getAttribute('aria-describedby');
      expect(describedBy, name).toBe('money');
    }
    await open('error-forged');
    await expect(page.getByTestId('failure-code')).toHaveText('settlement/signature');
    await expect(page.getByTestId('failure-step')).toHaveText('ST15');
  });
}

/** A message that is missing is an empty string: no element of ours is meant to be empty. */
async function emptyMessages(page: Page): Promise<string[]> {
  return page.locator('h1, h2, h3, button, dt, dd, summary, label, .explanation, .money span, .hint span, .problem').evaluateAll((all) => all.filter((element) => element.textContent.trim() === '').map((element) => element.outerHTML));
}

async function sidewaysOverflow(page: Page): Promise<number> {
  return page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
}

async function violationsOf(page: Page): Promise<unknown[]> {
  const { violations } = await new AxeBuilder({ page }).withTags(['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']).analyze();
  return violations.map(({ id, nodes }) => [id, nodes.map(({ target }) => String(target))]);
}
