import * as asn1js from 'asn1js';
import fc from 'fast-check';
import { AttributeTypeAndValue, BasicConstraints, type Certificate, Extension, RelativeDistinguishedNames } from 'pkijs';
import { beforeAll, describe, expect, test } from 'vitest';
import { type Bytes, concatBytes } from './bytes.ts';
import { type Issuer, issueIntermediate, issueLeaf, issueRoot } from './certificate-issue.ts';
import { OPENSSL_INTERMEDIATE, OPENSSL_LEAF, OPENSSL_ROOT } from './certificate-openssl.fixture.ts';
import { parsePem } from './certificate-pem.ts';
import { makeAuthorities, makeKeyPair, makeShopLeaf, NOW_MS, resign, type TestAuthorities, VALIDITY } from './certificate-testing.fixture.ts';
import { type CertificateVerifier, createCertificateVerifier, extendedKeyUsages, type Role, ROLES } from './certificates.ts';

let ca: TestAuthorities;
let leaf: Bytes;
let verifier: CertificateVerifier;

beforeAll(async () => {
  ca = await makeAuthorities();
  leaf = await makeShopLeaf(ca);
  verifier = createCertificateVerifier({ anchors: [ca.root.certificate], now: () => NOW_MS });
});

const refusal = (detail: string): unknown => expect.objectContaining({ code: 'message/certificate', message: expect.stringContaining(detail) as unknown });

function refuses(chain: readonly Bytes[], role: Role, detail: string, by = verifier): Promise<void> {
  return expect(by.verifyChain(chain, role)).rejects.toEqual(refusal(detail));
}

async function resignedLeaf(change: (certificate: Certificate) => void): Promise<Bytes[]> {
  return [await resign(leaf, ca.shops.privateKey, change), ca.shops.certificate];
}

async function resignedIntermediate(change: (certificate: Certificate) => void): Promise<Bytes[]> {
  return [leaf, await resign(ca.shops.certificate, ca.root.privateKey, change)];
}

function withoutExtension(id: string, replacement?: Extension) {
  return (certificate: Certificate): void => {
    certificate.extensions = [...(certificate.extensions ?? []).filter(({ extnID }) => extnID !== id), ...(replacement === undefined ? [] : [replacement])];
  };
}

function nameWith(...attributes: [type: string, value: string][]): RelativeDistinguishedNames {
  return new RelativeDistinguishedNames({ typesAndValues: attributes.map(([type, value]) => new AttributeTypeAndValue({ type, value: new asn1js.Utf8String({ value }) })) });
}

describe('a good chain', () => {
  test('a chain made by OpenSSL, with a Japanese legal name, is verified', async () => {
    const [der, intermediate, root] = [OPENSSL_LEAF, OPENSSL_INTERMEDIATE, OPENSSL_ROOT].map((text) => parsePem('CERTIFICATE', text)[0]!);
    const shop = await createCertificateVerifier({ anchors: [root!], now: () => Date.UTC(2030, 0) }).verifyChain([der!, intermediate!], 'shop');
    expect(shop).toMatchObject({ role: 'shop', commonName: 'hanamaru', organization: '書店 花丸', origins: ['https://shop.example'], serialNumber: '462F384C185B92C13B38510D4C09E4AEB436BF4C', notBeforeMs: Date.UTC(2026, 10, 22, 12, 49, 3), notAfterMs: Date.UTC(2081, 7, 25, 12, 49, 3) });
  });

  test('the answer says what the certificate says', async () => {
    const shop = await verifier.verifyChain([leaf, ca.shops.certificate], 'shop');
    expect(shop).toMatchObject({ role: 'shop', commonName: 'hanamaru', organization: 'Hanamaru Books', origins: ['https://shop.example'], ...VALIDITY, der: leaf });
    expect(shop.thumbprint).toMatch(/^[\w-]{43}$/);
    const message = new TextEncoder().encode('message');
    const signature = await crypto.subtle.sign({ name: 'ECDSA', hash: 'SHA-256' }, ca.leafKeys.privateKey, message);
    expect(await crypto.subtle.verify({ name: 'ECDSA', hash: 'SHA-256' }, shop.publicKey, signature, message)).toBe(true);
  });

  test('a leaf that the root issued itself is verified', async () => {
    const settlement = await makeShopLeaf(ca, { issuer: ca.root, role: 'settlement' });
    expect(await verifier.verifyChain([settlement], 'settlement')).toMatchObject({ role: 'settlement' });
  });

  test('of two roots with one name the one that signed is found', async () => {
    const other = await makeAuthorities();
    const both = createCertificateVerifier({ anchors: [other.root.certificate, ca.root.certificate], now: null });
    expect(await both.verifyChain([leaf, ca.shops.certificate], 'shop')).toMatchObject({ role: 'shop' });
  });

  test('an unknown extension that is not critical changes nothing', async () => {
    const extension = new Extension({ extnID: '1.3.6.1.4.1.32473.9', critical: false, extnValue: new asn1js.Null().toBER() });
    expect(await verifier.verifyChain(await resignedLeaf(withoutExtension('none', extension)), 'shop')).toMatchObject({ role: 'shop' });
  });
});

