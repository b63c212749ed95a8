import { createHash } from 'node:crypto';
import { expect, test } from 'vitest';
import { parseDeployment } from './deployment.ts';
import { EXTENSION_ID, EXTENSION_KEY } from './extension-id.ts';
import { createManifest } from './manifest.ts';

const good = { trustAnchors: ['AAEC'], settlementOrigin: 'https://settlement.example:8443', enrolmentOrigin: 'https://information.example', version: '0.1.0' };

test('a deployment is taken as it is, and the balance is read unless it says otherwise', () => {
  expect(parseDeployment(good)).toEqual({ ...good, readBalance: true });
  expect(parseDeployment({ ...good, readBalance: false }).readBalance).toBe(false);
});

test.each([
  ['no trust anchor', { trustAnchors: [] }],
  ['an anchor that is not base64', { trustAnchors: ['AA-_'] }],
  ['http', { settlementOrigin: 'http://settlement.example' }],
  ['a path behind the origin', { settlementOrigin: 'https://settlement.example/' }],
  ['a name and password', { enrolmentOrigin: 'https://a:b@settlement.example' }],
  ['capital letters', { enrolmentOrigin: 'https://Settlement.example' }],
  ['a version with letters', { version: '0.1.0-beta' }],
  ['a field nobody knows', { trustedAnchors: ['AAEC'] }],
])('refused: %s', (_, change) => {
  expect(() => parseDeployment({ ...good, ...change })).toThrow(/^deployment: /);
});

test('the id is the one that Chromium derives from the key', () => {
  const digest = createHash('sha256').update(Buffer.from(EXTENSION_KEY, 'base64')).digest('hex').slice(0, 32);
  expect(Array.from(digest, (digit) => String.fromCharCode(97 + Number.parseInt(digit, 16))).join('')).toBe(EXTENSION_ID);
});

test('the manifest asks for two permissions, two hosts, and shows pages nothing', () => {
  const manifest = createManifest(parseDeployment(good));
  expect(manifest.permissions).toEqual(['nativeMessaging', 'storage']);
  expect(manifest.host_permissions).toEqual(['https://settlement.example/*', 'https://information.example/*']);
  expect(manifest.web_accessible_resources).toEqual([]);
  expect(manifest.content_scripts[0]?.all_frames).toBe(false);
  expect(manifest.content_security_policy.extension_pages).toContain("default-src 'none'; script-src 'self';");
  expect(manifest.content_security_policy.extension_pages).toContain('connect-src https://settlement.example:8443 https://information.example;');
});
