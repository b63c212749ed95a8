import { beforeEach, expect, test, vi } from 'vitest';
import { issueLeaf } from '#protocol/certificate-issue.ts';
import { makeAuthorities, makeShopLeaf, VALIDITY } from '#protocol/certificate-testing.fixture.ts';
import { certificateThumbprint } from '#protocol/certificates.ts';
import { shopStatement } from '#protocol/messages/shop-statement.ts';
import { createSigner, signMessage } from '#protocol/signed.ts';

const OURS = 'cldjloiamlmpedfcahkjlebbemjcehcf';
const PAYMENT = '5f0c2d1e-8a67-4b8e-9a53-0d3f9d3f7c11';
const OTHER_PAYMENT = '6f0c2d1e-8a67-4b8e-9a53-0d3f9d3f7c12';
const ORDER = { lines: [{ productId: 'sencha', quantity: 1 }] };

type Answer = Promise<{ version?: string | null; failure?: { code: string; text: string } | null }> | undefined;

/** The parts of the browser that the background uses, kept over the module's life and emptied for each test. */
const fake = vi.hoisted(() => ({
  onMessage: undefined as ((message: unknown, sender: unknown) => unknown) | undefined,
  onRemoved: undefined as ((windowId: number) => void) | undefined,
  session: new Map<string, unknown>(),
  windows: new Set<number>(),
  opened: [] as string[],
  focused: [] as number[],
  lastWindow: 0,
  anchors: [] as Uint8Array<ArrayBuffer>[],
}));

vi.mock('../built-in.ts', () => ({ DEPLOYMENT: { version: '1.2.3' }, TRUST_ANCHORS: fake.anchors }));
vi.mock('webextension-polyfill', async () => {
  const { default: messages } = (await import('../messages.fixture.ts')).polyfillWith('en') as { default: object };
  const later = <T>(value: T): Promise<T> => new Promise((resolve) => setImmediate(resolve, value));
  return {
    default: {
      ...messages,
      runtime: {
        id: 'cldjloiamlmpedfcahkjlebbemjcehcf',
        onMessage: { addListener: (listener: typeof fake.onMessage) => (fake.onMessage = listener) },
        onInstalled: { addListener: () => undefined },
      },
      tabs: { create: () => later({}) },
      storage: {
        session: {
          get: (key?: string) => later(Object.fromEntries(key === undefined ? fake.session : fake.session.has(key) ? [[key, fake.session.get(key)]] : [])),
          set: (items: Record<string, unknown>) => {
            for (const [key, value] of Object.entries(items)) fake.session.set(key, structuredClone(value));
            return later(undefined);
          },
          remove: (keys: string[]) => {
            for (const key of keys) fake.session.delete(key);
            return later(undefined);
          },
        },
      },
      windows: {
        create: ({ url }: { url: string }) => {
          const id = ++fake.lastWindow;
          fake.windows.add(id);
          fake.opened.push(url);
          return later({ id });
        },
        update: (id: number) => {
          if (!fake.windows.has(id)) return Promise.reject(new Error('no such window'));
          fake.focused.push(id);
          return later({});
        },
        remove: (id: number) => {
          fake.windows.delete(id);
          return later(undefined);
        },
        onRemoved: { addListener: (listener: (windowId: number) => void) => (fake.onRemoved = listener) },
      },
    },
  };
});

const authorities = await makeAuthorities();
fake.anchors.push(authorities.root.certificate);
await import('./background.ts');

async function statementFor(origin: string, leafOrigin = origin): Promise<string> {
  const leaf = await makeShopLeaf(authorities, { origins: [leafOrigin] });
  const signer = createSigner({ privateKey: authorities.leafKeys.privateKey, chain: [leaf, authorities.shops.certificate], thumbprint: await certificateThumbprint(leaf) });
  return signMessage(shopStatement, { shopId: 'hanamaru', origin, minimumVersion: '0.1.0' }, signer, { introduce: true });
}

const SHOP = 'https://shop.example';
const statement = await statementFor(SHOP);
const page = { id: OURS, origin: SHOP, url: `${SHOP}/cart`, frameId: 0, documentId: 'D1', tab: { id: 7 } };
const say = (message: unknown, sender: unknown = page): Answer => fake.onMessage?.(message, sender) as Answer;
const pay = (change: object = {}): Answer => say({ type: 'pay', paymentId: PAYMENT, statement, order: ORDER, ...change });

