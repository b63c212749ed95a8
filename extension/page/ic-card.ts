/**
 * The script that a shop's page loads: `icCard.find()` looks for the payment extension, `icCard.pay(order)` asks it for a payment.
 * It carries signed messages between the extension and the shop, and is trusted with none of them.
 */
import { parseToPage, post, type Endpoint, type FromPage, type PageFailure, type Receipt, type ToPage } from './page-messages.ts';

/** Where the shop says who it is (protocol/messages/shop-statement.ts). */
const STATEMENT_PATH = '/.well-known/kessai-shop';
const ENDPOINTS: Record<Endpoint, string> = { decisions: '/kessai/decisions', 'bill-requests': '/kessai/bill-requests' };
const NOTICES = '/kessai/notices';

const FIND_LIMIT_MS = 1_500;
const FETCH_LIMIT_MS = 20_000;
/** The settlement tells the shop as well; the page waits for its own telling only this long. */
const NOTICE_LIMIT_MS = 5_000;

export interface Order {
  readonly lines: readonly { readonly productId: string; readonly quantity: number }[];
}

export interface Found {
  readonly version: string;
}

/** What `find` and `pay` reject with: a code of the extension, and a text for the customer. */
class IcCardError extends Error {
  readonly code: string;
  readonly text: string;
  /** The oldest version that this shop works with. */
  readonly neededVersion: string | undefined;

  constructor({ code, text }: PageFailure, neededVersion?: string) {
    super(`${code}: ${text}`);
    this.name = 'IcCardError';
    this.code = code;
    this.text = text;
    this.neededVersion = neededVersion;
  }
}

const japanese = () => document.documentElement.lang.toLowerCase().startsWith('ja');
const missing = (): PageFailure => ({
  code: 'extension/missing',
  text: japanese() ? 'このブラウザには IC カード決済の拡張機能がありません。インストールしてから、もう一度お試しください。' : 'The payment extension is not in this browser. Install it and try again.',
});
const unreachable = (): PageFailure => ({ code: 'shop/unreachable', text: japanese() ? 'お店が応答しません。接続を確認して、もう一度お試しください。' : 'The shop does not answer. Check your connection and try again.' });
const tooOld = (needed: string): PageFailure => ({
  code: 'shop/version',
  text: japanese() ? `このお店では、拡張機能のバージョン ${needed} 以降が必要です。更新してください。` : `This shop needs version ${needed} of the payment extension or a newer one. Update the extension and try again.`,
});

type Waiting = (answer: ToPage) => void;
const waiting = new Map<number, Waiting>();
let lastId = 0;
let introduction: Promise<Found> | undefined;
let pending: { readonly id: number; readonly receipt: Promise<Receipt> } | undefined;

function say(message: FromPage): void {
  post(window, 'to-extension', message);
}

async function fetchStatement(): Promise<string> {
  const response = await fetch(STATEMENT_PATH, { credentials: 'same-origin', signal: AbortSignal.timeout(FETCH_LIMIT_MS) });
  if (!response.ok) throw new Error(`status ${response.status}`);
  return (await response.text()).trim();
}

/** What this page was told by its own shop; only compared with the extension's version, so not verified here. */
function neededVersionOf(statement: string): string {
  const [, payload = ''] = statement.split('.');
  const { minimumVersion } = JSON.parse(atob(payload.replaceAll('-', '+').replaceAll('_', '/'))) as { minimumVersion: string };
  return minimumVersion;
}

function isOlder(version: string, needed: string): boolean {
  const [has, wants] = [version, needed].map((text) => text.split('.').map(Number));
  for (let i = 0; i < 3; i++) {
    const difference = (has?.[i] ?? 0) - (wants?.[i] ?? 0);
    if (difference !== 0) return difference < 0;
  }
  return false;
}

async function introduce(): Promise<Found> {
  const statement = await fetchStatement().catch(() => {
    throw new IcCardError(unreachable());
  });
  const needed = neededVersionOf(statement);
  const id = ++lastId;
  const version = await new Promise<string>((resolve, reject) => {
    const timer = setTimeout(() => {
      waiting.delete(id);
      reject(new IcCardError(missing(), needed));
    }, FIND_LIMIT_MS);
    waiting.set(id, (answer) => {
      if (answer.type !== 'introduced') return;
      clearTimeout(timer);
      resolve(answer.version);
    });
    say({ type: 'introduce', id, statement });
  });
  if (isOlder(version, needed)) throw new IcCardError(tooOld(needed), needed);
  return { version };
}

/** Rejects with `extension/missing`, `shop/version` (both with `neededVersion`) or `shop/unreachable`. */
function find(): Promise<Found> {
  if (window !== window.top) return Promise.reject(new IcCardError(missing()));
  introduction ??= introduce().catch((failure: unknown) => {
    // The next call asks again: the extension may have been installed meanwhile.
    introduction = undefined;
    throw failure;
  });
  return introduction;
}

async function carry(path: string, message: string, limitMs: number): Promise<string | null> {
  try {
    const response = await fetch(path, {
      method: 'POST',
      headers: { 'Content-Type': 'application/jose', Accept: 'application/jose' },
      body: message,
      credentials: 'same-origin',
      keepalive: true,
      signal: AbortSignal.timeout(limitMs),
    });
    // An error status carries a signed failure: the extension reads it, not we.
    return response.headers.get('Content-Type')?.startsWith('application/jose') === true ? (await response.text()).trim() : null;
  } catch {
    // No answer at all; the extension says so in its window.
    return null;
  }
}

/** The customer's window decides; resolves when the outcome is known, or known to be unknown for now. Call it in the handler of a click. */
async function startPayment(id: number, order: Order): Promise<Receipt> {
  await find();
  const receipt = await new Promise<Receipt>((resolve, reject) => {
    waiting.set(id, (answer) => {
      if (answer.type === 'settled') resolve(answer.receipt);
      else if (answer.type === 'failed') reject(new IcCardError(answer.failure));
      else if (answer.type === 'carry' && Object.hasOwn(ENDPOINTS, answer.endpoint)) {
        const { exchange, endpoint, message } = answer;
        void carry(ENDPOINTS[endpoint], message, FETCH_LIMIT_MS).then((carried) => say({ type: 'carried', id, exchange, message: carried }));
      }
    });
    say({ type: 'pay', id, order });
  }).finally(() => waiting.delete(id));
  if (receipt.outcome === 'paid' && receipt.notice !== undefined) await carry(NOTICES, receipt.notice, NOTICE_LIMIT_MS);
  return receipt;
}

function pay(order: Order): Promise<Receipt> {
  if (pending !== undefined) {
    // A second click while the window is open is the same payment: the window comes to the front.
    say({ type: 'pay', id: pending.id, order });
    return pending.receipt;
  }
  const id = ++lastId;
  const receipt = startPayment(id, order).finally(() => {
    pending = undefined;
  });
  pending = { id, receipt };
  return receipt;
}

window.addEventListener('message', (event) => {
  if (event.source !== window || event.origin !== window.location.origin) return;
  const message = parseToPage(event.data);
  if (message !== undefined) waiting.get(message.id)?.(message);
});

declare global {
  var icCard: { readonly find: typeof find; readonly pay: typeof pay };
}

globalThis.icCard = Object.freeze({ find, pay });
