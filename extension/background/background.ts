/** Decides which page may know of the extension and which may open a payment window; holds no payment and may die at any time. */
import * as v from 'valibot';
import browser from 'webextension-polyfill';
import { createCertificateVerifier } from '#protocol/certificates.ts';
import { publicFailure, type FailureCode } from '#protocol/failure.ts';
import { orderSchema } from '#protocol/messages/decision.ts';
import { verifyShopStatement } from '#protocol/shopping.ts';
import { DEPLOYMENT, TRUST_ANCHORS } from '../built-in.ts';
import type { Introduced, PayStarted, ToBackground } from '../content/link-messages.ts';
import { failureText } from '../language.ts';
import { OPTIONS_PAGE, PAYMENT_PAGE } from '../manifest.ts';
import { parsePaymentRecord, recordKey, recordsIn, type PaymentRecord } from './payment-record.ts';
import { parsePageSender, type BrowserSender, type PageSender } from './sender.ts';

const WINDOW_SIZE = { width: 440, height: 700 };

// A customer's clock is never a reason to refuse.
const verifier = createCertificateVerifier({ anchors: TRUST_ANCHORS, now: null });

const messageSchema = v.variant('type', [
  v.strictObject({ type: v.literal('introduce'), statement: v.string() }),
  v.strictObject({ type: v.literal('pay'), paymentId: v.pipe(v.string(), v.uuid()), statement: v.string(), order: v.unknown() }),
  v.strictObject({ type: v.literal('focus'), paymentId: v.pipe(v.string(), v.uuid()) }),
]);

async function isShopOf({ origin }: PageSender, statement: string): Promise<boolean> {
  return verifyShopStatement(statement, origin, { verifier }).then(
    () => true,
    // Forged, foreign or stale: the page is told nothing, so the reason is nobody's.
    () => false,
  );
}

/** Requests of one tab one after the other, so that two clicks cannot open two windows. */
const turns = new Map<number, Promise<unknown>>();

function inTurn<T>(tabId: number, act: () => Promise<T>): Promise<T> {
  const before = turns.get(tabId) ?? Promise.resolve();
  const mine = before.then(act, act);
  turns.set(tabId, mine);
  const done = () => turns.get(tabId) === mine && turns.delete(tabId);
  mine.then(done, done);
  return mine;
}

async function recordOf(tabId: number): Promise<PaymentRecord | undefined> {
  const key = recordKey(tabId);
  return parsePaymentRecord((await browser.storage.session.get(key))[key]);
}

function store(record: PaymentRecord): Promise<void> {
  return browser.storage.session.set({ [recordKey(record.tabId)]: record });
}

function refuse(code: FailureCode): PayStarted {
  return { failure: { ...publicFailure(code), text: failureText(code) } };
}

/** Brings a window to the front; false if it is gone. */
async function focus(windowId: number | null): Promise<boolean> {
  if (windowId === null) return false;
  return browser.windows.update(windowId, { focused: true, drawAttention: true }).then(
    () => true,
    () => false,
  );
}

async function startPayment(sender: PageSender, request: Extract<ToBackground, { type: 'pay' }>): Promise<PayStarted> {
  const { paymentId, statement } = request;
  const order = v.safeParse(orderSchema, request.order);
  if (!order.success) return refuse('message/malformed');
  if (!(await isShopOf(sender, statement))) return refuse('shop/origin');
  const earlier = await recordOf(sender.tabId);
  if (earlier !== undefined && !earlier.over && (await focus(earlier.windowId))) return refuse('payment/in-progress');
  const leftOver = earlier?.windowId ?? null;
  if (leftOver !== null) await browser.windows.remove(leftOver).catch(() => undefined); // gone already
  const { tabId, documentId, origin } = sender;
  const record: PaymentRecord = { paymentId, tabId, documentId, windowId: null, origin, statement, order: order.output, over: false };
  await store(record);
  const opened = await browser.windows.create({ url: `/${PAYMENT_PAGE}?tab=${tabId}&payment=${paymentId}`, type: 'popup', ...WINDOW_SIZE });
  await store({ ...record, windowId: opened.id ?? null });
  return { failure: null };
}

async function answer(message: ToBackground, sender: PageSender): Promise<Introduced | PayStarted> {
  switch (message.type) {
    case 'introduce':
      return { version: (await isShopOf(sender, message.statement)) ? DEPLOYMENT.version : null };
    case 'pay':
      return inTurn(sender.tabId, () => startPayment(sender, message));
    case 'focus': {
      const record = await recordOf(sender.tabId);
      if (record?.paymentId === message.paymentId) await focus(record.windowId);
      return { failure: null };
    }
  }
}

browser.runtime.onMessage.addListener((message: unknown, sender: BrowserSender) => {
  const parsed = v.safeParse(messageSchema, message);
  const page = parsePageSender(sender, browser.runtime.id);
  if (!parsed.success || page === undefined) return undefined;
  return answer(parsed.output, page);
});

browser.windows.onRemoved.addListener((windowId) => {
  void (async () => {
    const gone = recordsIn(await browser.storage.session.get()).filter((record) => record.windowId === windowId);
    await browser.storage.session.remove(gone.map(({ tabId }) => recordKey(tabId)));
  })();
});

browser.runtime.onInstalled.addListener(({ reason }) => {
  // First run: the three steps that make this browser able to pay.
  // In a tab of its own: openOptionsPage() would take over an empty one that somebody is about to use.
  if (reason === 'install') void browser.tabs.create({ url: `/${OPTIONS_PAGE}` });
});
