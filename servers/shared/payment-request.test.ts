import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { encodeBase64url } from '#protocol/bytes.ts';
import { issueLeaf, issueRoot } from '#protocol/certificate-issue.ts';
import { certificateThumbprint, createCertificateVerifier } from '#protocol/certificates.ts';
import { Failure } from '#protocol/failure.ts';
import { bill } from '#protocol/messages/bill.ts';
import { paymentRequest } from '#protocol/messages/payment-request.ts';
import { linkRequest, readingRequest } from '#protocol/messages/reading.ts';
import { createSigner, signMessage, type Jws, type Signer } from '#protocol/signed.ts';
import { verifyLinkRequest, verifyPaymentRequest, verifyReadingRequest, type CustomerOfCard, type Register } from './payment-request.ts';

const NOW = Date.UTC(2026, 10, 22);
const [MINE, OTHER] = ['3f1d3a52-7a0e-4f64-9d0e-2f0a1c9b7a10', '9c0f8a11-52f0-4d5c-8a40-6f0f6f8f4f11'];
const NONCE = 'AAAAAAAAAAAAAAAAAAAAAA';
const CODE = 'ABCD-EFGH-JKMN-PQRS';
const CHALLENGE = '00'.repeat(16);
const ORIGIN = 'https://shop.example';
const cardId = '04AABBCCDDEEFF';

/** A card as the register may know it. */
interface Known {
  readonly customerId: string | null;
  readonly blockedAt: number | null;
}
const CARDS = {
  'my own': { customerId: MINE, blockedAt: null },
  'another’s': { customerId: OTHER, blockedAt: null },
  'nobody’s': { customerId: null, blockedAt: null },
  'my own, blocked': { customerId: MINE, blockedAt: 1 },
  'another’s, blocked': { customerId: OTHER, blockedAt: 1 },
  'nobody’s, blocked': { customerId: null, blockedAt: 1 },
} satisfies Record<string, Known>;

let customer: Signer;
let register: Register;
/** What the register says of the card; null: it was never issued. */
let card: Known | null;
/** Codes that the register was asked about. */
let asked: { readonly cardId: string; readonly activationCode: string }[];
let requests: { readonly payment: Jws; readonly reading: Jws; readonly link: Jws };

beforeAll(async () => {
  const validity = { notBeforeMs: NOW - 1, notAfterMs: NOW + 86_400_000 };
  const make = () => crypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, ['sign', 'verify']);
  const rootKeys = await make();
  const root = await issueRoot({ ...validity, keyPair: rootKeys, commonName: 'Root', pathLength: 0 });
  const signerOf = async (names: { role: 'customer' | 'shop'; commonName: string; organization?: string; origins?: readonly string[] }): Promise<Signer> => {
    const keys = await make();
    const leaf = await issueLeaf({ ...validity, issuer: { certificate: root, privateKey: rootKeys.privateKey }, publicKey: keys.publicKey, ...names });
    return createSigner({ privateKey: keys.privateKey, chain: [leaf], thumbprint: await certificateThumbprint(leaf) });
  };
  customer = await signerOf({ role: 'customer', commonName: MINE });
  const shop = await signerOf({ role: 'shop', commonName: 'shop', organization: 'Shop Ltd', origins: [ORIGIN] });
  const chainOf = (signer: Signer): string[] => signer.chain.map(encodeBase64url);
  register = {
    information: {
      findCustomerByKey: ({ thumbprint }) => Promise.resolve(thumbprint === customer.thumbprint ? { customerId: MINE, chain: chainOf(customer) } : null),
      findShopByKey: ({ thumbprint }) => Promise.resolve(thumbprint === shop.thumbprint ? { shopId: 'shop', origin: ORIGIN, chain: chainOf(shop) } : null),
      findCard: (wanted) => Promise.resolve(card === null || wanted.cardId !== cardId ? null : { cardId, currency: 'JPY', limitMinor: 5n, ...card }),
      checkActivationCode: (code) => {
        asked.push(code);
        return Promise.resolve(code.activationCode === CODE);
      },
    },
    verifier: createCertificateVerifier({ anchors: [root], now: () => NOW }),
    tally: () => undefined,
    now: () => NOW,
  };
  const claim = { shopId: 'shop', origin: ORIGIN, billId: 'bill-0001', estimateDigest: customer.thumbprint, amountMinor: 5n, currency: 'JPY', expiresAt: NOW + 600_000, payer: customer.thumbprint, billNonce: NONCE } as const;
  requests = {
    payment: await signMessage(paymentRequest, { bill: await signMessage(bill, claim, shop), cardId, paymentNonce: NONCE, cardChallenge: CHALLENGE, readBalance: true }, customer),
    reading: await signMessage(readingRequest, { cardId, readingNonce: NONCE, cardChallenge: CHALLENGE, about: null, history: true }, customer),
    link: await linkWith(CODE),
  };
});
beforeEach(() => {
  [card, asked] = [CARDS['my own'], []];
});

