/** Master keys in an encrypted file: opened once with its passphrase, held in this process's memory, and read again when versions are added. */
import { linkSync, openSync, closeSync, renameSync, unlinkSync } from 'node:fs';
import { randomBytes } from 'node:crypto';
import type { Bytes } from '#protocol/bytes.ts';
import { AES_KEY_BYTES } from '../desfire/cmac.ts';
import { diversifyKey } from '../desfire/diversification.ts';
import { decryptMasterKeys, decryptMasterKeysAside, encryptMasterKeys, type MasterKeys } from './file-format.ts';
import { markOfFile, readPrivateFile, readSecret, syncFolder, writeBeside, type PrivateFile } from './private-file.ts';
import { diversificationInput, factoryKey, FACTORY_KEY_VERSION, FIRST_KEY_VERSION, KeyStoreError, MASTER_KEY_PURPOSES, masterKeyPurposeOf, MAX_KEY_VERSION, unknownVersion, type CardKeyPurpose, type MasterKeyPurpose, type OpenKeyStore } from './key-store.ts';

const MIN_PASSPHRASE_LENGTH = 12;

export interface KeyStoreFileOptions {
  readonly path: string;
  readonly passphrase: string;
  /** Cost for a new file; tests choose a small one. */
  readonly scryptCost?: number;
  /** Told why a changed file was not taken over; the store then goes on with what it holds. */
  readonly onProblem?: (problem: KeyStoreError) => void;
}

class FileKeyStore implements OpenKeyStore {
  readonly #options: KeyStoreFileOptions;
  #masterKeys: MasterKeys;
  /** Of the file as it was when last looked into, whether or not it was taken over. */
  #mark: string;
  #reading: Promise<void> | undefined;

  constructor(options: KeyStoreFileOptions, { text, mark }: PrivateFile) {
    this.#options = options;
    this.#masterKeys = decryptMasterKeys(text, options);
    this.#mark = mark;
  }

  async currentVersion(): Promise<number> {
    return Math.max(...(await this.versions()));
  }

