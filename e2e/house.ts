/**
 * What all specs share: one stage for the whole run, an enrolled browser profile of which every browser is a copy, and the
 * closing of the accounts after each test. A test starts with the card on the reader and a browser that has paid nowhere yet.
 */
import { cp, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { expect, test as base } from 'playwright/test';
import type { Browser, BrowserOptions } from '#world/browser.ts';
import type { ShopOfWorld } from '#world/shops.ts';
import type { SimulatedCard } from '#world/simulated-card.ts';
import { openStage, type Stage, type StageOptions } from '#world/stage.ts';
import { wrongInAccounts } from './accounts.ts';
import { recordNativeMessages, type NativeRecord } from './native-record.ts';

export const E2E_FOLDER = resolve(import.meta.dirname, '../var/e2e');
export const PICTURES = join(E2E_FOLDER, 'pictures');
export const OPENING_BALANCE_MINOR = 50_000n;

export interface House {
  readonly stage: Stage;
  readonly shop: ShopOfWorld;
  readonly otherShop: ShopOfWorld;
  readonly native: NativeRecord;
  /** All that money was put on; whoever issues another adds it. */
  readonly cards: SimulatedCard[];
}

interface WorkerFixtures {
  readonly house: House;
  /** The customer's everyday browser, in English. */
  readonly everyday: Browser;
}

interface TestFixtures {
  /** The everyday browser as if it had never paid; its pages are closed when the test ends. */
  readonly browserOfTest: Browser;
  /** Another browser of the same customer, with a profile of its own; closed when the test ends. */
  readonly openBrowser: (changes?: Partial<BrowserOptions>) => Promise<Browser>;
  readonly accounts: undefined;
}

const ENROLLED = 'enrolled';

/** An enrolled profile that no browser uses: the one-time code works once, copies of the profile as often as we like. */
export async function enrolledProfile(stage: Stage): Promise<void> {
  const browser = await stage.openBrowser({ profile: ENROLLED });
  await browser.close();
}

export async function openCopy(stage: Stage, profile: string, changes: Partial<BrowserOptions> = {}): Promise<Browser> {
  const { folder } = stage.world;
  // Without its hosts: a copy has the one that it is given, or none.
  await cp(join(folder, ENROLLED), join(folder, profile), { recursive: true, filter: (source) => !source.endsWith('NativeMessagingHosts') });
  await forgetLanguage(join(folder, profile, 'profile', 'Default', 'Preferences'));
  return stage.openBrowser({ profile, ...changes });
}

/** A profile keeps the languages of its first start. */
async function forgetLanguage(file: string): Promise<void> {
  const preferences = JSON.parse(await readFile(file, 'utf8')) as Record<string, unknown>;
  await writeFile(file, JSON.stringify({ ...preferences, intl: undefined }));
}

export function stageOptions(name: string, changes: Partial<StageOptions> = {}): StageOptions {
  return { folder: join(E2E_FOLDER, name), reader: 'pcsc', openingBalanceMinor: OPENING_BALANCE_MINOR, ...changes };
}

let opened = 0;

/** For specs with a stage of their own. */
export const testWithoutHouse = base.extend({
  // The runner would have every browser say that it is American; ours say what their environment does.
  locale: async ({}, use) => use(undefined),
});

export const test = testWithoutHouse.extend<TestFixtures, WorkerFixtures>({
  house: [
    // Playwright reads the pattern: no other fixture is needed.
    async ({}, use, { workerIndex }) => {
      const stage = await openStage(stageOptions(`stage-${workerIndex}`, { secondShop: true }));
      try {
        await mkdir(PICTURES, { recursive: true });
        await enrolledProfile(stage);
        const [shop, otherShop] = stage.world.shops;
        if (shop === undefined || otherShop === undefined) throw new Error('a world without its two shops');
        const native = await recordNativeMessages(stage.hostBundle, stage.world.folder);
        await use({ stage, shop, otherShop, native, cards: [stage.card] });
      } finally {
        await stage.close();
      }
    },
    { scope: 'worker', timeout: 120_000 },
  ],

  everyday: [
    async ({ house }, use) => {
      const browser = await openCopy(house.stage, 'everyday', { hostBundle: house.native.bundle });
      await use(browser);
      await browser.close();
    },
    { scope: 'worker', timeout: 60_000 },
  ],

  openBrowser: async ({ house }, use) => {
    const browsers: Browser[] = [];
    await use(async (changes) => {
      const browser = await openCopy(house.stage, `copy-${++opened}`, changes);
      browsers.push(browser);
      return browser;
    });
    for (const browser of browsers) await browser.close();
  },

  browserOfTest: async ({ everyday }, use) => {
    await forgetPayments(everyday);
    await use(everyday);
    await closePages(everyday);
  },

  accounts: [
    async ({ house: { stage, cards } }, use) => {
      stage.card.fate = () => 'answer';
      await stage.card.insert();
      stage.forget();
      await use(undefined);
      stage.card.fate = () => 'answer';
      await expect.poll(() => wrongInAccounts(stage.world, cards), { message: 'card, books and shops agree' }).toEqual([]);
    },
    { auto: true },
  ],
});

/** Shops paid before, settings, and payments that a failed test has left open. */
async function forgetPayments({ context, extensionOrigin }: Browser): Promise<void> {
  const worker = context.serviceWorkers().find((candidate) => candidate.url().startsWith(extensionOrigin)) ?? (await context.waitForEvent('serviceworker'));
  await worker.evaluate(() => chrome.storage.local.clear());
}

/** All but one, because a browser without pages may end. A page that is just going elsewhere is stopped first: closed in that moment, Chromium may never say so. */
async function closePages({ context }: Browser): Promise<void> {
  const blank = await context.newPage();
  for (const page of context.pages().filter((candidate) => candidate !== blank)) {
    if (page.url().startsWith('https:')) await page.goto('about:blank');
    await page.close();
  }
}

export { expect } from 'playwright/test';
