/** A token in software for tests: SoftHSM with a folder of its own, and keys of known value put into it by its own tool. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import koffi from 'koffi';
import type { Bytes } from '#protocol/bytes.ts';
import { masterKeyLabel } from './pkcs11.ts';
import { loadPkcs11Library } from './pkcs11-library.ts';
import { CKA, CKK_AES, CKO_SECRET_KEY, encodeAttribute, type Template } from './pkcs11-standard.ts';
import { TokenSession } from './pkcs11-token.ts';
import type { MasterKeyPurpose } from './key-store.ts';

const LIBRARIES = ['/usr/lib/softhsm', '/usr/lib/x86_64-linux-gnu/softhsm', '/usr/lib/aarch64-linux-gnu/softhsm', '/usr/lib64/softhsm', '/usr/local/lib/softhsm', '/opt/homebrew/lib/softhsm'].map((folder) => join(folder, 'libsofthsm2.so'));

export const TOKEN_LABEL = 'kessai test token';
export const TOKEN_PIN = 'a PIN of tests 4711';

export interface SoftToken {
  readonly module: string;
  /** Where its objects are, encrypted under the PIN. */
  readonly folder: string;
  /** What a process needs to find it. */
  readonly environment: Readonly<Record<string, string>>;
  /** Objects with these labels and keys, all with one id; `changed`: attributes other than those of a well kept key. */
  importKeys(keys: readonly (readonly [label: string, key: Bytes])[], id: string, changed?: Readonly<Partial<Record<keyof typeof CKA, boolean>>>): Promise<void>;
  importVersion(version: number, keys: ReadonlyMap<MasterKeyPurpose, Bytes>, id?: string): Promise<void>;
  /** One more token in the same reach. */
  addToken(label: string): void;
  remove(): void;
}

/** Also sets SOFTHSM2_CONF of this process, which SoftHSM reads when it is initialized. */
export function createSoftToken(): SoftToken {
  const module = LIBRARIES.find((path) => existsSync(path));
  if (module === undefined) throw new Error('SoftHSM is missing, and these tests are about nothing without a token: npm run prepare-machine');
  // It writes every object through to the disk: in memory, where there is such a folder, that takes no time.
  const folder = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'kessai-token-'));
  const tokens = join(folder, 'tokens');
  mkdirSync(tokens);
  const configuration = join(folder, 'softhsm2.conf');
  writeFileSync(configuration, `directories.tokendir = ${tokens}\nobjectstore.backend = file\nlog.level = ERROR\n`);
  const environment = { SOFTHSM2_CONF: configuration };
  Object.assign(process.env, environment);
  const softhsm = (...given: string[]) => execFileSync('softhsm2-util', given, { env: { ...process.env, ...environment }, stdio: 'pipe' });
  const addToken = (label: string) => void softhsm('--init-token', '--free', '--label', label, '--so-pin', 'an SO PIN 4711', '--pin', TOKEN_PIN);
  addToken(TOKEN_LABEL);
  const importKeys: SoftToken['importKeys'] = async (keys, id, changed = {}) => {
    const token = new TokenSession({ library: loadPkcs11Library(module), tokenLabel: TOKEN_LABEL, pin: TOKEN_PIN, isWritable: true });
    await token.run(({ session }) => {
      for (const [label, key] of keys) createObject(module, session, { CLASS: CKO_SECRET_KEY, KEY_TYPE: CKK_AES, TOKEN: true, PRIVATE: true, SENSITIVE: true, EXTRACTABLE: false, ENCRYPT: true, LABEL: label, ID: id, ...changed }, key);
      return Promise.resolve();
    }, 'once');
    await token.close();
  };
  return {
    module,
    folder: tokens,
    environment,
    importKeys,
    importVersion: (version, keys, id = 'imported') => importKeys([...keys].map(([purpose, key]) => [masterKeyLabel(purpose, version), key] as const), id),
    addToken,
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}

const CKA_VALUE = 0x11;

/** C_CreateObject with a value that we know: what no program of ours ever does. */
function createObject(module: string, session: bigint, template: Template, key: Bytes): void {
  const attributes = [...Object.entries(template).map(([name, value]) => [CKA[name as keyof typeof CKA], encodeAttribute(value)] as const), [CKA_VALUE, key] as const];
  const struct = koffi.struct({ type: 'unsigned long', value: 'void *', length: 'unsigned long' });
  const native = koffi.load(module).func('C_CreateObject', 'unsigned long', ['unsigned long', koffi.pointer(struct), 'unsigned long', 'void *']);
  const status = Number(native(session, attributes.map(([type, value]) => ({ type, value, length: value.length })), attributes.length, new BigUint64Array(1)));
  if (status !== 0) throw new Error(`C_CreateObject: 0x${status.toString(16)}`);
}
