/** What a person does in the browser: enrol, fill the cart, pay. Only what can be seen and clicked is used. */
import type { Page } from 'playwright';
import type { Browser } from './browser.ts';

/** Longer than any step of a payment on a busy machine. */
export const PATIENCE_MS = 60_000;

/** First run: the one-time code in the extension's options. */
export async function enrol(browser: Browser, code: string): Promise<void> {
  const page = await browser.openOptions();
  try {
    await page.getByTestId('enrol-code').fill(code);
    await page.getByTestId('enrol').click();
    await page.locator('[data-testid="step-enrol"][data-state="done"]').waitFor({ timeout: PATIENCE_MS });
  } finally {
    await browser.closeOptions();
  }
}

/** As the background opens it. */
const WINDOW_SIZE = { width: 420, height: 640 };

export async function isEnrolled(browser: Browser): Promise<boolean> {
  const page = await browser.openOptions();
  try {
    return (await page.locator('[data-testid="step-enrol"][data-state]').getAttribute('data-state', { timeout: PATIENCE_MS })) === 'done';
  } finally {
    await browser.closeOptions();
  }
}

/** The customer's setting "do not read my balance out" (paragraph 0064). */
export async function hideBalance(browser: Browser, hide: boolean): Promise<void> {
  const page = await browser.openOptions();
  try {
    await page.getByTestId('setting-hide-balance').setChecked(hide);
  } finally {
    await browser.closeOptions();
  }
}

/** Opens the shop and puts products into the cart; `productIds` may name one twice. */
export async function fillCart(browser: Browser, shopOrigin: string, productIds: readonly string[]): Promise<Page> {
  const page = await browser.context.newPage();
  await page.goto(shopOrigin, { timeout: PATIENCE_MS });
  for (const productId of productIds) await page.locator(`#add-${productId}`).click();
  return page;
}

/** Clicks the shop's button; answers the payment window that opens. */
export async function startPayment(browser: Browser, shopPage: Page): Promise<Page> {
  const opening = browser.nextPaymentWindow();
  await shopPage.locator('#pay').click();
  const window = await opening;
  window.setDefaultTimeout(PATIENCE_MS);
  // A browser without a screen gives every window the size of a page.
  await window.setViewportSize(WINDOW_SIZE);
  return window;
}

export type ScreenKind = 'estimate' | 'bill' | 'card' | 'working' | 'balance' | 'paid' | 'not-paid' | 'unknown' | 'earlier' | 'error';

export async function untilScreen(window: Page, ...kinds: readonly ScreenKind[]): Promise<ScreenKind> {
  const shown = window.locator(kinds.map((kind) => `[data-screen="${kind}"]`).join(','));
  await shown.first().waitFor({ timeout: PATIENCE_MS });
  return (await shown.first().getAttribute('data-screen')) as ScreenKind;
}

export async function press(window: Page, button: 'primary' | 'cancel' | 'close' | 'retry' | 'later'): Promise<void> {
  await window.getByTestId(button).click();
}

/** A payment that an earlier run left open is settled first, with the card on the reader; then the window goes on with its own order. */
export async function settleEarlier(window: Page): Promise<void> {
  if ((await untilScreen(window, 'earlier', 'estimate', 'bill', 'error')) !== 'earlier') return;
  await press(window, 'primary');
  await untilScreen(window, 'paid', 'not-paid');
  await press(window, 'close');
  await untilScreen(window, 'estimate', 'bill', 'error');
}

/** Agrees at ST4 (if the shop is new), ST7 and ST16; `onScreen` sees each screen before its button is pressed. Ends at the outcome. */
export async function agreeToAll(window: Page, onScreen: (kind: ScreenKind) => Promise<void> = () => Promise.resolve()): Promise<ScreenKind> {
  const first = await untilScreen(window, 'estimate', 'bill', 'error');
  await onScreen(first);
  if (first === 'error') return first;
  await press(window, 'primary');
  if (first === 'estimate') {
    const second = await untilScreen(window, 'bill', 'error');
    await onScreen(second);
    if (second === 'error') return second;
    await press(window, 'primary');
  }
  const offered = await untilScreen(window, 'balance', 'not-paid', 'error');
  await onScreen(offered);
  if (offered !== 'balance') return offered;
  await press(window, 'primary');
  const outcome = await untilScreen(window, 'paid', 'not-paid', 'unknown', 'error');
  await onScreen(outcome);
  return outcome;
}
