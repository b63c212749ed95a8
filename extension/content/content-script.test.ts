import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { Receipt } from '../page/page-messages.ts';
import { portName, type FromWindow, type ToBackground } from './link-messages.ts';

const ORIGIN = 'https://shop.example';
const SIGNATURE = 'A'.repeat(86);
const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
const STATEMENT = `${part({ alg: 'ES256' })}.${part({ minimumVersion: '0.1.0' })}.${SIGNATURE}`;
const ANSWER = `e30.e30.${SIGNATURE}`;
const ORDER = { lines: [{ productId: 'sencha', quantity: 1 }] };

interface Port {
  readonly name: string;
  readonly sent: unknown[];
  readonly say: (message: FromWindow) => void;
  readonly leave: () => void;
  refused: boolean;
}

/** A page with our content script (unless left out) and the shop's script, a background and a payment window that the test plays. */
async function openPage({ version = '0.1.0', extension = true, active = true }: { version?: string | null; extension?: boolean; active?: boolean } = {}) {
  vi.resetModules();
  const listeners = new Set<(event: unknown) => void>();
  const posted: unknown[] = [];
  const fakeWindow: Record<string, unknown> = {
    location: { origin: ORIGIN },
    addEventListener: (_: string, listener: (event: unknown) => void) => void listeners.add(listener),
    postMessage: (data: unknown, target: string) => {
      expect(target).toBe(ORIGIN);
      const copy: unknown = structuredClone(data);
      posted.push(copy);
      queueMicrotask(() => {
        for (const listener of listeners) listener({ source: fakeWindow, origin: ORIGIN, data: copy });
      });
    },
  };
  fakeWindow['top'] = fakeWindow;
  const asked: ToBackground[] = [];
  let connected: (port: unknown) => void = () => undefined;
  const runtime = {
    sendMessage: (message: ToBackground) => {
      asked.push(message);
      return Promise.resolve(message.type === 'introduce' ? { version } : { failure: null });
    },
    onConnect: { addListener: (listener: (port: unknown) => void) => (connected = listener) },
  };
  const fetched: [string, string | undefined][] = [];
  vi.stubGlobal('window', fakeWindow);
  vi.stubGlobal('document', { documentElement: { lang: 'en' } });
  vi.stubGlobal('navigator', { userActivation: { isActive: active } });
  vi.stubGlobal('chrome', { runtime, i18n: { getMessage: (key: string) => key } });
  vi.stubGlobal('fetch', (path: string, init?: { body?: string }) => {
    fetched.push([path, init?.body]);
    return Promise.resolve(path.startsWith('/.well-known/') ? new Response(STATEMENT) : new Response(ANSWER, { status: 409, headers: { 'Content-Type': 'application/jose' } }));
  });
  if (extension) await import('./content-script.ts');
  await import('../page/ic-card.ts');

  /** The payment window connects, as tabs.connect() does. */
  const connect = (name: string): Port => {
    let hear: (message: FromWindow) => void = () => undefined;
    let gone: () => void = () => undefined;
    const port: Port = { name, sent: [], say: (message) => hear(message), leave: () => gone(), refused: false };
    connected({
      name,
      postMessage: (message: unknown) => port.sent.push(message),
      disconnect: () => (port.refused = true),
      onMessage: { addListener: (listener: typeof hear) => (hear = listener) },
      onDisconnect: { addListener: (listener: typeof gone) => (gone = listener) },
    });
    return port;
  };
  const paymentId = (): string => asked.flatMap((message) => (message.type === 'pay' ? [message.paymentId] : []))[0] ?? '';
  const started = () => vi.waitFor(() => expect(paymentId()).not.toBe(''));
  return { asked, posted, fetched, connect, paymentId, started, post: fakeWindow['postMessage'] as (data: unknown, target: string) => void };
}

beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] }));
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

test('a shop finds the extension and its version', async () => {
  const { asked } = await openPage();
  expect(await icCard.find()).toEqual({ version: '0.1.0' });
  await icCard.find();
  expect(asked).toHaveLength(1);
});

test('a page whose statement does not verify cannot tell the extension from none at all', async () => {
  const traces: unknown[] = [];
  for (const setting of [{ version: null }, { extension: false }]) {
    const { posted } = await openPage(setting);
    const found = expect(icCard.find()).rejects.toMatchObject({ code: 'extension/missing', neededVersion: '0.1.0' });
    await vi.advanceTimersByTimeAsync(1_500);
    await found;
    traces.push(posted);
  }
  expect(traces[0]).toEqual(traces[1]);
});

