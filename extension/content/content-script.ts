/**
 * On every https page, and silent there: it answers nothing until the page has shown a statement that the background has verified
 * for the origin that the browser names. Then it carries a payment's order in, its messages through and its receipt out.
 */
import { parseFromPage, post, type PageFailure, type Receipt, type ToPage } from '../page/page-messages.ts';
import { portName, type FromWindow, type Introduced, type PayStarted, type ToBackground, type ToWindow } from './link-messages.ts';

// Not the polyfill: it is larger than all of this, and both browsers answer these calls with promises.
declare const browser: typeof chrome | undefined;
const { runtime, i18n } = typeof browser === 'undefined' ? chrome : browser;

/** A page that shows more statements than this is looking for something. */
const MAX_INTRODUCTIONS = 8;
/** Starting the window, and reloading it. */
const WINDOW_LIMIT_MS = 15_000;

interface Payment {
  readonly pageId: number;
  readonly paymentId: string;
  port: chrome.runtime.Port | undefined;
  provisional: Receipt | null;
  timer: ReturnType<typeof setTimeout> | undefined;
}

let introductions = 0;
let statement: string | undefined;
let payment: Payment | undefined;

function tell(message: ToPage): void {
  post(window, 'to-page', message);
}

function failureOf(code: string): PageFailure {
  return { code, text: i18n.getMessage(`failure_${code.replaceAll(/[^a-z]/g, '_')}`) };
}

async function ask<Answer>(message: ToBackground): Promise<Answer> {
  return runtime.sendMessage<ToBackground, Answer>(message);
}

async function introduce(pageId: number, shown: string): Promise<void> {
  if (++introductions > MAX_INTRODUCTIONS) return;
  const { version } = await ask<Introduced>({ type: 'introduce', statement: shown });
  // Silence, not a refusal: an answer of any kind would tell the page that we are here.
  if (version === null) return;
  statement = shown;
  tell({ type: 'introduced', id: pageId, version });
}

async function pay(pageId: number, order: unknown): Promise<void> {
  if (statement === undefined) return;
  const refuse = (code: string): void => tell({ type: 'failed', id: pageId, failure: failureOf(code) });
  if (!navigator.userActivation.isActive) {
    refuse('shop/no-click');
    return;
  }
  if (payment?.pageId === pageId) return ask({ type: 'focus', paymentId: payment.paymentId });
  if (payment !== undefined) {
    refuse('payment/in-progress');
    return;
  }
  const started: Payment = { pageId, paymentId: crypto.randomUUID(), port: undefined, provisional: null, timer: undefined };
  payment = started;
  waitForWindow(started);
  const { failure } = await ask<PayStarted>({ type: 'pay', paymentId: started.paymentId, statement, order });
  if (failure !== null) finish(started, { type: 'failed', id: pageId, failure });
}

/** The window must connect, or connect again after a reload, in time; else the payment is over for the page. */
function waitForWindow(waiting: Payment): void {
  clearTimeout(waiting.timer);
  waiting.timer = setTimeout(() => {
    const { pageId, provisional } = waiting;
    finish(waiting, provisional === null ? { type: 'failed', id: pageId, failure: failureOf('payment/aborted') } : { type: 'settled', id: pageId, receipt: provisional });
  }, waiting.port === undefined ? WINDOW_LIMIT_MS : RELOAD_LIMIT_MS);
}
const RELOAD_LIMIT_MS = 3_000;

function finish(finished: Payment, word: ToPage): void {
  if (payment !== finished) return;
  payment = undefined;
  clearTimeout(finished.timer);
  tell(word);
}

function hear(current: Payment, message: FromWindow): void {
  const { pageId: id } = current;
  switch (message.type) {
    case 'carry':
      return tell({ type: 'carry', id, exchange: message.exchange, endpoint: message.endpoint, message: message.message });
    case 'provisional':
      current.provisional = message.receipt;
      return;
    case 'settled':
      return finish(current, { type: 'settled', id, receipt: message.receipt });
    case 'failed':
      return finish(current, { type: 'failed', id, failure: message.failure });
  }
}

runtime.onConnect.addListener((port) => {
  const current = payment;
  if (current === undefined || port.name !== portName(current.paymentId)) return port.disconnect();
  clearTimeout(current.timer);
  current.port = port;
  port.onMessage.addListener((message: FromWindow) => hear(current, message));
  port.onDisconnect.addListener(() => {
    if (current.port === port && payment === current) waitForWindow(current);
  });
});

window.addEventListener('message', (event) => {
  if (event.source !== window || event.origin !== window.location.origin) return;
  const message = parseFromPage(event.data);
  if (message === undefined) return;
  const { type, id } = message;
  if (type === 'introduce') introduce(id, message.statement).catch(ignoreGone);
  else if (type === 'pay') pay(id, message.order).catch(ignoreGone);
  else if (payment?.pageId === id) payment.port?.postMessage({ exchange: message.exchange, message: message.message } satisfies ToWindow);
});

/** The extension was updated or removed under this page: there is nobody to ask any more, and nothing to tell the page. */
function ignoreGone(): void {
  if (payment !== undefined && payment.port === undefined) waitForWindow(payment);
}
