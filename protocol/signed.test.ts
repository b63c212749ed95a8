import { CompactSign } from 'jose';
import fc from 'fast-check';
import * as v from 'valibot';
import { beforeAll, describe, expect, it } from 'vitest';
import { encodeBase64url, encodeHex, parseBase64url, parseHex, type Bytes } from './bytes.ts';
import { issueLeaf } from './certificate-issue.ts';
import { makeAuthorities, NOW_MS, VALIDITY, type TestAuthorities } from './certificate-testing.fixture.ts';
import { certificateThumbprint, createCertificateVerifier, type CertificateVerifier, type Role } from './certificates.ts';
import { Failure } from './failure.ts';
import { byCertificate, byKnownSender, byOneTimeKey, createOneTimeSigner, createSigner, defineMessage, digestOf, encodeText, MAX_JWS_CHARACTERS, parseHeader, sha256, signMessage, verifyMessage, type Signer } from './signed.ts';

const letter = defineMessage('kessai-test-letter', v.strictObject({ text: v.string(), count: v.number() }), 'bill/signature');
const postcard = defineMessage('kessai-test-postcard', v.strictObject({ text: v.string(), count: v.number() }));
const BODY = { text: 'to whom it may concern', count: 3 };

/** Order of P-256 (SEC 2, 2.4.2). */
const N = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;

interface Party {
  readonly signer: Signer;
  readonly privateKey: CryptoKeyPair['privateKey'];
  readonly leaf: Bytes;
}
type CryptoKeyPair = Awaited<ReturnType<typeof newKeys>>;

let authorities: TestAuthorities;
let verifier: CertificateVerifier;
let shop: Party;
let otherShop: Party;
let customer: Party;

const newKeys = () => crypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, ['sign', 'verify']);

async function party(role: Role, commonName: string): Promise<Party> {
  const keys = await newKeys();
  const issuer = role === 'shop' ? authorities.shops : authorities.customers;
  const named = role === 'shop' ? { organization: 'Hanamaru Books', origins: ['https://shop.example'] } : {};
  const leaf = await issueLeaf({ ...VALIDITY, issuer, publicKey: keys.publicKey, role, commonName, ...named });
  const signer = createSigner({ privateKey: keys.privateKey, chain: [leaf, issuer.certificate], thumbprint: await certificateThumbprint(leaf) });
  return { signer, privateKey: keys.privateKey, leaf };
}

beforeAll(async () => {
  authorities = await makeAuthorities();
  verifier = createCertificateVerifier({ anchors: [authorities.root.certificate], now: () => NOW_MS });
  shop = await party('shop', 'hanamaru');
  otherShop = await party('shop', 'other');
  customer = await party('customer', '4711');
});

const send = (signer = shop.signer, type = letter) => signMessage(type, BODY, signer, { introduce: true });
const verify = (jws: string) => verifyMessage(letter, jws, byCertificate(verifier, 'shop'));
const codeOf = (act: Promise<unknown>): Promise<string> =>
  act.then(() => 'accepted', (thrown: unknown) => (thrown instanceof Failure ? thrown.code : Promise.reject(thrown as Error)));

/** A JWS with any header and payload whatever, properly signed. */
const forge = (header: object, payload: Bytes, key = shop.privateKey) => new CompactSign(payload).setProtectedHeader({ alg: 'ES256', ...header }).sign(key);
const shopHeader = () => ({ typ: letter.typ, 'x5t#S256': shop.signer.thumbprint, x5c: shop.signer.chain.map((der) => Buffer.from(der).toString('base64')) });
const withHeader = (jws: string, header: string) => [encodeBase64url(encodeText(header)), ...jws.split('.').slice(1)].join('.');
const headerOf = (jws: string) => Buffer.from(jws.split('.')[0]!, 'base64url').toString();