test('nothing is answered before a statement was verified, and nobody is asked', async () => {
  const { asked, posted, post } = await openPage();
  post({ icCard: 'to-extension', message: { type: 'pay', id: 1, order: ORDER } }, ORIGIN);
  post({ icCard: 'to-extension', message: { type: 'carried', id: 1, exchange: 1, message: ANSWER } }, ORIGIN);
  await vi.advanceTimersByTimeAsync(60_000);
  expect(asked).toEqual([]);
  expect(posted).toHaveLength(2);
});

test('a page that shows one statement after the other is not listened to for long', async () => {
  const { asked, post } = await openPage({ version: null });
  for (let id = 1; id <= 30; id++) post({ icCard: 'to-extension', message: { type: 'introduce', id, statement: STATEMENT } }, ORIGIN);
  await vi.advanceTimersByTimeAsync(0);
  expect(asked).toHaveLength(8);
});

test('an extension too old for the shop is named, with the version that is needed', async () => {
  await openPage({ version: '0.0.9' });
  await expect(icCard.find()).rejects.toMatchObject({ code: 'shop/version', neededVersion: '0.1.0' });
});

test('without a click of the customer nothing starts', async () => {
  const { asked } = await openPage({ active: false });
  await expect(icCard.pay(ORDER)).rejects.toMatchObject({ code: 'shop/no-click' });
  expect(asked.map(({ type }) => type)).toEqual(['introduce']);
});

test('messages are carried to the shop, signed refusals too; the paid receipt brings the notice to the shop', async () => {
  const { connect, paymentId, started, fetched } = await openPage();
  const paid = icCard.pay(ORDER);
  await started();
  const port = connect(portName(paymentId()));
  port.say({ type: 'carry', exchange: 1, endpoint: 'decisions', message: 'decision' });
  await vi.waitFor(() => expect(port.sent).toEqual([{ exchange: 1, message: ANSWER }]));
  const receipt: Receipt = { outcome: 'paid', orderId: 'order-1', billId: 'bill-0001', paymentId: paymentId(), notice: 'notice' };
  port.say({ type: 'settled', receipt });
  expect(await paid).toEqual(receipt);
  expect(fetched.slice(1)).toEqual([['/kessai/decisions', 'decision'], ['/kessai/notices', 'notice']]);
});

test('a second click is the same payment, and brings its window to the front', async () => {
  const { connect, paymentId, started, asked } = await openPage();
  const first = icCard.pay(ORDER);
  await started();
  const second = icCard.pay(ORDER);
  expect(second).toBe(first);
  await vi.waitFor(() => expect(asked.at(-1)).toEqual({ type: 'focus', paymentId: paymentId() }));
  connect(portName(paymentId())).say({ type: 'settled', receipt: { outcome: 'not-paid' } });
  expect(await first).toEqual({ outcome: 'not-paid' });
});

test('only the window of this very payment is connected', async () => {
  const { connect, started } = await openPage();
  void icCard.pay(ORDER).catch(() => undefined);
  await started();
  expect(connect(portName('5f0c2d1e-8a67-4b8e-9a53-0d3f9d3f7c11')).refused).toBe(true);
});

test('a window that never comes, or goes away early, is a payment that was stopped', async () => {
  for (const comes of [false, true]) {
    const { connect, paymentId, started } = await openPage();
    const stopped = expect(icCard.pay(ORDER)).rejects.toMatchObject({ code: 'payment/aborted' });
    await started();
    if (comes) connect(portName(paymentId())).leave();
    await vi.advanceTimersByTimeAsync(comes ? 3_000 : 15_000);
    await stopped;
  }
});

test('a window that goes away with the debit under way leaves the outcome unknown, never "not paid"', async () => {
  const { connect, paymentId, started } = await openPage();
  const unknown = icCard.pay(ORDER);
  await started();
  const port = connect(portName(paymentId()));
  port.say({ type: 'provisional', receipt: { outcome: 'unknown', paymentId: paymentId() } });
  port.leave();
  await vi.advanceTimersByTimeAsync(3_000);
  expect(await unknown).toEqual({ outcome: 'unknown', paymentId: paymentId() });
});

test('a window that is loaded again goes on where it was', async () => {
  const { connect, paymentId, started } = await openPage();
  const paid = icCard.pay(ORDER);
  await started();
  connect(portName(paymentId())).leave();
  await vi.advanceTimersByTimeAsync(2_000);
  const port = connect(portName(paymentId()));
  await vi.advanceTimersByTimeAsync(60_000);
  port.say({ type: 'settled', receipt: { outcome: 'not-paid' } });
  expect(await paid).toEqual({ outcome: 'not-paid' });
});
