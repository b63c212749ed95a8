/** What a card keeps without power: one plain value, replaced as a whole at each commit, never changed in place. */
import type { Bytes } from '#protocol/bytes.ts';
import type { CommMode } from './secure-messaging.ts';
import type { ProfileName } from './profile.ts';

export interface CardImage {
  readonly profile: ProfileName;
  /** 7 bytes, beginning with the maker's 04. */
  readonly uid: Bytes;
  /** The application keys, by key number. */
  readonly keys: readonly CardKey[];
  /** In the order in which the card lists them. */
  readonly files: readonly CardFile[];
}

export interface CardKey {
  readonly value: Bytes;
  readonly version: number;
  /** TotFailCtr: failed authentications, less what successes have paid back. */
  readonly failures: number;
}

/** Who may do what with a file: a key number, FREE or NEVER for each right. */
export interface AccessRights {
  readonly read: number;
  readonly write: number;
  readonly readWrite: number;
  readonly change: number;
}

interface FileCommon {
  readonly number: number;
  readonly mode: CommMode;
  readonly rights: AccessRights;
}

interface StandardFile extends FileCommon {
  readonly type: 'standard';
  readonly isoId: number;
  readonly content: Bytes;
}

export interface ValueFile extends FileCommon {
  readonly type: 'value';
  readonly lower: number;
  readonly upper: number;
  readonly value: number;
  /** What LimitedCredit may still give back. */
  readonly limitedCredit: number;
  readonly limitedCreditEnabled: boolean;
  readonly freeGetValue: boolean;
  /** SetConfiguration 09 sets limits and value once in a card's life. */
  readonly configured: boolean;
}

export interface CyclicFile extends FileCommon {
  readonly type: 'cyclic';
  readonly isoId: number;
  readonly recordBytes: number;
  /** One slot is the shadow of the next write: a card shows at most one record less. */
  readonly maxRecords: number;
  /** Newest first. */
  readonly records: readonly Bytes[];
}

export interface TransactionMacFile extends FileCommon {
  readonly type: 'transaction-mac';
  readonly appTmKey: Bytes;
  readonly keyVersion: number;
  /** TMC of the last committed transaction. */
  readonly counter: number;
  /** TMV of the last committed transaction. */
  readonly tmv: Bytes;
  /** TMRIPrev. */
  readonly readerId: Bytes;
  readonly counterLimit: number | undefined;
}

export type CardFile = StandardFile | ValueFile | CyclicFile | TransactionMacFile;

export function findFile(image: CardImage, number: number): CardFile | undefined {
  return image.files.find((file) => file.number === number);
}

export function transactionMacFile(image: CardImage): TransactionMacFile | undefined {
  return image.files.find((file) => file.type === 'transaction-mac');
}

/** The image with the file of the same number replaced. */
export function withFile(image: CardImage, changed: CardFile): CardImage {
  return { ...image, files: image.files.map((file) => (file.number === changed.number ? changed : file)) };
}

export function withKey(image: CardImage, keyNo: number, changed: CardKey): CardImage {
  return { ...image, keys: image.keys.map((key, index) => (index === keyNo ? changed : key)) };
}

/** A signed 32-bit value, least significant byte first, as the value commands carry it. */
export function parseInt32LE(bytes: Uint8Array): number {
  return new DataView(bytes.buffer, bytes.byteOffset, 4).getInt32(0, true);
}

export function encodeInt32LE(value: number): Bytes {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setInt32(0, value, true);
  return bytes;
}