describe('time', () => {
  const at = (nowMs: number) => createCertificateVerifier({ anchors: [ca.root.certificate], now: () => nowMs });

  test('both ends of the validity belong to it', async () => {
    for (const nowMs of Object.values(VALIDITY)) expect(await at(nowMs).verifyChain([leaf, ca.shops.certificate], 'shop')).toMatchObject({ role: 'shop' });
  });

  test('before and after its validity a certificate is refused', async () => {
    await refuses([leaf, ca.shops.certificate], 'shop', 'not yet valid', at(VALIDITY.notBeforeMs - 1));
    await refuses([leaf, ca.shops.certificate], 'shop', 'expired', at(VALIDITY.notAfterMs + 1));
  });

  test('an expired intermediate is refused as well', async () => {
    const longer = await makeShopLeaf(ca, { notAfterMs: NOW_MS + 3_600_000 });
    await refuses([longer, ca.shops.certificate], 'shop', 'expired', at(NOW_MS + 120_000));
  });

  test('without a clock no time is a reason to refuse', async () => {
    const old = await makeShopLeaf(ca, { notBeforeMs: 0, notAfterMs: 1000 });
    const clockless = createCertificateVerifier({ anchors: [ca.root.certificate], now: null });
    const { thumbprint } = await clockless.verifyChain([old, ca.shops.certificate], 'shop');
    expect(clockless.known(thumbprint)?.commonName).toBe('hanamaru');
  });

  test('a certificate that is remembered expires all the same', async () => {
    let nowMs = NOW_MS;
    const ageing = createCertificateVerifier({ anchors: [ca.root.certificate], now: () => nowMs });
    const { thumbprint } = await ageing.verifyChain([leaf, ca.shops.certificate], 'shop');
    expect(ageing.known(thumbprint)?.thumbprint).toBe(thumbprint);
    nowMs = VALIDITY.notAfterMs + 1;
    expect(ageing.known(thumbprint)).toBeUndefined();
    await refuses([leaf, ca.shops.certificate], 'shop', 'expired', ageing);
  });
});

