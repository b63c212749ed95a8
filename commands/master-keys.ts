/** master-keys: lists the versions of the cards' master keys, never a key, and adds a version, in an encrypted file or in a PKCS#11 token. */
import { existsSync } from 'node:fs';
import { Command } from 'commander';
import { addMasterKeyVersion, createKeyStoreFile, openKeyStoreFile, readKeyStorePassphrase } from '#servers/security/key-store-file.ts';
import { addPkcs11KeyVersion, openPkcs11KeyStore, readTokenPin } from '#servers/security/key-store-pkcs11.ts';
import type { KeyStoreError, OpenKeyStore } from '#servers/security/key-store.ts';
import { ensureKeyFilePassphrase, keyFileOf } from '#world/settlement.ts';
import { EXIT, runCommand } from './run-command.ts';

interface MasterKeysOptions {
  readonly list?: true;
  readonly addVersion?: true;
  readonly folder: string;
  readonly keyStore?: string;
  readonly passphraseFile?: string;
  readonly module?: string;
  readonly token?: string;
  readonly pinFile?: string;
  readonly json?: true;
}

/** A key store as this command needs it, whatever its kind. */
interface Place {
  readonly name: string;
  add(): Promise<void>;
  open(onProblem: (problem: KeyStoreError) => void): Promise<OpenKeyStore>;
}

function commandLine(): Command {
  return new Command('master-keys')
    .description("Lists the versions of the cards' master keys, or adds a version. Shows no key, ever.")
    .option('--list', 'list the versions')
    .option('--add-version', 'add fresh master keys under the next version; the first one makes the store')
    .option('--folder <folder>', "of a world (npm start): its key file; the default's is var", 'var')
    .option('--key-store <file>', 'an encrypted key file')
    .option('--passphrase-file <file>', 'its passphrase, in a file that only you may read; or KESSAI_KEY_STORE_PASSPHRASE')
    .option('--module <library>', "a token: its PKCS#11 library, for example /usr/lib/softhsm/libsofthsm2.so")
    .option('--token <label>', "the token's label")
    .option('--pin-file <file>', 'its PIN, in a file that only you may read; or KESSAI_PKCS11_PIN')
    .option('--json', 'print one JSON object')
    .addHelpText('after', '\nA running security server takes a new version over by itself, from a token within ten seconds. Exit code 1: failure, 2: wrong usage.');
}

function misuseOf({ list, addVersion, keyStore, passphraseFile, module, token, pinFile }: MasterKeysOptions): string | undefined {
  if ((list === true) === (addVersion === true)) return 'either --list or --add-version';
  if (keyStore !== undefined && module !== undefined) return 'either --key-store or --module';
  if ((module === undefined) !== (token === undefined)) return '--module and --token go together';
  if (module === undefined && pinFile !== undefined) return '--pin-file goes with --module';
  return keyStore === undefined && passphraseFile !== undefined ? '--passphrase-file goes with --key-store' : undefined;
}

function placeOf({ folder, keyStore, passphraseFile, module, token, pinFile }: MasterKeysOptions): Place {
  if (module !== undefined && token !== undefined) {
    const options = () => ({ module, tokenLabel: token, pin: readTokenPin(process.env, pinFile) });
    return { name: `token ${token}`, add: async () => void (await addPkcs11KeyVersion(options())), open: (onProblem) => openPkcs11KeyStore({ ...options(), onProblem }) };
  }
  return keyStore === undefined ? worldsFile(folder) : fileAt(keyStore, () => readKeyStorePassphrase(process.env, passphraseFile));
}

function worldsFile(folder: string): Place {
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

function fileAt(path: string, readPassphrase: () => string): Place {
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

async function run(options: MasterKeysOptions): Promise<number> {
  const misuse = misuseOf(options);
  if (misuse !== undefined) {
    process.stderr.write(`error: ${misuse}\n`);
    return EXIT.usage;
  }
  const place = placeOf(options);
  if (options.addVersion === true) await place.add();
  const problems: string[] = [];
  const store = await place.open(({ message }) => problems.push(message));
  const versions = await store.versions();
  await store.close();
  const currentVersion = versions.at(-1) ?? null;
  if (options.json === true) {
    process.stdout.write(`${JSON.stringify({ keyStore: place.name, versions, currentVersion, added: options.addVersion === true ? currentVersion : null, problems })}\n`);
    return EXIT.done;
  }
  for (const problem of problems) process.stderr.write(`Not usable: ${problem}\n`);
  if (options.addVersion === true) process.stdout.write(`Version ${String(currentVersion)} is added. Back the key store up: without it no card of this version can be used.\n`);
  process.stdout.write(`${place.name}: ${currentVersion === null ? 'no versions' : `versions ${versions.join(', ')}; cards get ${currentVersion}`}\n`);
  return EXIT.done;
}

process.exitCode = await runCommand(commandLine(), run);
