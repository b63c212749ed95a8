/** What the information server must never forget: customers and their keys, shops and theirs, whose card is whose, and which cards are lost. */
import type { Currency } from '#protocol/amount.ts';

/** DER certificates in base64url, leaf first, without the root. */
export type StoredChain = readonly string[];

export interface CustomerRecord {
  /** UUID; says nothing about the person. */
  readonly customerId: string;
  /** Personal: never leaves the information server. */
  readonly name: string | null;
  readonly createdAt: number;
}

export interface EnrolmentCode {
  /** SHA-256 of the code, base64url: the code itself is not kept. */
  readonly codeDigest: string;
  readonly customerId: string;
  readonly expiresAt: number;
}

export interface RegisteredKey {
  /** Of the leaf certificate. */
  readonly thumbprint: string;
  readonly chain: StoredChain;
  readonly registeredAt: number;
}

export interface ShopRecord {
  readonly shopId: string;
  readonly legalName: string;
  readonly origin: string;
}

export interface IssuedCard {
  readonly cardId: string;
  /** Null until a customer links the card; never changed after. */
  readonly customerId: string | null;
  readonly currency: Currency;
  readonly limitMinor: bigint;
}

export interface CardRecord extends IssuedCard {
  /** When it was reported lost, for good. */
  readonly blockedAt: number | null;
}

/** With it a customer links the card that it came with. */
export interface ActivationCode {
  /** SHA-256 of the code, base64url: the code itself is not kept. */
  readonly codeDigest: string;
  readonly cardId: string;
  readonly expiresAt: number;
}

/** A card, and the code that is to link it now. */
export interface ActivationAttempt {
  readonly cardId: string;
  readonly codeDigest: string;
  readonly now: number;
}

/** Every change is durable before it resolves. */
export interface InformationStore {
  addCustomer(customer: CustomerRecord): Promise<void>;
  /** False if there is no such customer. */
  addEnrolmentCode(code: EnrolmentCode): Promise<boolean>;
  /**
   * Uses an enrolment code up, and registers the key made with it, in one commit. `undefined`, and nothing changes, if the code is
   * unknown, used or expired at `now`.
   */
  enrol(codeDigest: string, now: number, keyFor: (customerId: string) => Promise<RegisteredKey>): Promise<{ readonly customerId: string; readonly key: RegisteredKey } | undefined>;
  findCustomerByKey(thumbprint: string): Promise<{ readonly customerId: string; readonly chain: StoredChain } | undefined>;
  /** Registers a shop or another key of it; the same again changes nothing; name and origin are brought up to date. */
  registerShop(shop: ShopRecord, key: RegisteredKey): Promise<void>;
  findShopByKey(thumbprint: string): Promise<(ShopRecord & { readonly chain: StoredChain }) | undefined>;
  findShop(shopId: string): Promise<ShopRecord | undefined>;
  /** False, and nothing changes, if the card is there with another customer, or with one and not without; the same again is true. */
  registerCard(card: IssuedCard): Promise<boolean>;
  /** `no-card`, `linked` (it has a customer already): no code is kept. */
  addActivationCode(code: ActivationCode): Promise<'added' | 'no-card' | 'linked'>;
  /** Whether `linkCard` would link: the code is this card's, unused and not expired, and the card is neither linked nor blocked. */
  wouldLink(attempt: ActivationAttempt): Promise<boolean>;
  /**
   * Uses the code up and links the card, in one commit; false, and nothing changes, where `wouldLink` is false. To the customer who
   * has linked the card with this very code the answer stays true.
   */
  linkCard(attempt: ActivationAttempt & { readonly customerId: string }): Promise<boolean>;
  /** For good; the first time counts. False if there is no such card. */
  blockCard(cardId: string, blockedAt: number): Promise<boolean>;
  findCard(cardId: string): Promise<CardRecord | undefined>;
}