describe('a signed message', () => {
  it('is verified, with its sender and the digest of its signing input', async () => {
    const jws = await send();
    const { body, sender, digest } = await verify(jws);
    expect(body).toEqual(BODY);
    expect(sender.certificate).toMatchObject({ role: 'shop', commonName: 'hanamaru' });
    expect(digest).toBe(await sha256(encodeText(jws.split('.').slice(0, 2).join('.'))));
  });

  it('counts as made and as verified, once each, and not when it is refused', async () => {
    const tally: string[] = [];
    const signer = createSigner({ privateKey: shop.privateKey, chain: shop.signer.chain, thumbprint: shop.signer.thumbprint }, ({ kind, typ }) => void tally.push(`${kind} ${typ}`));
    const jws = await send(signer);
    await verifyMessage(letter, jws, byCertificate(verifier, 'shop'), ({ kind, typ }) => void tally.push(`${kind} ${typ}`));
    expect(tally).toEqual(['made kessai-test-letter', 'verified kessai-test-letter']);
    await codeOf(verifyMessage(letter, jws.slice(0, -3) + 'AAA', byCertificate(verifier, 'shop'), () => void tally.push('never')));
    expect(tally).toHaveLength(2);
  });

  it('of one type does not verify as another (payment-rules 18)', async () => {
    expect(await codeOf(verify(await send(shop.signer, postcard)))).toBe('message/wrong-type');
  });

  it('with any character changed is refused, wherever it is', async () => {
    const jws = await send();
    const [header = '', payload = '', signature = ''] = jws.split('.');
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=+/ é';
    // The last two characters of the signature hold spare bits: they may be spelled otherwise and say the same.
    await fc.assert(fc.asyncProperty(fc.integer({ min: 0, max: jws.length - 3 }), fc.integer({ min: 0, max: alphabet.length - 1 }), async (at, by) => {
      fc.pre(jws[at] !== alphabet[by]);
      const code = await codeOf(verify(jws.slice(0, at) + alphabet[by]! + jws.slice(at + 1)));
      const expected = at > header.length && at !== header.length + 1 + payload.length ? ['bill/signature', 'message/malformed'] : ['bill/signature', 'message/malformed', 'message/certificate', 'message/wrong-type'];
      expect(expected).toContain(code);
    }), { numRuns: 300 });
    expect(signature).toHaveLength(86);
  });

  it.each([['the payload', 1], ['the signature', 2], ['the header', 0]])('with %s of another message is refused', async (_what, part) => {
    const [one, other] = [await send(), await signMessage(letter, { ...BODY, count: 4 }, otherShop.signer, { introduce: true })];
    const mixed = one.split('.').map((text, i) => (i === part ? other.split('.')[i]! : text)).join('.');
    expect(await codeOf(verify(mixed))).toBe('bill/signature');
  });

  it('has a digest that no change of its signature changes: (r, n - s) verifies too, and is the same message', async () => {
    const jws = await send();
    const at = jws.lastIndexOf('.') + 1;
    const signature = parseBase64url(jws.slice(at));
    const s = BigInt(`0x${encodeHex(signature.slice(32))}`);
    const twisted = parseHex(encodeHex(signature.slice(0, 32)) + (N - s).toString(16).padStart(64, '0'));
    const other = jws.slice(0, at) + encodeBase64url(twisted);
    expect(other).not.toBe(jws);
    const [first, second] = [await verify(jws), await verify(other)];
    expect(second.digest).toBe(first.digest);
    expect(await digestOf(other)).toBe(await digestOf(jws));
  });
});

