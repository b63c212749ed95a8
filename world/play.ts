/** Plays one payment on a stage as a person would, and asks every party afterwards what it holds to be true. */
import { join } from 'node:path';
import type { Page } from 'playwright';
import type { JournalEntry } from '#protocol/step.ts';
import type { Party } from '#protocol/steps.ts';
import { agreeToAll, fillCart, hideBalance, settleEarlier, startPayment, PATIENCE_MS, type ScreenKind } from './checkout.ts';
import { openBooks } from './books.ts';
import type { Browser } from './browser.ts';
import type { Stage } from './stage.ts';

export interface PlayedPayment {
  /** What the payment window said. */
  readonly kind: ScreenKind;
  readonly amountMinor: bigint;
  /** As the chip itself has it. */
  readonly balanceBeforeMinor: bigint;
  readonly balanceAfterMinor: bigint;
  /** Of all parties, in the order in which the steps began. */
  readonly journal: readonly JournalEntry[];
  /** Between PC and application server, from the consent at ST7 to the outcome at ST20, as the browser sent them. */
  readonly rounds: number;
  readonly signatures: Readonly<Partial<Record<Party, { made: number; verified: number }>>>;
  /** Card, settlement's books and shop's receipt page say the same. */
  readonly agreed: boolean;
  /** Folder of the pictures. */
  readonly pictures: string;
}

export interface PlayOptions {
  readonly readBalance: boolean;
  readonly pictures: string;
  readonly log?: (line: string) => void;
}

const CART = ['book-of-tea', 'sencha'];
const PICTURES: Partial<Record<ScreenKind, string>> = { bill: '2-bill.png', balance: '3-balance.png', paid: '4-paid.png' };

export async function playPayment(stage: Stage, { readBalance, pictures, log = () => undefined }: PlayOptions): Promise<PlayedPayment> {
  const { world, card } = stage;
  log('browser');
  const browser = await stage.openBrowser();
  try {
    await hideBalance(browser, !readBalance);
    const [shop] = world.shops;
    if (shop === undefined) throw new Error('a world without a shop');
    const page = await fillCart(browser, shop.origin, CART);
    await page.evaluate(() => scrollTo(0, 0));
    await page.screenshot({ path: join(pictures, '1-shop.png') });
    const amountMinor = await amountOnPage(page);
    const balanceBeforeMinor = card.balanceMinor();
    const rounds = countRounds(browser, world.origins.application);
    stage.forget();
    log('payment');
    const window = await startPayment(browser, page);
    await settleEarlier(window);
    const roundsBefore = rounds();
    const kind = await agreeToAll(window, (screen) => takePicture(window, screen, pictures));
    if (kind !== 'paid') log(await window.locator('main').innerText());
    const { journal, tally } = await browser.journal();
    const isShopPaid = kind === 'paid' && (await receiptSaysPaid(page, window));
    const everything = [...stage.journal, ...journal].sort((a, b) => a.at - b.at);
    const balanceAfterMinor = card.balanceMinor();
    const books = await openBooks(world);
    const isSettled = await books.isPaid(everything.find((entry) => entry.step === 'ST19')?.payment ?? '', amountMinor).finally(() => books.close());
    return {
      kind,
      amountMinor,
      balanceBeforeMinor,
      balanceAfterMinor,
      journal: everything,
      rounds: rounds() - roundsBefore,
      signatures: countSignatures([...stage.signatures, ...tally.map((event) => ({ ...event, party: 'extension' as const }))]),
      agreed: kind === 'paid' && isShopPaid && isSettled && balanceBeforeMinor - balanceAfterMinor === amountMinor,
      pictures,
    };
  } finally {
    await browser.close();
  }
}

async function takePicture(window: Page, screen: ScreenKind, folder: string): Promise<void> {
  const name = PICTURES[screen];
  if (name !== undefined) await window.screenshot({ path: join(folder, name) });
}

/** POSTs of a payment; the handshake before ST7 is no round. */
export function countRounds(browser: Browser, applicationOrigin: string): () => number {
  let count = 0;
  browser.context.on('request', (request) => {
    if (request.method() === 'POST' && request.url().startsWith(`${applicationOrigin}/v1/`)) count += 1;
  });
  return () => count;
}

/** The cart's total, before the page goes on to the receipt; JPY has no minor units. */
async function amountOnPage(page: Page): Promise<bigint> {
  const total = await page.locator('#total').innerText();
  return BigInt(total.replaceAll(/[^0-9]/g, ''));
}

/** The receipt page changes by itself when the settlement's notice arrives. */
async function receiptSaysPaid(page: Page, window: Page): Promise<boolean> {
  await window.getByTestId('close').click();
  await page.locator('#receipt[data-state="paid"]').waitFor({ timeout: PATIENCE_MS });
  return true;
}

function countSignatures(events: readonly { readonly party: Party; readonly kind: 'made' | 'verified' }[]): PlayedPayment['signatures'] {
  const counts: Partial<Record<Party, { made: number; verified: number }>> = {};
  for (const { party, kind } of events) {
    const count = (counts[party] ??= { made: 0, verified: 0 });
    count[kind] += 1;
  }
  return counts;
}
