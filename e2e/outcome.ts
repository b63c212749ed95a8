/** What everybody must hold to be true at the end: the window, the shop's page, the books. */
import type { Page } from 'playwright';
import { press, untilScreen } from '#world/checkout.ts';
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

/** For an act that closes the window: its own promise may lose to the end of the page. */
export async function whileItCloses(window: Page, act: Promise<void>): Promise<void> {
  await Promise.all([window.waitForEvent('close'), act.catch(() => undefined)]);
}
