/** Where the keys of the cards come from: the interface that a hardware token can fill, and the encrypted file that fills it by default. */
import { createCipheriv, createDecipheriv, randomBytes, scryptSync } from 'node:crypto';
import { closeSync, constants, fchmodSync, fstatSync, fsyncSync, linkSync, openSync, readFileSync, renameSync, unlinkSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import * as v from 'valibot';
import { concatBytes, encodeHex, parseHex, type Bytes } from '#protocol/bytes.ts';
import { KEY_NUMBERS, type KeyNumber } from './desfire/authentication.ts';
import { AES_KEY_BYTES } from './desfire/cmac.ts';
import { diversifyKey } from './desfire/diversification.ts';
import { UID_BYTES } from './desfire/transaction-mac.ts';

/** Key numbers of the card's application, and AppTMKey. */
export const CARD_KEY_PURPOSES = [...KEY_NUMBERS, 'transaction-mac'] as const;
export type CardKeyPurpose = KeyNumber | 'transaction-mac';

/** Key version of a card as it leaves the factory: all keys zero. Issued cards start at version 1. */
export const FACTORY_KEY_VERSION = 0;
export const FIRST_KEY_VERSION = 1;
/** Key versions are one byte on the card. */
export const MAX_KEY_VERSION = 0xff;

export interface CardKeyStore {
  /** The version that cards are issued with now. */
  currentVersion(): Promise<number>;
  /**
   * The key of one card: 16 bytes. Version 0 is the factory's zero key (there is none for the transaction MAC).
   * Throws KeyStoreError for a version that the store does not hold.
   */
  deriveCardKey(uid: Bytes, purpose: CardKeyPurpose, version: number): Promise<Bytes>;
}

/** The key store cannot be used; the message tells an operator why. Never holds a secret. */
export class KeyStoreError extends Error {
  override readonly name = 'KeyStoreError';
}

/** AN10922 input: no two purposes share one, so no two keys of a card are related even under one master key. */
export function diversificationInput(uid: Bytes, purpose: CardKeyPurpose): Bytes {
  if (uid.length !== UID_BYTES) throw new RangeError('a card UID has 7 bytes');
  const tail = purpose === 'transaction-mac' ? 'kessai transaction mac' : `kessai card key ${purpose}`;
  return concatBytes(uid, new TextEncoder().encode(tail));
}

type MasterKeys = ReadonlyMap<number, ReadonlyMap<CardKeyPurpose, Bytes>>;

class FileKeyStore implements CardKeyStore {
  readonly #masterKeys: MasterKeys;

  constructor(masterKeys: MasterKeys) {
    this.#masterKeys = masterKeys;
  }

  currentVersion(): Promise<number> {
    return Promise.resolve(Math.max(...this.#masterKeys.keys()));
  }

  deriveCardKey(uid: Bytes, purpose: CardKeyPurpose, version: number): Promise<Bytes> {
    if (version === FACTORY_KEY_VERSION && purpose !== 'transaction-mac') return Promise.resolve(new Uint8Array(AES_KEY_BYTES));
    const masterKey = this.#masterKeys.get(version)?.get(purpose);
    if (masterKey === undefined) return Promise.reject(new KeyStoreError(`the key store holds no master key of version ${version} for ${purpose}`));
    return Promise.resolve(diversifyKey(masterKey, diversificationInput(uid, purpose)));
  }
}

const FORMAT = 'kessai-card-keys-1';
const CIPHER = 'aes-256-gcm';
const TAG_BYTES = 16;
const MAX_FILE_BYTES = 1 << 20;
/** 2^17 x 8 x 1: 128 MiB and some tenths of a second for every guess. */
const SCRYPT_COST = 1 << 17;
const MAX_SCRYPT_COST = 1 << 20;
const MIN_PASSPHRASE_LENGTH = 12;

const hexBytes = (length: number) => v.pipe(v.string(), v.regex(/^[0-9A-F]*$/), v.length(2 * length));
const keyFileSchema = v.strictObject({
  format: v.literal(FORMAT),
  /** Cost of scrypt, a power of two; block size 8, parallelization 1. */
  scryptCost: v.pipe(v.number(), v.integer(), v.minValue(1 << 10), v.maxValue(MAX_SCRYPT_COST), v.check((cost) => (cost & (cost - 1)) === 0)),
  salt: hexBytes(16),
  nonce: hexBytes(12),
  ciphertext: v.pipe(v.string(), v.regex(/^(?:[0-9A-F]{2})+$/)),
  tag: hexBytes(TAG_BYTES),
});
type KeyFile = v.InferOutput<typeof keyFileSchema>;

const masterKeysSchema = v.pipe(
  v.array(
    v.strictObject({
      version: v.pipe(v.number(), v.integer(), v.minValue(FIRST_KEY_VERSION), v.maxValue(MAX_KEY_VERSION)),
      keys: v.strictObject({ 0: hexBytes(16), 1: hexBytes(16), 2: hexBytes(16), 3: hexBytes(16), 4: hexBytes(16), 'transaction-mac': hexBytes(16) }),
    }),
  ),
  v.minLength(1),
  v.check((versions) => new Set(versions.map(({ version }) => version)).size === versions.length, 'a version twice'),
);

export interface KeyStoreFileOptions {
  readonly path: string;
  readonly passphrase: string;
  /** Cost for a new file; tests choose a small one. */
  readonly scryptCost?: number;
}

/** Makes a new store with fresh master keys of version 1; throws KeyStoreError if the file exists already. */
export function createKeyStoreFile(options: KeyStoreFileOptions): CardKeyStore {
  const masterKeys: MasterKeys = new Map([[FIRST_KEY_VERSION, newMasterKeys()]]);
  const finished = writeBeside(options.path, encryptMasterKeys(masterKeys, options));
  try {
    // A link, unlike a rename, never takes the place of a store that is there.
    linkSync(finished, options.path);
  } catch (cause) {
    throw new KeyStoreError(`the key store ${options.path} cannot be created`, { cause });
  } finally {
    unlinkSync(finished);
  }
  syncFolder(options.path);
  return new FileKeyStore(masterKeys);
}

/** Throws KeyStoreError: no such file, readable by others, damaged, or another passphrase. */
export function openKeyStoreFile({ path, passphrase }: KeyStoreFileOptions): CardKeyStore {
  return new FileKeyStore(readMasterKeys(path, passphrase));
}

/** First start: opens the store, or makes it where no file is. */
export function openOrCreateKeyStoreFile(options: KeyStoreFileOptions): CardKeyStore {
  const text = readPrivateFile(options.path, 'key store');
  return text === undefined ? createKeyStoreFile(options) : new FileKeyStore(decryptMasterKeys(text, options.passphrase, options.path));
}

/** Adds fresh master keys under the next version; the older ones stay for the cards that hold them. The file is replaced whole or not at all. */
export function addMasterKeyVersion(options: KeyStoreFileOptions): CardKeyStore {
  const masterKeys = new Map(readMasterKeys(options.path, options.passphrase));
  const version = Math.max(...masterKeys.keys()) + 1;
  if (version > MAX_KEY_VERSION) throw new KeyStoreError('all key versions are used');
  masterKeys.set(version, newMasterKeys());
  renameSync(writeBeside(options.path, encryptMasterKeys(masterKeys, options)), options.path);
  syncFolder(options.path);
  return new FileKeyStore(masterKeys);
}

/**
 * The passphrase from KESSAI_KEY_STORE_PASSPHRASE, or from the first line of a file that only its owner may read.
 * Throws KeyStoreError if there is none or it is too short.
 */
export function readKeyStorePassphrase(environment: Readonly<Record<string, string | undefined>>, passphraseFile?: string): string {
  const passphrase = environment['KESSAI_KEY_STORE_PASSPHRASE'] ?? (passphraseFile === undefined ? undefined : readPrivateFile(passphraseFile, 'passphrase'))?.split(/\r?\n/)[0];
  if (passphrase === undefined) throw new KeyStoreError('no passphrase: set KESSAI_KEY_STORE_PASSPHRASE or name a passphrase file');
  if (passphrase.length < MIN_PASSPHRASE_LENGTH) throw new KeyStoreError(`the key store's passphrase needs at least ${MIN_PASSPHRASE_LENGTH} characters`);
  return passphrase;
}

function newMasterKeys(): ReadonlyMap<CardKeyPurpose, Bytes> {
  return new Map(CARD_KEY_PURPOSES.map((purpose) => [purpose, new Uint8Array(randomBytes(AES_KEY_BYTES))]));
}

function readMasterKeys(path: string, passphrase: string): MasterKeys {
  const text = readPrivateFile(path, 'key store');
  if (text === undefined) throw new KeyStoreError(`there is no key store at ${path}`);
  return decryptMasterKeys(text, passphrase, path);
}

function encryptMasterKeys(masterKeys: MasterKeys, { passphrase, scryptCost = SCRYPT_COST }: KeyStoreFileOptions): string {
  const header = { format: FORMAT, scryptCost, salt: encodeHex(randomBytes(16)), nonce: encodeHex(randomBytes(12)) } as const;
  const cipher = createCipheriv(CIPHER, fileKey(header, passphrase), parseHex(header.nonce)).setAAD(associatedData(header));
  const content = [...masterKeys].map(([version, keys]) => ({ version, keys: Object.fromEntries([...keys].map(([purpose, key]) => [purpose, encodeHex(key)])) }));
  const ciphertext = concatBytes(cipher.update(JSON.stringify(content), 'utf8'), cipher.final());
  const file: KeyFile = { ...header, ciphertext: encodeHex(ciphertext), tag: encodeHex(cipher.getAuthTag()) };
  return `${JSON.stringify(file, undefined, 2)}\n`;
}

function decryptMasterKeys(text: string, passphrase: string, path: string): MasterKeys {
  const parsed = v.safeParse(keyFileSchema, parseJson(text));
  if (!parsed.success) throw new KeyStoreError(`${path} is not a key store, or it is damaged`);
  const file = parsed.output;
  const decipher = createDecipheriv(CIPHER, fileKey(file, passphrase), parseHex(file.nonce), { authTagLength: TAG_BYTES });
  decipher.setAAD(associatedData(file)).setAuthTag(parseHex(file.tag));
  const plain = decipher.update(file.ciphertext, 'hex', 'utf8');
  try {
    decipher.final();
  } catch (cause) {
    throw new KeyStoreError(`${path} does not open with this passphrase, or it is damaged`, { cause });
  }
  const content = v.safeParse(masterKeysSchema, parseJson(plain));
  if (!content.success) throw new KeyStoreError(`${path} holds master keys of an unknown form`);
  return new Map(content.output.map(({ version, keys }) => [version, new Map(CARD_KEY_PURPOSES.map((purpose) => [purpose, parseHex(keys[purpose])]))]));
}

/** Everything outside the ciphertext is authenticated with it. */
function associatedData({ format, scryptCost, salt, nonce }: Omit<KeyFile, 'ciphertext' | 'tag'>): Buffer {
  return Buffer.from(JSON.stringify([format, scryptCost, salt, nonce]), 'utf8');
}

function fileKey({ salt, scryptCost }: Pick<KeyFile, 'salt' | 'scryptCost'>, passphrase: string): Buffer {
  return scryptSync(passphrase.normalize('NFC'), parseHex(salt), 32, { N: scryptCost, r: 8, p: 1, maxmem: 256 * scryptCost * 8 });
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // Not JSON is one of the ways of not fitting the schema, which then says so without quoting the text.
    return undefined;
  }
}

/** Text of a file that only its owner may read; undefined if there is none. */
function readPrivateFile(path: string, what: string): string | undefined {
  let descriptor: number;
  try {
    descriptor = openSync(path, 'r');
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && cause.code === 'ENOENT') return undefined;
    throw new KeyStoreError(`the ${what} file ${path} cannot be read`, { cause });
  }
  try {
    // Asked of the open file, so that it cannot be exchanged in between.
    const { mode, size } = fstatSync(descriptor);
    const forOthers = constants.S_IRWXG | constants.S_IRWXO;
    // Windows has no such bits; there the folder's access list protects it.
    if (process.platform !== 'win32' && (mode & forOthers) !== 0) throw new KeyStoreError(`the ${what} file ${path} is open to others: chmod 600 it`);
    if (size > MAX_FILE_BYTES) throw new KeyStoreError(`the ${what} file ${path} is too large`);
    return readFileSync(descriptor, 'utf8');
  } finally {
    closeSync(descriptor);
  }
}

/** A file of its own beside `path`, mode 0600, whole on the disk before this returns: a crash leaves no half store in the store's place. */
function writeBeside(path: string, text: string): string {
  const beside = `${path}.${encodeHex(randomBytes(4))}.new`;
  let descriptor: number;
  try {
    descriptor = openSync(beside, 'wx', 0o600);
  } catch (cause) {
    throw new KeyStoreError(`the key store ${path} cannot be created`, { cause });
  }
  try {
    // The process's umask may have taken bits away that the owner needs.
    fchmodSync(descriptor, 0o600);
    writeFileSync(descriptor, text);
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
  return beside;
}

function syncFolder(path: string): void {
  // Windows cannot open a folder to sync it, and needs none.
  if (process.platform === 'win32') return;
  const folder = openSync(dirname(path), 'r');
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}
