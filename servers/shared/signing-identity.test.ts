import { createPrivateKey, generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { issueLeaf, issueRoot } from '#protocol/certificate-issue.ts';
import { encodePem } from '#protocol/certificate-pem.ts';
import { createCertificateVerifier } from '#protocol/certificates.ts';
import { createSigningIdentity, loadSigningIdentity } from './signing-identity.ts';

const P256 = { name: 'ECDSA', namedCurve: 'P-256' } as const;
const VALIDITY = { notBeforeMs: Date.UTC(2026, 0), notAfterMs: Date.UTC(2027, 0) };
const folder = mkdtempSync(join(tmpdir(), 'kessai-signing-'));
let root: Uint8Array<ArrayBuffer>;
let keyPem: string;
let chainPem: string;

beforeAll(async () => {
  const [rootKeys, keys] = [await crypto.subtle.generateKey(P256, true, ['sign', 'verify']), await crypto.subtle.generateKey(P256, true, ['sign', 'verify'])];
  root = await issueRoot({ ...VALIDITY, keyPair: rootKeys, commonName: 'Root', pathLength: 0 });
  const leaf = await issueLeaf({ ...VALIDITY, issuer: { certificate: root, privateKey: rootKeys.privateKey }, publicKey: keys.publicKey, role: 'settlement', commonName: 'settlement' });
  keyPem = encodePem('PRIVATE KEY', new Uint8Array(await crypto.subtle.exportKey('pkcs8', keys.privateKey)));
  chainPem = encodePem('CERTIFICATE', leaf);
});

afterAll(() => rmSync(folder, { recursive: true }));

test('what it signs verifies with the certificate of its chain, and its key cannot be read', async () => {
  const file = join(folder, 'signing.pem');
  writeFileSync(file, keyPem + chainPem);
  const identity = await loadSigningIdentity(file);
  const certificate = await createCertificateVerifier({ anchors: [root], now: null }).verifyChain(identity.chain, 'settlement');
  expect(identity.thumbprint).toBe(certificate.thumbprint);
  const [algorithm, message] = [{ name: 'ECDSA', hash: 'SHA-256' }, new TextEncoder().encode('message')];
  const signature = await crypto.subtle.sign(algorithm, identity.privateKey, message);
  expect(await crypto.subtle.verify(algorithm, certificate.publicKey, signature, message)).toBe(true);
  await expect(crypto.subtle.exportKey('pkcs8', identity.privateKey)).rejects.toThrow();
});

test('a key in the older SEC 1 form is read too', async () => {
  const sec1 = createPrivateKey(keyPem).export({ type: 'sec1', format: 'pem' }) as string;
  expect((await createSigningIdentity({ keyPem: sec1, chainPem })).thumbprint).toBe((await createSigningIdentity({ keyPem, chainPem })).thumbprint);
});

test('another key, another curve, no certificate and no key are refused', async () => {
  const pem = (namedCurve: string): string => generateKeyPairSync('ec', { namedCurve }).privateKey.export({ type: 'pkcs8', format: 'pem' }) as string;
  await expect(createSigningIdentity({ keyPem: pem('prime256v1'), chainPem })).rejects.toThrow('does not belong');
  await expect(createSigningIdentity({ keyPem: pem('secp384r1'), chainPem })).rejects.toThrow('not a P-256 key');
  await expect(createSigningIdentity({ keyPem, chainPem: '' })).rejects.toThrow('no certificate');
  await expect(createSigningIdentity({ keyPem: '', chainPem })).rejects.toThrow();
  await expect(loadSigningIdentity(join(folder, 'absent.pem'))).rejects.toMatchObject({ code: 'ENOENT' });
});