function linkWith(activationCode: string, signer = customer): Promise<Jws> {
  return signMessage(linkRequest, { cardId, readingNonce: NONCE, cardChallenge: CHALLENGE, activationCode }, signer);
}

/** The code that it fails with, or whose card it was verified for. */
async function outcomeOf(verified: Promise<CustomerOfCard>): Promise<string> {
  try {
    const { customerId, payer, card: found } = await verified;
    expect({ payer: payer.thumbprint, card: found }).toEqual({ payer: customer.thumbprint, card: { cardId, currency: 'JPY', limitMinor: 5n, ...card } });
    return customerId;
  } catch (thrown) {
    if (thrown instanceof Failure) return thrown.code;
    throw thrown;
  }
}

const NEVER = 'never issued';
const NOT_MINE = 'customer/card-not-linked';
const table: Record<keyof typeof CARDS | typeof NEVER, { payment: string; reading: string; link: string }> = {
  'my own': { payment: MINE, reading: MINE, link: MINE },
  'another’s': { payment: NOT_MINE, reading: NOT_MINE, link: NOT_MINE },
  'nobody’s': { payment: NOT_MINE, reading: NOT_MINE, link: MINE },
  'my own, blocked': { payment: 'card/blocked', reading: MINE, link: 'card/blocked' },
  'another’s, blocked': { payment: NOT_MINE, reading: NOT_MINE, link: NOT_MINE },
  'nobody’s, blocked': { payment: NOT_MINE, reading: NOT_MINE, link: 'card/blocked' },
  [NEVER]: { payment: 'card/not-issued', reading: 'card/not-issued', link: 'card/not-issued' },
};

describe.each(Object.keys(table) as (keyof typeof table)[])('payment-rules 16 and 20: a card that is %s', (known) => {
  beforeEach(() => {
    card = known === NEVER ? null : CARDS[known];
  });
  const { payment, reading, link } = table[known];
  test(`pays: ${payment}`, async () => {
    expect(await outcomeOf(verifyPaymentRequest(requests.payment, register))).toBe(payment);
  });
  test(`is read: ${reading}`, async () => {
    expect(await outcomeOf(verifyReadingRequest(requests.reading, register))).toBe(reading);
  });
  test(`is linked with its code: ${link}`, async () => {
    expect(await outcomeOf(verifyLinkRequest(requests.link, register))).toBe(link);
  });
});

describe('a request to link', () => {
  test('is refused with a code that would not link the card', async () => {
    card = CARDS['nobody’s'];
    expect(await outcomeOf(verifyLinkRequest(await linkWith('ZZZZ-ZZZZ-ZZZZ-ZZZZ'), register))).toBe('customer/activation-code');
    expect(asked).toEqual([{ cardId, activationCode: 'ZZZZ-ZZZZ-ZZZZ-ZZZZ' }]);
  });

  test('asks about the code of a card only if it could be linked, and never of the customer’s own', async () => {
    for (const known of ['my own', 'another’s', 'my own, blocked', 'nobody’s, blocked'] as const) {
      card = CARDS[known];
      await outcomeOf(verifyLinkRequest(requests.link, register));
    }
    expect(asked).toEqual([]);
  });

  test('is refused from a browser that nobody knows, and is no other message', async () => {
    card = CARDS['nobody’s'];
    expect(await outcomeOf(verifyLinkRequest(await linkWith(CODE, { ...customer, thumbprint: NONCE.padEnd(43, 'A') }), register))).toBe('customer/unknown');
    expect(await outcomeOf(verifyLinkRequest(requests.reading, register))).toBe('message/wrong-type');
    expect(await outcomeOf(verifyReadingRequest(requests.link, register))).toBe('message/wrong-type');
    const [header = '', , signature = ''] = requests.link.split('.');
    const [, forged = ''] = (await linkWith('ZZZZ-ZZZZ-ZZZZ-ZZZZ')).split('.');
    expect(await outcomeOf(verifyLinkRequest(`${header}.${forged}.${signature}`, register))).toBe('message/signature');
    expect(asked).toEqual([]);
  });
});
