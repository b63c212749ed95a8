import { expect, test } from 'vitest';
import { parsePageSender } from './sender.ts';

const OURS = 'cldjloiamlmpedfcahkjlebbemjcehcf';
const good = { id: OURS, origin: 'https://shop.example', url: 'https://shop.example/cart?x=1', frameId: 0, documentId: 'D', tab: { id: 7 } };

test('the origin of a page is the browser\'s word', () => {
  expect(parsePageSender(good, OURS)).toEqual({ tabId: 7, documentId: 'D', origin: 'https://shop.example' });
  expect(parsePageSender({ ...good, origin: undefined, documentId: undefined }, OURS)).toEqual({ tabId: 7, documentId: undefined, origin: 'https://shop.example' });
});

test.each([
  ['another extension', { id: 'a'.repeat(32) }],
  ['a frame inside the page', { frameId: 3 }],
  ['no frame', { frameId: undefined }],
  ['no tab', { tab: undefined }],
  ['a sandboxed page', { origin: 'null' }],
  ['an origin unlike the address', { origin: 'https://other.example' }],
  ['a page without TLS', { origin: 'http://shop.example', url: 'http://shop.example/' }],
  ['one of our own pages', { origin: `chrome-extension://${OURS}`, url: `chrome-extension://${OURS}/window.html` }],
])('nobody: %s', (_, change) => {
  expect(parsePageSender({ ...good, ...change }, OURS)).toBeUndefined();
});
