/** Where the keys of the cards come from: which keys there are, and the interface that an encrypted file or a hardware token fills. */
import { concatBytes, type Bytes } from '#protocol/bytes.ts';
import { KEY_NUMBERS, type KeyNumber } from '../desfire/authentication.ts';
import { AES_KEY_BYTES } from '../desfire/cmac.ts';
import { UID_BYTES } from '../desfire/transaction-mac.ts';

/** Each has a master key of its own in every version: key numbers of the card's application, and AppTMKey. */
export const MASTER_KEY_PURPOSES = [...KEY_NUMBERS, 'transaction-mac'] as const;
export type MasterKeyPurpose = KeyNumber | 'transaction-mac';

/** `picc`: the card-level master key of an EV2 or EV3. */
export const CARD_KEY_PURPOSES = [...MASTER_KEY_PURPOSES, 'picc'] as const;
export type CardKeyPurpose = MasterKeyPurpose | 'picc';

/** Key version of a card as it leaves the factory: the application's keys are zero. Issued cards start at version 1. */
export const FACTORY_KEY_VERSION = 0;
export const FIRST_KEY_VERSION = 1;
/** Key versions are one byte on the card. */
export const MAX_KEY_VERSION = 0xff;

export interface CardKeyStore {
  /** The version that cards are issued with now. */
  currentVersion(): Promise<number>;
  /**
   * The key of one card: 16 bytes. Version 0 is the factory's zero key; there is none for the transaction MAC, nor for `picc`, which the
   * factory sets as a DES key. Throws KeyStoreError for a version that the store does not hold.
   */
  deriveCardKey(uid: Bytes, purpose: CardKeyPurpose, version: number): Promise<Bytes>;
}

/** A store that this process holds open. */
export interface OpenKeyStore extends CardKeyStore {
  /** All usable versions, oldest first. */
  versions(): Promise<readonly number[]>;
  /** Nothing can be derived afterwards. */
  close(): Promise<void>;
}

/** The key store cannot be used; the message tells an operator why. Never holds a secret. */
export class KeyStoreError extends Error {
  override readonly name = 'KeyStoreError';
}

export function unknownVersion(purpose: CardKeyPurpose, version: number): KeyStoreError {
  return new KeyStoreError(`the key store holds no master key of version ${version} for ${purpose}`);
}

/** The card's own key has no master key: it is diversified, by an input of its own, from that of the application's key 0. */
export function masterKeyPurposeOf(purpose: CardKeyPurpose): MasterKeyPurpose {
  return purpose === 'picc' ? 0 : purpose;
}

/** AN10922 input: no two purposes share one, so no two keys of a card are related even under one master key. */
export function diversificationInput(uid: Bytes, purpose: CardKeyPurpose): Bytes {
  if (uid.length !== UID_BYTES) throw new RangeError('a card UID has 7 bytes');
  return concatBytes(uid, new TextEncoder().encode(diversificationTail(purpose)));
}

function diversificationTail(purpose: CardKeyPurpose): string {
  if (purpose === 'transaction-mac') return 'kessai transaction mac';
  return purpose === 'picc' ? 'kessai picc key' : `kessai card key ${purpose}`;
}

/** The key of a card from the factory; undefined where that is not an AES key. */
export function factoryKey(purpose: CardKeyPurpose): Bytes | undefined {
  return purpose === 'transaction-mac' || purpose === 'picc' ? undefined : new Uint8Array(AES_KEY_BYTES);
}