describe('the path', () => {
  test('a self-signed leaf, a stranger\'s root and a missing intermediate are refused', async () => {
    const strangers = await makeAuthorities();
    const selfSigned = await resign(leaf, ca.leafKeys.privateKey, (certificate) => { certificate.issuer = certificate.subject; });
    await refuses([selfSigned], 'shop', 'not issued by a root that we trust');
    await refuses([await makeShopLeaf(strangers), strangers.shops.certificate], 'shop', 'not issued by a root that we trust');
    await refuses([leaf], 'shop', 'not issued by a root that we trust');
    await refuses([leaf, ca.customers.certificate], 'shop', 'a role that the intermediate may not give');
  });

  test('the root does not belong into the chain, neither as leaf nor at the end', async () => {
    await refuses([ca.root.certificate], 'shop', 'an authority where a leaf belongs');
    await refuses([leaf, ca.shops.certificate, ca.root.certificate], 'shop', 'self-issued');
  });

  test('a leaf cannot issue', async () => {
    const issuer = { certificate: leaf, privateKey: ca.leafKeys.privateKey };
    await refuses([await makeShopLeaf(ca, { issuer }), leaf, ca.shops.certificate], 'shop', 'no authority');
  });

  test('basic constraints and key usage must both make an authority', async () => {
    const noAuthority = new Extension({ extnID: '2.5.29.19', critical: true, extnValue: new BasicConstraints({ cA: false }).toSchema().toBER() });
    await refuses(await resignedIntermediate(withoutExtension('2.5.29.19', noAuthority)), 'shop', 'no authority');
    await refuses(await resignedIntermediate(withoutExtension('2.5.29.19')), 'shop', 'no authority');
    await refuses(await resignedIntermediate(withoutExtension('2.5.29.15')), 'shop', 'no authority');
  });

  test('an intermediate of path length 0 cannot have another below it', async () => {
    const keys = await makeKeyPair();
    const below: Issuer = { certificate: await issueIntermediate({ ...VALIDITY, issuer: ca.shops, publicKey: keys.publicKey, commonName: 'Below', roles: ['shop'] }), privateKey: keys.privateKey };
    await refuses([await makeShopLeaf(ca, { issuer: below }), below.certificate, ca.shops.certificate], 'shop', 'path longer');
  });

  test('a root of path length 0 cannot have an intermediate', async () => {
    const short = await makeAuthorities(0);
    await refuses([await makeShopLeaf(short), short.shops.certificate], 'shop', 'not issued by a root', createCertificateVerifier({ anchors: [short.root.certificate], now: null }));
  });

  test('a root must be an authority that may issue, whoever put it among the anchors', async () => {
    const noAuthority = new Extension({ extnID: '2.5.29.19', critical: true, extnValue: new asn1js.Sequence().toBER() });
    for (const change of [withoutExtension('2.5.29.19', noAuthority), withoutExtension('2.5.29.15')]) {
      const anchor = await resign(ca.root.certificate, ca.root.privateKey, change);
      await refuses([leaf, ca.shops.certificate], 'shop', 'not issued by a root', createCertificateVerifier({ anchors: [anchor], now: null }));
    }
  });

  test('names must chain even when the keys do', async () => {
    const renamed = await resignedIntermediate((certificate) => { certificate.subject = nameWith(['2.5.4.3', 'Test shopz']); });
    await refuses(renamed, 'shop', 'not issued by the next certificate');
  });

  test('a chain of none, of too many or of too long certificates is refused unread', async () => {
    await refuses([], 'shop', 'a chain of 0');
    await refuses([leaf, leaf, leaf, leaf], 'shop', 'a chain of 4');
    await refuses([new Uint8Array(4097), ca.shops.certificate], 'shop', 'too long');
  });
});

describe('roles', () => {
  test('each role needs its own certificate: none passes for another', async () => {
    const roles = Object.keys(ROLES) as Role[];
    for (const role of roles) {
      const own = await makeShopLeaf(ca, { issuer: ca.root, role });
      for (const asked of roles) {
        if (asked === role) expect(await verifier.verifyChain([own], asked)).toMatchObject({ role });
        else await refuses([own], asked, `not a certificate for ${asked}`);
      }
    }
  });

  test('who registers customers cannot make a shop', async () => {
    await refuses([await makeShopLeaf(ca, { issuer: ca.customers }), ca.customers.certificate], 'shop', 'a role that the intermediate may not give');
  });

  test('an intermediate that names no usages may give none', async () => {
    await refuses(await resignedIntermediate(withoutExtension('2.5.29.37')), 'shop', 'a role that the intermediate may not give');
  });

  test('a leaf without key usage or extended key usage is refused', async () => {
    await refuses(await resignedLeaf(withoutExtension('2.5.29.15')), 'shop', 'may not sign');
    await refuses(await resignedLeaf(withoutExtension('2.5.29.37')), 'shop', 'not a certificate for shop');
  });

  test('our usages stand under one arc; TLS roles have those of TLS beside them', () => {
    expect(extendedKeyUsages('shop')).toEqual(['1.3.6.1.4.1.32473.142307.1.1']);
    expect(extendedKeyUsages('security-server')).toEqual(['1.3.6.1.4.1.32473.142307.2.2', '1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2']);
  });
});