describe('the header', () => {
  it.each([
    ['alg none', { alg: 'none' }],
    ['alg HS256', { alg: 'HS256' }],
    ['alg ES384', { alg: 'ES384' }],
    ['alg in lower case', { alg: 'es256' }],
    ['no alg', { alg: undefined }],
    ['no typ', { typ: undefined }],
    ['a typ of 65 characters', { typ: 'x'.repeat(65) }],
    ['no thumbprint', { 'x5t#S256': undefined }],
    ['a thumbprint too short', { 'x5t#S256': 'AAAA' }],
    ['crit', { crit: ['exp'], exp: 1 }],
    ['b64 false', { crit: ['b64'], b64: false }],
    ['a key id', { kid: '1' }],
    ['a key address', { jku: 'https://evil.example/keys' }],
    ['a certificate address', { x5u: 'https://evil.example/chain' }],
    ['an unknown field', { note: 'x' }],
    ['an empty chain', { x5c: [] }],
    ['a chain of four', { x5c: ['AAAA', 'AAAA', 'AAAA', 'AAAA'] }],
    ['a chain that is a text', { x5c: 'AAAA' }],
    ['a certificate too long', { x5c: ['A'.repeat(8196)] }],
    ['a key of another curve', { jwk: { kty: 'EC', crv: 'P-384', x: 'A'.repeat(43), y: 'A'.repeat(43) } }],
    ['a private key', { jwk: { kty: 'EC', crv: 'P-256', x: 'A'.repeat(43), y: 'A'.repeat(43), d: 'A'.repeat(43) } }],
  ])('with %s is refused', async (_what, change) => {
    const jws = await send();
    const header = { ...(JSON.parse(headerOf(jws)) as object), ...change };
    expect(await codeOf(verify(withHeader(jws, JSON.stringify(header))))).toBe('message/malformed');
  });

  it.each([
    ['a duplicate key', (text: string) => text.replace('{', '{"typ":"kessai-test-postcard",')],
    ['a blank', (text: string) => text.replace(',', ', ')],
    ['trailing text', (text: string) => `${text}x`],
    ['an escape that is not needed', (text: string) => text.replace('kessai', '\\u006bessai')],
    ['a list', () => '[]'],
    ['null', () => 'null'],
    ['no JSON', () => 'typ=letter'],
  ])('in another spelling (%s) is refused', async (_what, change) => {
    const jws = await send();
    expect(await codeOf(verify(withHeader(jws, change(headerOf(jws)))))).toBe('message/malformed');
  });

  it('that is not UTF-8 is refused', async () => {
    const [, payload, signature] = (await send()).split('.');
    expect(await codeOf(verify([encodeBase64url(new Uint8Array([0x7b, 0xff, 0x7d])), payload, signature].join('.')))).toBe('message/malformed');
  });
});

describe('the payload, properly signed,', () => {
  it.each([
    ['has a field too few', '{"text":"x"}'],
    ['has a field too many', '{"text":"x","count":3,"more":1}'],
    ['has a field of another type', '{"text":"x","count":"3"}'],
    ['has a duplicate key', '{"text":"x","text":"y","count":3}'],
    ['has a blank', '{"text":"x", "count":3}'],
    ['has trailing bytes', '{"text":"x","count":3}\n'],
    ['is a list', '[]'],
    ['is null', 'null'],
    ['is no JSON', 'text'],
  ])('is refused if it %s', async (_what, payload) => {
    expect(await codeOf(verify(await forge(shopHeader(), encodeText(payload))))).toBe('message/malformed');
  });

  it('is refused if it is not UTF-8', async () => {
    const bytes = new Uint8Array([...encodeText('{"text":"'), 0xc3, 0x28, ...encodeText('","count":3}')]);
    expect(await codeOf(verify(await forge(shopHeader(), bytes)))).toBe('message/malformed');
  });

  it('is refused if it begins with a byte order mark', async () => {
    expect(await codeOf(verify(await forge(shopHeader(), encodeText('\ufeff{"text":"x","count":3}'))))).toBe('message/malformed');
  });
});

describe('the whole text', () => {
  it.each([
    ['empty', () => '', 'message/malformed'],
    ['two parts', (jws: string) => jws.split('.').slice(0, 2).join('.'), 'message/malformed'],
    ['four parts', (jws: string) => `${jws}.AAAA`, 'message/malformed'],
    ['an empty signature', (jws: string) => jws.slice(0, jws.lastIndexOf('.') + 1), 'message/malformed'],
    ['a signature too short', (jws: string) => jws.slice(0, -1), 'message/malformed'],
    ['a signature too long', (jws: string) => `${jws}A`, 'message/malformed'],
    ['padding', (jws: string) => `${jws}==`, 'message/malformed'],
    ['a trailing line feed', (jws: string) => `${jws}\n`, 'message/malformed'],
    ['a leading blank', (jws: string) => ` ${jws}`, 'message/malformed'],
    ['JSON serialization', (jws: string) => JSON.stringify({ payload: jws.split('.')[1] }), 'message/malformed'],
    ['the largest size and one more', (jws: string) => jws.padEnd(MAX_JWS_CHARACTERS + 1, 'A'), 'message/too-large'],
    ['a megabyte', () => 'A'.repeat(1_000_000), 'message/too-large'],
  ])('with %s is refused', async (_what, change, code) => {
    expect(await codeOf(verify(change(await send())))).toBe(code);
  });

  it('is looked at for its size before anything else', () => {
    expect(() => parseHeader('.'.repeat(MAX_JWS_CHARACTERS + 1))).toThrow('message/too-large');
  });
});