beforeEach(() => {
  fake.session.clear();
  fake.windows.clear();
  fake.opened.length = 0;
  fake.focused.length = 0;
});

test('a page learns our version only by a statement of its own origin', async () => {
  expect(await say({ type: 'introduce', statement })).toEqual({ version: '1.2.3' });
  expect(await say({ type: 'introduce', statement }, { ...page, origin: 'https://thief.example', url: 'https://thief.example/' })).toEqual({ version: null });
});

test('a statement whose certificate names another origin, or of a customer, or forged, introduces nobody', async () => {
  const customer = await issueLeaf({ ...VALIDITY, issuer: authorities.customers, publicKey: authorities.leafKeys.publicKey, role: 'customer', commonName: 'x' });
  const signer = createSigner({ privateKey: authorities.leafKeys.privateKey, chain: [customer, authorities.customers.certificate], thumbprint: await certificateThumbprint(customer) });
  const byCustomer = await signMessage(shopStatement, { shopId: 'hanamaru', origin: SHOP, minimumVersion: '0.1.0' }, signer, { introduce: true });
  const forged = `${statement.slice(0, -10)}${statement.slice(-10) === 'AAAAAAAAAA' ? 'BBBBBBBBBB' : 'AAAAAAAAAA'}`;
  for (const wrong of [await statementFor(SHOP, 'https://other.example'), byCustomer, forged, 'x']) expect(await say({ type: 'introduce', statement: wrong })).toEqual({ version: null });
});

test.each([
  ['a frame inside the page', { type: 'introduce', statement }, { ...page, frameId: 1 }],
  ['another extension', { type: 'introduce', statement }, { ...page, id: 'x' }],
  ['a message of no kind of ours', { type: 'other' }, page],
  ['a field too many', { type: 'introduce', statement, origin: SHOP }, page],
])('not answered at all: %s', (_, message, sender) => {
  expect(say(message, sender)).toBeUndefined();
});

test('a payment opens one window, with what the browser says about the page', async () => {
  expect(await pay()).toEqual({ failure: null });
  expect(fake.opened).toEqual([`/window/window.html?tab=7&payment=${PAYMENT}`]);
  expect(fake.session.get('payment.tab.7')).toMatchObject({ paymentId: PAYMENT, origin: SHOP, documentId: 'D1', windowId: fake.lastWindow, order: ORDER, over: false });
});

test('two clicks at once open one window, and the second one brings it to the front', async () => {
  const [first, second] = await Promise.all([pay(), pay({ paymentId: OTHER_PAYMENT })]);
  expect(first).toEqual({ failure: null });
  expect(second).toMatchObject({ failure: { code: 'payment/in-progress' } });
  expect(fake.opened).toHaveLength(1);
  expect(fake.focused).toEqual([fake.lastWindow]);
});

test('a window that shows an end makes room for the next payment; one that was closed is no obstacle', async () => {
  await pay();
  const first = fake.lastWindow;
  fake.session.set('payment.tab.7', { ...(fake.session.get('payment.tab.7') as object), over: true });
  expect(await pay({ paymentId: OTHER_PAYMENT })).toEqual({ failure: null });
  expect(fake.windows.has(first)).toBe(false);
  fake.windows.clear();
  expect(await pay()).toEqual({ failure: null });
  expect(fake.opened).toHaveLength(3);
});

test('when a window closes, its payment is forgotten', async () => {
  await pay();
  fake.onRemoved?.(fake.lastWindow);
  await vi.waitFor(() => expect(fake.session.size).toBe(0));
});

test.each([
  ['message/malformed', { order: { lines: [] } }],
  ['message/malformed', { order: { lines: [{ productId: 'sencha', quantity: 1, price: 1 }] } }],
  ['shop/origin', { statement: 'x' }],
])('refused with %s, and no window: %j', async (code, change) => {
  expect(await pay(change)).toMatchObject({ failure: { code } });
  expect(fake.opened).toEqual([]);
});