describe('the leaf', () => {
  test('an unknown critical extension, and one that stands twice, are refused', async () => {
    const unknown = new Extension({ extnID: '1.3.6.1.4.1.32473.9', critical: true, extnValue: new asn1js.Null().toBER() });
    await refuses(await resignedLeaf(withoutExtension('none', unknown)), 'shop', 'critical extension 1.3.6.1.4.1.32473.9 is unknown');
    await refuses(await resignedIntermediate(withoutExtension('none', unknown)), 'shop', 'is unknown');
    await refuses(await resignedLeaf((certificate) => certificate.extensions?.push(certificate.extensions[1]!)), 'shop', 'stands twice');
  });

  test('another curve, for its key or its issuer\'s, is refused', async () => {
    const p384 = await crypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-384' }, true, ['sign', 'verify']);
    await expect(makeShopLeaf(ca, { publicKey: p384.publicKey })).rejects.toThrow('not a P-256 key');
    const key = new Uint8Array(await crypto.subtle.exportKey('spki', p384.publicKey));
    await refuses(await resignedLeaf((certificate) => { certificate.subjectPublicKeyInfo.fromSchema(asn1js.fromBER(key).result); }), 'shop', 'not a P-256 key');
  });

  test('another hash in the signature is refused', async () => {
    const { Certificate } = await import('pkijs');
    const certificate = Certificate.fromBER(leaf);
    await certificate.sign(ca.shops.privateKey, 'SHA-384');
    await refuses([new Uint8Array(certificate.toSchema(true).toBER()), ca.shops.certificate], 'shop', 'not signed with ES256');
  });

  test('a shop has a legal name and at least one origin', async () => {
    const bare = { ...VALIDITY, issuer: ca.shops, publicKey: ca.leafKeys.publicKey, role: 'shop' as const, commonName: 'hanamaru' };
    await refuses([await issueLeaf({ ...bare, organization: 'Hanamaru Books' }), ca.shops.certificate], 'shop', 'without a legal name or an origin');
    await refuses([await issueLeaf({ ...bare, origins: ['https://shop.example'] }), ca.shops.certificate], 'shop', 'without a legal name or an origin');
  });

  test.each(['http://shop.example', 'https://shop.example/', 'https://shop.example:443', 'https://SHOP.example', 'https://user@shop.example', 'shop.example', 'javascript:alert(1)'])('an origin written %s is refused', async (origin) => {
    await refuses([await makeShopLeaf(ca, { origins: ['https://shop.example', origin] }), ca.shops.certificate], 'shop', 'no https origin');
  });

  test.each(['', 'x'.repeat(65), 'Hanamaru\u202eskooB', 'Hana\u0000maru', 'Hana\u200bmaru', 'Hana\nmaru'])('the legal name %j cannot be shown and is refused', async (organization) => {
    await expect(makeShopLeaf(ca, { organization })).rejects.toThrow('cannot be shown');
    await refuses(await resignedLeaf((certificate) => { certificate.subject = nameWith(['2.5.4.3', 'hanamaru'], ['2.5.4.10', organization]); }), 'shop', 'cannot be shown');
  });

  test('a certificate without a common name is refused', async () => {
    await refuses(await resignedLeaf((certificate) => { certificate.subject = nameWith(['2.5.4.10', 'Hanamaru Books']); }), 'shop', 'without a name');
  });

  test('two legal names are refused', async () => {
    const twoNames = nameWith(['2.5.4.3', 'hanamaru'], ['2.5.4.10', 'Hanamaru Books'], ['2.5.4.10', 'Other']);
    await refuses(await resignedLeaf((certificate) => { certificate.subject = twoNames; }), 'shop', 'two names of one kind');
  });
});

