/** The encrypted file of master keys: JSON outside, AES-256-GCM inside under a key that scrypt makes of the passphrase. */
import { createCipheriv, createDecipheriv, randomBytes, scrypt, scryptSync, type ScryptOptions } from 'node:crypto';
import { promisify } from 'node:util';
import * as v from 'valibot';
import { concatBytes, encodeHex, parseHex, type Bytes } from '#protocol/bytes.ts';
import { FIRST_KEY_VERSION, KeyStoreError, MASTER_KEY_PURPOSES, MAX_KEY_VERSION, type MasterKeyPurpose } from './key-store.ts';

/** By version. */
export type MasterKeys = ReadonlyMap<number, ReadonlyMap<MasterKeyPurpose, Bytes>>;

export interface Passphrase {
  /** Names the file in messages. */
  readonly path: string;
  readonly passphrase: string;
}

const FORMAT = 'kessai-card-keys-1';
const CIPHER = 'aes-256-gcm';
const TAG_BYTES = 16;
const FILE_KEY_BYTES = 32;
/** 2^17 x 8 x 1: 128 MiB and some tenths of a second for every guess. */
const SCRYPT_COST = 1 << 17;
const MAX_SCRYPT_COST = 1 << 20;

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

export function encryptMasterKeys(masterKeys: MasterKeys, { passphrase, scryptCost = SCRYPT_COST }: { readonly passphrase: string; readonly scryptCost?: number }): string {
  const header = { format: FORMAT, scryptCost, salt: encodeHex(randomBytes(16)), nonce: encodeHex(randomBytes(12)) } as const;
  const cipher = createCipheriv(CIPHER, scryptSync(...scryptInput(header, passphrase)), parseHex(header.nonce)).setAAD(associatedData(header));
  const content = [...masterKeys].map(([version, keys]) => ({ version, keys: Object.fromEntries([...keys].map(([purpose, key]) => [purpose, encodeHex(key)])) }));
  const ciphertext = concatBytes(cipher.update(JSON.stringify(content), 'utf8'), cipher.final());
  const file: KeyFile = { ...header, ciphertext: encodeHex(ciphertext), tag: encodeHex(cipher.getAuthTag()) };
  return `${JSON.stringify(file, undefined, 2)}\n`;
}

/** Throws KeyStoreError: damaged, or another passphrase. */
export function decryptMasterKeys(text: string, { path, passphrase }: Passphrase): MasterKeys {
  const file = parseKeyFile(text, path);
  return openKeyFile(file, scryptSync(...scryptInput(file, passphrase)), path);
}

/** The same off the main thread, for a server at work. */
export async function decryptMasterKeysAside(text: string, { path, passphrase }: Passphrase): Promise<MasterKeys> {
  const file = parseKeyFile(text, path);
  return openKeyFile(file, await scryptAside(...scryptInput(file, passphrase)), path);
}

const scryptAside = promisify<string, Bytes, number, ScryptOptions, Buffer>(scrypt);

function scryptInput({ salt, scryptCost }: Pick<KeyFile, 'salt' | 'scryptCost'>, passphrase: string): [passphrase: string, salt: Bytes, length: number, options: ScryptOptions] {
  return [passphrase.normalize('NFC'), parseHex(salt), FILE_KEY_BYTES, { N: scryptCost, r: 8, p: 1, maxmem: 256 * scryptCost * 8 }];
}

function parseKeyFile(text: string, path: string): KeyFile {
  const parsed = v.safeParse(keyFileSchema, parseJson(text));
  if (!parsed.success) throw new KeyStoreError(`${path} is not a key store, or it is damaged`);
  return parsed.output;
}

function openKeyFile(file: KeyFile, fileKey: Buffer, path: string): MasterKeys {
  const decipher = createDecipheriv(CIPHER, fileKey, parseHex(file.nonce), { authTagLength: TAG_BYTES });
  decipher.setAAD(associatedData(file)).setAuthTag(parseHex(file.tag));
  const plain = decipher.update(file.ciphertext, 'hex', 'utf8');
  try {
    decipher.final();
  } catch (cause) {
    throw new KeyStoreError(`${path} does not open with this passphrase, or it is damaged`, { cause });
  }
  const content = v.safeParse(masterKeysSchema, parseJson(plain));
  if (!content.success) throw new KeyStoreError(`${path} holds master keys of an unknown form`);
  return new Map(content.output.map(({ version, keys }) => [version, new Map(MASTER_KEY_PURPOSES.map((purpose) => [purpose, parseHex(keys[purpose])]))]));
}

/** Everything outside the ciphertext is authenticated with it. */
function associatedData({ format, scryptCost, salt, nonce }: Omit<KeyFile, 'ciphertext' | 'tag'>): Buffer {
  return Buffer.from(JSON.stringify([format, scryptCost, salt, nonce]), 'utf8');
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // Not JSON is one of the ways of not fitting the schema, which then says so without quoting the text.
    return undefined;
  }
}
