/** Opens the page "My card" in a tab, in front. */
import browser from 'webextension-polyfill';
import { CARD_PAGE } from '../manifest.ts';

export async function openCardPageInTab(): Promise<void> {
  const { windowId } = await browser.tabs.create({ url: `/${CARD_PAGE}` });
  // The payment window has no tabs: the new one is in the window behind it.
  if (windowId !== undefined) await browser.windows.update(windowId, { focused: true });
}