describe('a sender', () => {
  it('with a certificate of another role is refused', async () => {
    expect(await codeOf(verify(await send(customer.signer)))).toBe('message/certificate');
  });

  it('without a chain is refused, unless its certificate was seen before by this verifier', async () => {
    const fresh = createCertificateVerifier({ anchors: [authorities.root.certificate], now: () => NOW_MS });
    const short = await signMessage(letter, BODY, shop.signer);
    expect(await codeOf(verifyMessage(letter, short, byCertificate(fresh, 'shop')))).toBe('message/certificate');
    await verifyMessage(letter, await send(), byCertificate(fresh, 'shop'));
    expect(await codeOf(verifyMessage(letter, short, byCertificate(fresh, 'shop')))).toBe('accepted');
    await verifyMessage(letter, await send(customer.signer), byCertificate(fresh, 'customer'));
    const known = await signMessage(letter, BODY, customer.signer);
    expect(await codeOf(verifyMessage(letter, known, byCertificate(fresh, 'shop')))).toBe('message/certificate');
  });

  it('with the chain of one shop and the thumbprint of another is refused', async () => {
    const header = { ...shopHeader(), 'x5t#S256': otherShop.signer.thumbprint };
    expect(await codeOf(verify(await forge(header, encodeText(JSON.stringify(BODY)), otherShop.privateKey)))).toBe('message/certificate');
  });

  it('with somebody else\'s chain and its own key is refused', async () => {
    expect(await codeOf(verify(await forge(shopHeader(), encodeText(JSON.stringify(BODY)), otherShop.privateKey)))).toBe('bill/signature');
  });

  it('under a root that is not ours is refused', async () => {
    const foreign = createCertificateVerifier({ anchors: [(await makeAuthorities()).root.certificate], now: () => NOW_MS });
    expect(await codeOf(verifyMessage(letter, await send(), byCertificate(foreign, 'shop')))).toBe('message/certificate');
  });

  it('that is known is exactly this one, whatever chain the message brings along', async () => {
    const { sender } = await verify(await send());
    expect(await codeOf(verifyMessage(letter, await signMessage(letter, BODY, shop.signer), byKnownSender(sender)))).toBe('accepted');
    expect(await codeOf(verifyMessage(letter, await send(otherShop.signer), byKnownSender(sender)))).toBe('message/certificate');
    const claimed = { typ: letter.typ, 'x5t#S256': sender.thumbprint };
    expect(await codeOf(verifyMessage(letter, await forge(claimed, encodeText(JSON.stringify(BODY)), otherShop.privateKey), byKnownSender(sender)))).toBe('bill/signature');
  });
});

describe('a one-time key', () => {
  const sendOnce = async () => signMessage(letter, BODY, await createOneTimeSigner());
  const verifyOnce = (jws: string) => verifyMessage(letter, jws, byOneTimeKey());

  it('signs a message that names no one', async () => {
    const { sender } = await verifyOnce(await sendOnce());
    expect(sender.certificate).toBeUndefined();
    expect((await verifyOnce(await sendOnce())).sender.thumbprint).not.toBe(sender.thumbprint);
  });

  it('is no certificate, and a certificate is no one-time key', async () => {
    expect(await codeOf(verify(await sendOnce()))).toBe('message/certificate');
    expect(await codeOf(verifyOnce(await send()))).toBe('message/certificate');
  });

  it('swapped for another, with or without its thumbprint, is refused', async () => {
    const [one, other] = [await sendOnce(), await sendOnce()];
    const [own, foreign] = [JSON.parse(headerOf(one)) as object, JSON.parse(headerOf(other)) as { 'x5t#S256': string; jwk: object }];
    expect(await codeOf(verifyOnce(withHeader(one, JSON.stringify({ ...own, jwk: foreign.jwk }))))).toBe('message/certificate');
    expect(await codeOf(verifyOnce(withHeader(one, JSON.stringify({ ...own, 'x5t#S256': foreign['x5t#S256'], jwk: foreign.jwk }))))).toBe('bill/signature');
  });

  it('that is no point of the curve is refused', async () => {
    const jwk = { kty: 'EC', crv: 'P-256', x: 'A'.repeat(43), y: 'A'.repeat(43) };
    const header = { typ: letter.typ, 'x5t#S256': await sha256(encodeText(`${jwk.x}.${jwk.y}`)), jwk };
    expect(await codeOf(verifyOnce(await forge(header, encodeText(JSON.stringify(BODY)))))).toBe('message/certificate');
  });
});