  async versions(): Promise<readonly number[]> {
    await this.#readChanges();
    return [...this.#masterKeys.keys()].sort((a, b) => a - b);
  }

  async deriveCardKey(uid: Bytes, purpose: CardKeyPurpose, version: number): Promise<Bytes> {
    const zero = version === FACTORY_KEY_VERSION ? factoryKey(purpose) : undefined;
    if (zero !== undefined) return zero;
    if (!this.#masterKeys.has(version)) await this.#readChanges();
    const masterKey = this.#masterKeys.get(version)?.get(masterKeyPurposeOf(purpose));
    if (masterKey === undefined) throw unknownVersion(purpose, version);
    return diversifyKey(masterKey, diversificationInput(uid, purpose));
  }

  close(): Promise<void> {
    this.#masterKeys = new Map();
    return Promise.resolve();
  }

  async #readChanges(): Promise<void> {
    const mark = markOfFile(this.#options.path);
    if (mark !== undefined && mark !== this.#mark) this.#reading ??= this.#readAgain(mark).finally(() => (this.#reading = undefined));
    await this.#reading;
  }

  /** Never throws: cards of the versions that we hold can go on, whatever became of the file. */
  async #readAgain(mark: string): Promise<void> {
    // Also where it fails: what could not be taken over is tried again only after it has changed once more.
    this.#mark = mark;
    try {
      const file = readExisting(this.#options.path);
      this.#mark = file.mark;
      const changed = await decryptMasterKeysAside(file.text, this.#options);
      if (!holdsAll(changed, this.#masterKeys)) throw new KeyStoreError(`${this.#options.path} no longer holds the master keys that this server works with: it was not taken over`);
      this.#masterKeys = changed;
    } catch (problem) {
      if (!(problem instanceof KeyStoreError)) throw problem;
      this.#options.onProblem?.(problem);
    }
  }
}

/** Makes a new store with fresh master keys of version 1; throws KeyStoreError if the file exists already. */
export function createKeyStoreFile(options: KeyStoreFileOptions): OpenKeyStore {
  const finished = writeBeside(options.path, encryptMasterKeys(new Map([[FIRST_KEY_VERSION, newMasterKeys()]]), options));
  try {
    // A link, unlike a rename, never takes the place of a store that is there.
    linkSync(finished, options.path);
  } catch (cause) {
    throw new KeyStoreError(`the key store ${options.path} cannot be created`, { cause });
  } finally {
    unlinkSync(finished);
  }
  syncFolder(options.path);
  return openKeyStoreFile(options);
}

/** Throws KeyStoreError: no such file, readable by others, damaged, or another passphrase. */
export function openKeyStoreFile(options: KeyStoreFileOptions): OpenKeyStore {
  return new FileKeyStore(options, readExisting(options.path));
}

/** First start: opens the store, or makes it where no file is. */
export function openOrCreateKeyStoreFile(options: KeyStoreFileOptions): OpenKeyStore {
  const file = readPrivateFile(options.path, 'key store');
  return file === undefined ? createKeyStoreFile(options) : new FileKeyStore(options, file);
}

/** Adds fresh master keys under the next version; the older ones stay for the cards that hold them. The file is replaced whole or not at all. */
export function addMasterKeyVersion(options: KeyStoreFileOptions): OpenKeyStore {
  const unlock = lockAgainstOthers(options.path);
  try {
    const masterKeys = new Map(decryptMasterKeys(readExisting(options.path).text, options));
    const version = Math.max(...masterKeys.keys()) + 1;
    if (version > MAX_KEY_VERSION) throw new KeyStoreError('all key versions are used');
    masterKeys.set(version, newMasterKeys());
    renameSync(writeBeside(options.path, encryptMasterKeys(masterKeys, options)), options.path);
    syncFolder(options.path);
  } finally {
    unlock();
  }
  return openKeyStoreFile(options);
}

/**
 * The passphrase from KESSAI_KEY_STORE_PASSPHRASE, or from the first line of a file that only its owner may read.
 * Throws KeyStoreError if there is none or it is too short.
 */
export function readKeyStorePassphrase(environment: Readonly<Record<string, string | undefined>>, passphraseFile?: string): string {
  const passphrase = readSecret(environment['KESSAI_KEY_STORE_PASSPHRASE'], passphraseFile, 'passphrase');
  if (passphrase === undefined) throw new KeyStoreError('no passphrase: set KESSAI_KEY_STORE_PASSPHRASE or name a passphrase file');
  if (passphrase.length < MIN_PASSPHRASE_LENGTH) throw new KeyStoreError(`the key store's passphrase needs at least ${MIN_PASSPHRASE_LENGTH} characters`);
  return passphrase;
}

/** Two who add at once would both make the same version, and the first one's keys would be lost. */
function lockAgainstOthers(path: string): () => void {
  const lock = `${path}.lock`;
  try {
    closeSync(openSync(lock, 'wx', 0o600));
  } catch (cause) {
    throw new KeyStoreError(`a version is being added to ${path} just now; if not, an earlier adding was cut off: remove ${lock}`, { cause });
  }
  return () => unlinkSync(lock);
}

function newMasterKeys(): ReadonlyMap<MasterKeyPurpose, Bytes> {
  return new Map(MASTER_KEY_PURPOSES.map((purpose) => [purpose, new Uint8Array(randomBytes(AES_KEY_BYTES))]));
}

function readExisting(path: string): PrivateFile {
  const file = readPrivateFile(path, 'key store');
  if (file === undefined) throw new KeyStoreError(`there is no key store at ${path}`);
  return file;
}

function holdsAll(changed: MasterKeys, held: MasterKeys): boolean {
  return [...held].every(([version, keys]) => [...keys].every(([purpose, key]) => changed.get(version)?.get(purpose)?.every((byte, i) => byte === key[i]) === true));
}
