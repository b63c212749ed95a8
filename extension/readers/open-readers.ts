/** Opens the pairing page in a tab, in front: choosers work in tabs, and not in every kind of window. */
import browser from 'webextension-polyfill';
import { READERS_PAGE } from '../manifest.ts';

export async function openReadersPage(): Promise<void> {
  const { windowId } = await browser.tabs.create({ url: `/${READERS_PAGE}` });
  // The payment window has no tabs: the new one is in the window behind it.
  if (windowId !== undefined) await browser.windows.update(windowId, { focused: true });
}
