/** Where a command finds the cards' master keys: the key file of a world, another file, or a token; and the options that say so. */
import { existsSync } from 'node:fs';
import type { Command } from 'commander';
import { addMasterKeyVersion, createKeyStoreFile, openKeyStoreFile, readKeyStorePassphrase } from '#servers/security/key-store/file.ts';
import { addPkcs11KeyVersion, openPkcs11KeyStore, readTokenPin } from '#servers/security/key-store/pkcs11.ts';
import type { KeyStoreError, OpenKeyStore } from '#servers/security/key-store/key-store.ts';
import { ensureKeyFilePassphrase, keyFileOf } from '#world/settlement.ts';

export interface KeyStoreOptions {
  readonly folder: string;
  readonly keyStore?: string;
  readonly passphraseFile?: string;
  readonly module?: string;
  readonly token?: string;
  readonly pinFile?: string;
}

/** A key store as a command needs it, whatever its kind. */
export interface KeyStorePlace {
  readonly name: string;
  add(): Promise<void>;
  open(onProblem: (problem: KeyStoreError) => void): Promise<OpenKeyStore>;
}

export function withKeyStoreOptions(command: Command): Command {
  return command
    .option('--folder <folder>', 'of a world (npm start), for its key file', 'var')
    .option('--key-store <file>', 'an encrypted key file')
    .option('--passphrase-file <file>', 'its passphrase, in a file that only you may read; or KESSAI_KEY_STORE_PASSPHRASE')
    .option('--module <library>', "a token: its PKCS#11 library, for example /usr/lib/softhsm/libsofthsm2.so")
    .option('--token <label>', "the token's label")
    .option('--pin-file <file>', 'its PIN, in a file that only you may read; or KESSAI_PKCS11_PIN');
}

/** What is wrong with the options, in words. */
export function misuseOfKeyStore({ keyStore, passphraseFile, module, token, pinFile }: KeyStoreOptions): string | undefined {
  if (keyStore !== undefined && module !== undefined) return 'either --key-store or --module';
  if ((module === undefined) !== (token === undefined)) return '--module and --token go together';
  if (module === undefined && pinFile !== undefined) return '--pin-file goes with --module';
  return keyStore === undefined && passphraseFile !== undefined ? '--passphrase-file goes with --key-store' : undefined;
}

export function keyStorePlace({ folder, keyStore, passphraseFile, module, token, pinFile }: KeyStoreOptions): KeyStorePlace {
  if (module !== undefined && token !== undefined) {
    const options = () => ({ module, tokenLabel: token, pin: readTokenPin(process.env, pinFile) });
    return { name: `token ${token}`, add: async () => void (await addPkcs11KeyVersion(options())), open: (onProblem) => openPkcs11KeyStore({ ...options(), onProblem }) };
  }
  return keyStore === undefined ? worldsFile(folder) : fileAt(keyStore, () => readKeyStorePassphrase(process.env, passphraseFile));
}

function worldsFile(folder: string): KeyStorePlace {
  const keyFile = keyFileOf(folder);
  const file = fileAt(keyFile.path, () => readKeyStorePassphrase(process.env, keyFile.passphraseFile));
  return {
    ...file,
    async add() {
      await ensureKeyFilePassphrase(keyFile);
      await file.add();
    },
  };
}

function fileAt(path: string, readPassphrase: () => string): KeyStorePlace {
  return {
    name: `file ${path}`,
    async add() {
      const options = { path, passphrase: readPassphrase() };
      await (existsSync(path) ? addMasterKeyVersion(options) : createKeyStoreFile(options)).close();
    },
    async open() {
      if (!existsSync(path)) throw new Error(`there is no key store at ${path}: --add-version makes one`);
      return Promise.resolve(openKeyStoreFile({ path, passphrase: readPassphrase() }));
    },
  };
}
