/** What the information server must never forget: customers and their keys, shops and theirs, and whose card is whose. */
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

export interface CardRecord {
  readonly cardId: string;
  readonly customerId: string;
  readonly currency: Currency;
  readonly limitMinor: bigint;
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
  /** False, and nothing changes, if the card is linked to another customer; the same link again is true. */
  linkCard(card: CardRecord): Promise<boolean>;
  findCard(cardId: string): Promise<CardRecord | undefined>;
}