describe('bytes', () => {
  test('trailing bytes, missing bytes and nothing at all are refused', async () => {
    await refuses([concatBytes(leaf, new Uint8Array([0])), ca.shops.certificate], 'shop', '');
    await refuses([leaf, concatBytes(ca.shops.certificate, new Uint8Array([0]))], 'shop', '');
    for (const length of [0, 1, 2, 4, 100, leaf.length - 1]) await refuses([leaf.subarray(0, length), ca.shops.certificate], 'shop', '');
  });

  test('one altered byte, anywhere in the leaf, is noticed', async () => {
    await fc.assert(fc.asyncProperty(fc.nat({ max: leaf.length - 1 }), fc.integer({ min: 1, max: 255 }), async (at, mask) => {
      const altered = leaf.slice();
      altered[at]! ^= mask;
      await refuses([altered, ca.shops.certificate], 'shop', '');
    }), { numRuns: 400 });
  });

  test('every single bit of the leaf\'s first and last 16 bytes counts', async () => {
    const places = [...Array(16).keys()].flatMap((at) => [at, leaf.length - 1 - at]);
    for (const at of places) for (let bit = 0; bit < 8; bit++) {
      const altered = leaf.slice();
      altered[at]! ^= 1 << bit;
      await refuses([altered, ca.shops.certificate], 'shop', '');
    }
  });

  test('arbitrary bytes are refused and never crash', async () => {
    await fc.assert(fc.asyncProperty(fc.uint8Array({ maxLength: 300 }), async (bytes) => { await refuses([concatBytes(bytes)], 'customer', ''); }), { numRuns: 200 });
  });
});

describe('memory', () => {
  test('a chain is remembered by all of its bytes and its role', async () => {
    const own = createCertificateVerifier({ anchors: [ca.root.certificate], now: () => NOW_MS });
    const first = await own.verifyChain([leaf, ca.shops.certificate], 'shop');
    expect(await own.verifyChain([leaf.slice(), ca.shops.certificate], 'shop')).toBe(first);
    await refuses([leaf, ca.shops.certificate], 'customer', 'not a certificate for customer', own);
    await refuses([leaf, ca.customers.certificate], 'shop', 'may not give', own);
  });

  test('the least recently used leaf is forgotten first', async () => {
    const small = createCertificateVerifier({ anchors: [ca.root.certificate], now: () => NOW_MS, capacity: 2 });
    const chains = await Promise.all([1, 2, 3].map(async (n) => [await makeShopLeaf(ca, { commonName: `shop ${n}` }), ca.shops.certificate]));
    const [one, two] = [await small.verifyChain(chains[0]!, 'shop'), await small.verifyChain(chains[1]!, 'shop')];
    await small.verifyChain(chains[0]!, 'shop');
    await small.verifyChain(chains[2]!, 'shop');
    expect(small.known(one.thumbprint)).toBe(one);
    expect(small.known(two.thumbprint)).toBeUndefined();
  });

  test('what was refused is not known', async () => {
    const own = createCertificateVerifier({ anchors: [ca.root.certificate], now: () => NOW_MS });
    const { thumbprint } = await verifier.verifyChain([leaf, ca.shops.certificate], 'shop');
    await refuses([leaf, ca.shops.certificate], 'operator', 'not a certificate for operator', own);
    expect(own.known(thumbprint)).toBeUndefined();
  });

  test('buffers that the caller changes afterwards change nothing', async () => {
    const own = createCertificateVerifier({ anchors: [ca.root.certificate], now: null });
    const buffer = leaf.slice();
    const verifying = own.verifyChain([buffer, ca.shops.certificate], 'shop');
    buffer.fill(0);
    expect((await verifying).der).toEqual(leaf);
  });
});

test('a root is issued with its name, its dates and a self-made signature', async () => {
  const keyPair = await makeKeyPair();
  const far = { notBeforeMs: NOW_MS, notAfterMs: Date.UTC(2060, 0) };
  const root = await issueRoot({ ...far, keyPair, commonName: 'Root', pathLength: 0 });
  const own = createCertificateVerifier({ anchors: [root], now: () => Date.UTC(2055, 0) });
  const issued = await issueLeaf({ ...far, issuer: { certificate: root, privateKey: keyPair.privateKey }, publicKey: keyPair.publicKey, role: 'web-server', commonName: 'shop.localhost', dnsNames: ['shop.localhost'] });
  expect(await own.verifyChain([issued], 'web-server')).toMatchObject({ commonName: 'shop.localhost', notAfterMs: far.notAfterMs });
});
