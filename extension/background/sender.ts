/** Who sent a message, in the browser's words. */

/** The part of `runtime.MessageSender` that is used; Chromium has `origin`, Firefox `url` only. */
export interface BrowserSender {
  readonly id?: string | undefined;
  readonly origin?: string | undefined;
  readonly url?: string | undefined;
  readonly frameId?: number | undefined;
  readonly documentId?: string | undefined;
  readonly tab?: { readonly id?: number | undefined } | undefined;
}

export interface PageSender {
  readonly tabId: number;
  readonly documentId: string | undefined;
  readonly origin: string;
}

/** The top frame of a tab with an https page, in our own content script; undefined for everybody else. */
export function parsePageSender(sender: BrowserSender, extensionId: string): PageSender | undefined {
  const tabId = sender.tab?.id;
  if (sender.id !== extensionId || sender.frameId !== 0 || tabId === undefined || sender.url === undefined) return undefined;
  const { origin } = new URL(sender.url);
  // A page that was given another origin than its address has (a sandbox, say) is nobody.
  if (sender.origin !== undefined && sender.origin !== origin) return undefined;
  return origin.startsWith('https://') ? { tabId, documentId: sender.documentId, origin } : undefined;
}
