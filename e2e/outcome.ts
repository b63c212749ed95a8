/** What everybody must hold to be true at the end: the window, the shop's page, the books. */
import type { Page } from 'playwright';
import type { FailureCode } from '#protocol/failure.ts';
import { press, untilScreen } from '#world/checkout.ts';
import messages from '../extension/_locales/en/messages.json' with { type: 'json' };
import { readOperations } from './accounts.ts';
import { expect, type House } from './house.ts';

/** The window says paid; closed, it leaves a receipt page that turned to paid by itself; the books hold this amount as paid to the shop. */
export async function expectPaid({ stage }: House, { page, window, amountMinor }: { readonly page: Page; readonly window: Page; readonly amountMinor: bigint }): Promise<void> {
  await untilScreen(window, 'paid');
  await expect(window.getByTestId('money')).toHaveAttribute('data-money', 'taken');
  await whileItCloses(window, press(window, 'close'));
  await expect(page.locator('#receipt')).toHaveAttribute('data-state', 'paid');
  const operation = (await readOperations(stage.world)).at(-1);
  expect(operation).toMatchObject({ kind: 'pay', state: 'DONE', amountMinor });
  await expect(page.locator('#payment-number')).toHaveText(operation?.paymentId ?? '');
}

/** What a customer must never see, whatever went wrong. */
const INNARDS = /\bat \S+:\d+:\d+|\b(?:Type|Reference|Range|Syntax)?Error\b|\bundefined\b|\bNaN\b|\[object|node_modules|\bstack\b/;

/** The window says in words and in its money sentence that the card still has everything, with the code for support; not a word of our insides. */
export async function expectNothingTaken(window: Page, { screen, code, money = 'untouched' }: { readonly screen: 'error' | 'not-paid' | 'card'; readonly code?: FailureCode; readonly money?: 'untouched' | 'not-taken' }): Promise<void> {
  await untilScreen(window, screen);
  if (code !== undefined) await expect(window.getByTestId('failure-code')).toHaveText(code);
  await expect(window.getByTestId('money')).toHaveAttribute('data-money', money);
  await expect(window.getByTestId('money')).toHaveText(money === 'untouched' ? messages.moneyUntouched.message : messages.moneyNotTaken.message);
  expect(await window.locator('body').innerText()).not.toMatch(INNARDS);
}

/** The shop's page has heard how it ended, is usable again, and shows nothing of our insides either. */
export async function expectShopTold(page: Page, state: 'stopped' | 'failed' | 'missing', code?: FailureCode): Promise<void> {
  await expect(page.locator('#pay-message')).toHaveAttribute('data-state', state);
  if (code !== undefined) await expect(page.locator('#pay-message .code')).toHaveText(code);
  await expect(page.locator('#pay')).toBeEnabled();
  expect(await page.locator('#pay-message').innerText()).not.toMatch(INNARDS);
}

/** For an act that closes the window: its own promise may lose to the end of the page. */
export async function whileItCloses(window: Page, act: Promise<void>): Promise<void> {
  await Promise.all([window.waitForEvent('close'), act.catch(() => undefined)]);
}
