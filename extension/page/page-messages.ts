/**
 * What a shop's page and the content script say to each other by window.postMessage: shapes and limits, checked by hand, because
 * the content script runs on every https page and must stay small. Both sides treat the other's words as a stranger's.
 */

/** Beside protocol/signed.ts: a signed message is never longer. */
const MAX_MESSAGE_CHARACTERS = 32 * 1024;
/** An order of 50 lines as JSON. */
const MAX_ORDER_CHARACTERS = 8 * 1024;

/** Where the page carries a signed message to. */
export type Endpoint = 'decisions' | 'bill-requests';

export interface Receipt {
  readonly outcome: 'paid' | 'not-paid' | 'unknown';
  readonly orderId?: string;
  readonly billId?: string;
  readonly paymentId?: string;
  /** The settlement's signed notice (ACN); present when paid. */
  readonly notice?: string;
}

export interface PageFailure {
  readonly code: string;
  readonly text: string;
}

export type FromPage =
  | { readonly type: 'introduce'; readonly id: number; readonly statement: string }
  | { readonly type: 'pay'; readonly id: number; readonly order: unknown }
  | { readonly type: 'carried'; readonly id: number; readonly exchange: number; readonly message: string | null };

export type ToPage =
  | { readonly type: 'introduced'; readonly id: number; readonly version: string }
  | { readonly type: 'carry'; readonly id: number; readonly exchange: number; readonly endpoint: Endpoint; readonly message: string }
  | { readonly type: 'settled'; readonly id: number; readonly receipt: Receipt }
  | { readonly type: 'failed'; readonly id: number; readonly failure: PageFailure };

/** The envelope's one key; its value says whom it is for. */
export const ENVELOPE = 'icCard';

export function isSignedMessage(value: unknown): value is string {
  return typeof value === 'string' && value.length <= MAX_MESSAGE_CHARACTERS && /^[\w-]+\.[\w-]+\.[\w-]{86}$/.test(value);
}

/** A message of a page, or undefined: whatever it is then, it is not for us. */
export function parseFromPage(data: unknown): FromPage | undefined {
  const message = open(data, 'to-extension');
  if (message === undefined || !isCount(message.id)) return undefined;
  const { type, id, statement, order, exchange } = message;
  switch (type) {
    case 'introduce':
      return isSignedMessage(statement) ? { type, id, statement } : undefined;
    case 'pay':
      return isSmall(order) ? { type, id, order } : undefined;
    case 'carried':
      return isCount(exchange) ? { type, id, exchange, message: isSignedMessage(message.message) ? message.message : null } : undefined;
    default:
      return undefined;
  }
}

/** The extension's word to the page, or undefined. The page's script is the only one that reads it. */
export function parseToPage(data: unknown): ToPage | undefined {
  const message = open(data, 'to-page');
  if (message === undefined || !isCount(message.id)) return undefined;
  return ['introduced', 'carry', 'settled', 'failed'].includes(message.type as string) ? (message as unknown as ToPage) : undefined;
}

/** Posts to this window only, and only while it shows this origin. */
export function post(window: Window, to: 'to-page' | 'to-extension', message: ToPage | FromPage): void {
  window.postMessage({ [ENVELOPE]: to, message }, window.location.origin);
}

function open(data: unknown, to: string): Record<string, unknown> | undefined {
  const envelope = data as { [ENVELOPE]?: unknown; message?: unknown } | null;
  if (typeof envelope !== 'object' || envelope?.[ENVELOPE] !== to) return undefined;
  return typeof envelope.message === 'object' && envelope.message !== null ? (envelope.message as Record<string, unknown>) : undefined;
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 1;
}

/** Whether it is an order is decided in the background; here only that it is plain data of a bounded size. */
function isSmall(value: unknown): boolean {
  try {
    return JSON.stringify(value).length <= MAX_ORDER_CHARACTERS;
  } catch {
    // Cycles and bigints are no order either.
    return false;
  }
}
