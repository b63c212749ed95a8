import { expect, test } from 'vitest';
import { createPeerJudge } from './certificate-peer.ts';
import { makeAuthorities, makeShopLeaf, NOW_MS } from './certificate-testing.fixture.ts';
import { createCertificateVerifier } from './certificates.ts';

test('a peer is accepted for its role, from the intermediate that may give it, while it is valid', async () => {
  const ca = await makeAuthorities();
  let nowMs = NOW_MS;
  const verifier = createCertificateVerifier({ anchors: [ca.root.certificate], now: () => nowMs });
  const isShopOrBrowser = createPeerJudge({ verifier, intermediates: [ca.shops.certificate, ca.customers.certificate], roles: ['shop-server', 'customer-browser'] });
  const shop = await makeShopLeaf(ca, { role: 'shop-server' });
  expect(await isShopOrBrowser(Buffer.from(shop))).toBe(true);
  expect(await isShopOrBrowser(await makeShopLeaf(ca, { role: 'customer-browser', issuer: ca.customers }))).toBe(true);
  expect(await isShopOrBrowser(await makeShopLeaf(ca, { role: 'shop' }))).toBe(false);
  // Who may enrol customers makes itself a shop's server: OpenSSL would let it pass.
  expect(await isShopOrBrowser(await makeShopLeaf(ca, { role: 'shop-server', issuer: ca.customers }))).toBe(false);
  expect(await isShopOrBrowser(new Uint8Array([1, 2, 3]))).toBe(false);
  nowMs = NOW_MS + 3_600_000;
  expect(await isShopOrBrowser(shop)).toBe(false);
});
