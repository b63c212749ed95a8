import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { type Bytes, concatBytes } from './bytes.ts';
import { issueLeaf } from './certificate-issue.ts';
import { OPENSSL_LEAF, OPENSSL_REQUEST } from './certificate-openssl.fixture.ts';
import { parseCertificate } from './certificate-parse.ts';
import { encodePem, parsePem } from './certificate-pem.ts';
import { createSigningKeyPair, encodeCertificateRequest, verifyCertificateRequest } from './certificate-request.ts';
import { makeAuthorities, NOW_MS, VALIDITY } from './certificate-testing.fixture.ts';
import { createCertificateVerifier } from './certificates.ts';

let request: Bytes;
let keyPair: Awaited<ReturnType<typeof createSigningKeyPair>>;

beforeAll(async () => {
  keyPair = await createSigningKeyPair();
  request = await encodeCertificateRequest(keyPair);
});

describe('certificate requests', () => {
  test('a request made by OpenSSL proves its key', async () => {
    const { publicKey } = await verifyCertificateRequest(parsePem('CERTIFICATE REQUEST', OPENSSL_REQUEST)[0]!);
    const spki = new Uint8Array(await crypto.subtle.exportKey('spki', publicKey));
    expect(spki).toEqual(parseCertificate(parsePem('CERTIFICATE', OPENSSL_LEAF)[0]!).publicKeyInfo);
  });

  test('the private key cannot be taken out of the platform', async () => {
    expect(keyPair.privateKey.extractable).toBe(false);
    await expect(crypto.subtle.exportKey('pkcs8', keyPair.privateKey)).rejects.toThrow();
  });

  test('from request to certificate: what the customer signs verifies with the certificate issued', async () => {
    const { root, customers } = await makeAuthorities();
    const { publicKey } = await verifyCertificateRequest(await encodeCertificateRequest(keyPair, 'a wish'));
    const leaf = await issueLeaf({ ...VALIDITY, issuer: customers, publicKey, role: 'customer', commonName: '4711' });
    const verifier = createCertificateVerifier({ anchors: [root.certificate], now: () => NOW_MS });
    const customer = await verifier.verifyChain([leaf, customers.certificate], 'customer');
    expect(customer).toMatchObject({ commonName: '4711', origins: [] });
    expect(customer).not.toHaveProperty('organization');
    const [message, algorithm] = [new TextEncoder().encode('message'), { name: 'ECDSA', hash: 'SHA-256' }];
    const signature = await crypto.subtle.sign(algorithm, keyPair.privateKey, message);
    expect(await crypto.subtle.verify(algorithm, customer.publicKey, signature, message)).toBe(true);
  });

  test('a request for somebody else\'s key is refused', async () => {
    const stranger = await createSigningKeyPair();
    const stolen = await encodeCertificateRequest({ publicKey: stranger.publicKey, privateKey: keyPair.privateKey });
    await expect(verifyCertificateRequest(stolen)).rejects.toMatchObject({ code: 'message/certificate' });
  });

  test('one altered byte, anywhere, is noticed', async () => {
    await fc.assert(fc.asyncProperty(fc.nat({ max: request.length - 1 }), fc.integer({ min: 1, max: 255 }), async (at, mask) => {
      const altered = request.slice();
      altered[at]! ^= mask;
      await expect(verifyCertificateRequest(altered)).rejects.toMatchObject({ code: 'message/certificate' });
    }), { numRuns: 300 });
  });

  test('short, long and huge requests are refused', async () => {
    for (const length of [0, 1, 10, request.length - 1]) await expect(verifyCertificateRequest(request.slice(0, length))).rejects.toMatchObject({ code: 'message/certificate' });
    await expect(verifyCertificateRequest(concatBytes(request, new Uint8Array(1)))).rejects.toMatchObject({ code: 'message/certificate' });
    await expect(verifyCertificateRequest(new Uint8Array(2049))).rejects.toMatchObject({ code: 'message/too-large' });
  });

  test('another curve is refused', async () => {
    const p384 = await crypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-384' }, true, ['sign', 'verify']);
    await expect(verifyCertificateRequest(await encodeCertificateRequest(p384))).rejects.toMatchObject({ code: 'message/certificate' });
  });
});

describe('PEM', () => {
  test('PEM of OpenSSL is written again as it was', () => {
    expect(encodePem('CERTIFICATE', parsePem('CERTIFICATE', OPENSSL_LEAF)[0]!)).toBe(OPENSSL_LEAF);
  });

  test('bytes of every length come back, with any text around and other blocks between them', () => {
    fc.assert(fc.property(fc.array(fc.uint8Array({ minLength: 1, maxLength: 200 }), { maxLength: 3 }), (values) => {
      const text = values.map((value) => `subject=/CN=x\n${encodePem('CERTIFICATE', value)}${encodePem('PRIVATE KEY', value)}`).join('\n');
      expect(parsePem('CERTIFICATE', text)).toEqual(values);
    }));
  });

  test.each(['AAA', 'A', 'AAAA=', 'AAA=A===', 'AA==', 'AB==', ''])('the base64 %j is refused unless it is canonical', (base64) => {
    const read = () => parsePem('CERTIFICATE', `-----BEGIN CERTIFICATE-----\n${base64}\n-----END CERTIFICATE-----\n`);
    if (base64 === 'AA==') expect(read()).toEqual([new Uint8Array([0])]);
    else expect(read).toThrow(RangeError);
  });
});
