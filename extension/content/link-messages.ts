/** What content script, background and payment window say to each other inside the extension. */
import type { Endpoint, PageFailure, Receipt } from '../page/page-messages.ts';

/** Content script to background. The sender's tab, frame and origin are the browser's word, never fields of these. */
export type ToBackground =
  | { readonly type: 'introduce'; readonly statement: string }
  | { readonly type: 'pay'; readonly paymentId: string; readonly statement: string; readonly order: unknown }
  | { readonly type: 'focus'; readonly paymentId: string };

export interface Introduced {
  /** Null: the page has shown nothing that would let it know of us. */
  readonly version: string | null;
}

/** Null: the window is open, or was open already for this payment. */
export interface PayStarted {
  readonly failure: PageFailure | null;
}

/** Payment window to content script. */
export type FromWindow =
  | { readonly type: 'carry'; readonly exchange: number; readonly endpoint: Endpoint; readonly message: string }
  /** What the page is told if the window goes away from here on. */
  | { readonly type: 'provisional'; readonly receipt: Receipt | null }
  | { readonly type: 'settled'; readonly receipt: Receipt }
  | { readonly type: 'failed'; readonly failure: PageFailure };

/** Content script to payment window. */
export interface ToWindow {
  readonly exchange: number;
  readonly message: string | null;
}

const PORT_PREFIX = 'payment:';

/** The name of the port that the window opens to the document that asked for this payment. */
export function portName(paymentId: string): string {
  return PORT_PREFIX + paymentId;
}
