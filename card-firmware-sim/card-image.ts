/** What a card keeps without power: one plain value, replaced as a whole at each commit, never changed in place. */
import { equalBytes, parseHex } from '#protocol/bytes.ts';
import type { Bytes } from '#protocol/bytes.ts';
import type { CommMode } from './secure-messaging.ts';
import type { ProfileName } from './profile.ts';

export interface CardImage {
  readonly profile: ProfileName;
  /** 7 bytes, beginning with the maker's 04. */
  readonly uid: Bytes;
  /** The card level (PICC), above all applications. */
  readonly picc: CardLevel;
  /** In the order in which the card lists them; a Light has exactly one. */
  readonly applications: readonly CardApplication[];
}

export interface CardLevel {
  /** Undefined on a Light: its card level has keys for originality only, and they need LRP. */
  readonly masterKey: CardMasterKey | undefined;
  /** Key settings of the card level, bits as KEY_SETTING names them. */
  readonly keySettings: number;
  /** Memory that deleted applications have left behind; only FormatPICC gives it back. */
  readonly lostBytes: number;
  readonly configuration: CardConfiguration;
}

/** What SetConfiguration settles for the whole card. */
export interface CardConfiguration {
  /** Option 0A: failed authentications lock a key at the limit; each success takes the decrement off. */
  readonly failedAuthentications: { readonly isCounted: boolean; readonly limit: number; readonly decrement: number };
  /** Option 05: the two bytes that the card tells about itself at the end of PDcap2. */
  readonly capabilities: Bytes;
  /** Option 06, once in a card's life: the application has another name and ISO identifier. */
  readonly isRenamed: boolean;
}

export interface CardApplication {
  /** AID as a number of three bytes; undefined on a Light, whose application is selected by name or ISO identifier only. */
  readonly aid: number | undefined;
  readonly isoId: number | undefined;
  /** DF name, 1 to 16 bytes. */
  readonly name: Bytes | undefined;
  /** KeySett1, bits as KEY_SETTING names them; the four high bits say which key changes keys. */
  readonly keySettings: number;
  /** Whether its files have ISO identifiers: then each of those that can have one must. */
  readonly hasIsoFileIds: boolean;
  /** By key number; all keys of an application are there from its creation on. */
  readonly keys: readonly CardKey[];
  /** In the order in which the card lists them. */
  readonly files: readonly CardFile[];
}

/** Key settings (KeySett1), the four low bits: what goes without the master key, or goes at all. */
export const KEY_SETTING = { MASTER_KEY_CHANGEABLE: 0x01, FREE_LISTING: 0x02, FREE_CREATE_DELETE: 0x04, SETTINGS_CHANGEABLE: 0x08 } as const;

export interface CardKey {
  readonly value: Bytes;
  readonly version: number;
  /** TotFailCtr: failed authentications, less what successes have paid back. */
  readonly failures: number;
  /** SeqFailCtr: failed authentications since the last success, at most 255. */
  readonly failuresInARow: number;
}

export interface CardMasterKey extends CardKey {
  /** Two-key triple DES, as delivered, until it is changed to AES. */
  readonly type: '2k3des' | 'aes';
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

interface ContentFile extends FileCommon {
  readonly isoId: number | undefined;
  readonly content: Bytes;
}

export interface StandardFile extends ContentFile {
  readonly type: 'standard';
}

/** Written through the transaction, unlike a standard file. */
export interface BackupFile extends ContentFile {
  readonly type: 'backup';
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

interface RecordsFile extends FileCommon {
  readonly isoId: number | undefined;
  readonly recordBytes: number;
  readonly maxRecords: number;
  /** Newest first, each of `recordBytes`. */
  readonly records: readonly Bytes[];
}

/** Takes records until it is full. */
export interface LinearFile extends RecordsFile {
  readonly type: 'linear';
}

/** One slot is the shadow of the next write: it shows at most one record less than `maxRecords`. */
export interface CyclicFile extends RecordsFile {
  readonly type: 'cyclic';
}

export type RecordFile = LinearFile | CyclicFile;

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

export type CardFile = StandardFile | BackupFile | ValueFile | LinearFile | CyclicFile | TransactionMacFile;

/** DF name of the wallet: a Light leaves the factory with it, and every other card gets the same, so that one SELECT finds them all. */
export const WALLET_NAME = parseHex('A00000039656434103F015400000000B');

/** The application that holds value and log: the only one of a Light; on other cards the one with the wallet's name, undefined before that is there. */
export function walletApplication(image: CardImage): CardApplication | undefined {
  if (image.profile === 'light') return image.applications[0];
  return image.applications.find(({ name }) => name !== undefined && equalBytes(name, WALLET_NAME));
}

export function findFile(application: CardApplication, number: number): CardFile | undefined {
  return application.files.find((file) => file.number === number);
}

export function transactionMacFile(application: CardApplication): TransactionMacFile | undefined {
  return application.files.find((file) => file.type === 'transaction-mac');
}

/** The application with the file of the same number replaced. */
export function withFile(application: CardApplication, changed: CardFile): CardApplication {
  return { ...application, files: application.files.map((file) => (file.number === changed.number ? changed : file)) };
}

export function withKey(application: CardApplication, keyNo: number, changed: CardKey): CardApplication {
  return { ...application, keys: application.keys.map((key, index) => (index === keyNo ? changed : key)) };
}

/** The image with the application at `index` replaced. */
export function withApplication(image: CardImage, index: number, changed: CardApplication): CardImage {
  return { ...image, applications: image.applications.map((application, at) => (at === index ? changed : application)) };
}

/** How many records a file can show. */
export function usableRecords({ type, maxRecords }: Pick<RecordFile, 'type' | 'maxRecords'>): number {
  return type === 'cyclic' ? maxRecords - 1 : maxRecords;
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
