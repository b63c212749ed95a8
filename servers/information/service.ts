/** The information server (IMS): answers who a shop, a customer or a card is; enrols a customer's browser, and links a card, for one-time codes. */
import { encodeBase64url, parseBase64url, type Bytes } from '#protocol/bytes.ts';
import type { CertificateVerifier } from '#protocol/certificates.ts';
import { certificateThumbprint } from '#protocol/certificates.ts';
import { issueLeaf, type Issuer } from '#protocol/certificate-issue.ts';
import { verifyCertificateRequest } from '#protocol/certificate-request.ts';
import { Failure } from '#protocol/failure.ts';
import type { RandomBytes } from '#protocol/nonce.ts';
import { encodeText, sha256 } from '#protocol/signed.ts';
import type { InformationService } from '../shared/apis/information.ts';
import { encodeOneTimeCode, isOneTimeCode, ONE_TIME_CODE_BYTES } from './one-time-code.ts';
import type { InformationStore, RegisteredKey } from './store.ts';

export interface InformationParts {
  readonly store: InformationStore;
  /** The authority that issues customers' certificates: its key is this server's alone. */
  readonly customersAuthority: Issuer;
  readonly verifier: CertificateVerifier;
  /** Epoch milliseconds. */
  readonly now: () => number;
  readonly random: RandomBytes;
  readonly newId: () => string;
}

export interface InformationServer extends InformationService {
  /** What a customer's browser asks: a certificate for its own key, for a one-time code. `request`: PKCS #10, DER. Answers the chain, DER, leaf first. */
  enrol(code: string, request: Bytes): Promise<readonly Bytes[]>;
  /** A shop that an operator has admitted, with the certificate that its messages are signed under. */
  registerShop(shopId: string, chain: readonly Bytes[]): Promise<void>;
}

const CODE_LIFE_MS = 14 * 24 * 3_600_000;
const CERTIFICATE_LIFE_MS = 365 * 24 * 3_600_000;
const CLOCK_MARGIN_MS = 5 * 60_000;

export function createInformationService(parts: InformationParts): InformationServer {
  const { store, verifier, now, random, newId } = parts;
  return {
    findShopByKey: async ({ thumbprint }) => {
      const shop = await store.findShopByKey(thumbprint);
      return shop === undefined ? null : { shopId: shop.shopId, origin: shop.origin, chain: [...shop.chain] };
    },
    findShop: async ({ shopId }) => {
      const shop = await store.findShop(shopId);
      return shop === undefined ? null : { shopId: shop.shopId, origin: shop.origin, legalName: shop.legalName };
    },
    findCustomerByKey: async ({ thumbprint }) => {
      const customer = await store.findCustomerByKey(thumbprint);
      return customer === undefined ? null : { customerId: customer.customerId, chain: [...customer.chain] };
    },
    ...cardService(parts),

    createCustomer: async ({ name }) => {
      const customerId = newId();
      await store.addCustomer({ customerId, name, createdAt: Math.floor(now()) });
      return { customerId };
    },
    newEnrolmentCode: async ({ customerId }) => {
      const enrolmentCode = encodeOneTimeCode(random(ONE_TIME_CODE_BYTES));
      const known = await store.addEnrolmentCode({ codeDigest: await digestOfCode(enrolmentCode), customerId, expiresAt: Math.floor(now()) + CODE_LIFE_MS });
      if (!known) throw new Failure('customer/unknown');
      return { enrolmentCode };
    },

    enrol: async (code, request) => {
      if (!isOneTimeCode(code)) throw new Failure('customer/enrolment-code');
      const { publicKey } = await verifyCertificateRequest(request);
      const enrolled = await store.enrol(await digestOfCode(code), Math.floor(now()), (customerId) => registerCustomerKey(publicKey, customerId, parts));
      if (enrolled === undefined) throw new Failure('customer/enrolment-code');
      return enrolled.key.chain.map(parseBase64url);
    },

    registerShop: async (shopId, chain) => {
      const certificate = await verifier.verifyChain(chain, 'shop');
      const [origin] = certificate.origins;
      if (origin === undefined || certificate.organization === undefined) throw new Failure('message/certificate', { detail: 'a shop without origin or legal name' });
      const key = { thumbprint: certificate.thumbprint, chain: chain.map(encodeBase64url), registeredAt: Math.floor(now()) };
      await store.registerShop({ shopId, legalName: certificate.organization, origin }, key);
    },
  };
}

function cardService({ store, now, random }: InformationParts): Pick<InformationService, 'findCard' | 'registerCard' | 'newActivationCode' | 'checkActivationCode' | 'linkCard' | 'blockCard'> {
  const attempt = async (cardId: string, code: string) => ({ cardId, codeDigest: await digestOfCode(code), now: Math.floor(now()) });
  return {
    findCard: async ({ cardId }) => (await store.findCard(cardId)) ?? null,
    registerCard: (card) => store.registerCard(card),
    newActivationCode: async ({ cardId }) => {
      const activationCode = encodeOneTimeCode(random(ONE_TIME_CODE_BYTES));
      const added = await store.addActivationCode({ codeDigest: await digestOfCode(activationCode), cardId, expiresAt: Math.floor(now()) + CODE_LIFE_MS });
      if (added === 'no-card') throw new Failure('card/not-issued');
      if (added === 'linked') throw new Failure('customer/card-not-linked', { detail: 'it has a customer already' });
      return { activationCode };
    },
    checkActivationCode: async ({ cardId, activationCode }) => store.wouldLink(await attempt(cardId, activationCode)),
    linkCard: async ({ cardId, customerId, activationCode }) => store.linkCard({ ...(await attempt(cardId, activationCode)), customerId }),
    blockCard: async ({ cardId, blockedAt }) => {
      if (!(await store.blockCard(cardId, blockedAt))) throw new Failure('card/not-issued');
      return null;
    },
  };
}

/** The certificate names an opaque number; the request's own wishes are not read. */
async function registerCustomerKey(publicKey: Parameters<typeof issueLeaf>[0]['publicKey'], customerId: string, { customersAuthority, now }: InformationParts): Promise<RegisteredKey> {
  const registeredAt = Math.floor(now());
  const leaf = await issueLeaf({
    issuer: customersAuthority,
    publicKey,
    role: 'customer',
    commonName: customerId,
    notBeforeMs: registeredAt - CLOCK_MARGIN_MS,
    notAfterMs: registeredAt + CERTIFICATE_LIFE_MS,
  });
  return { thumbprint: await certificateThumbprint(leaf), chain: [leaf, customersAuthority.certificate].map(encodeBase64url), registeredAt };
}

/** Upper case and without groups, so that it does not matter how a person types it. */
function digestOfCode(code: string): Promise<string> {
  return sha256(encodeText(code.toUpperCase().replaceAll('-', '')));
}
