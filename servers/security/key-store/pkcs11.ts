/** Master keys in a hardware token, reached by PKCS#11: the token diversifies, and only keys of single cards ever come out of it. */
import { randomBytes } from 'node:crypto';
import { encodeHex, equalBytes, type Bytes } from '#protocol/bytes.ts';
import { AES_KEY_BYTES, BLOCK_BYTES, deriveSubkeys, type Subkeys } from '../desfire/cmac.ts';
import { diversificationBlocks, keyOfDiversification } from '../desfire/diversification.ts';
import { loadPkcs11Library, type ObjectHandle, type Pkcs11Library } from './pkcs11-library.ts';
import { CKK_AES, CKO_SECRET_KEY, encodeAttribute, type Template } from './pkcs11-standard.ts';
import { TokenSession, type TokenOptions, type TokenTurn } from './pkcs11-token.ts';
import { diversificationInput, factoryKey, FACTORY_KEY_VERSION, FIRST_KEY_VERSION, KeyStoreError, MASTER_KEY_PURPOSES, masterKeyPurposeOf, MAX_KEY_VERSION, unknownVersion, type CardKeyPurpose, type MasterKeyPurpose, type OpenKeyStore } from './key-store.ts';
import { readSecret } from './private-file.ts';

export interface Pkcs11KeyStoreOptions extends Omit<TokenOptions, 'library' | 'isWritable'> {
  /** Path of the token's library; tests give the library itself. */
  readonly module: string | Pkcs11Library;
  /** Milliseconds that only grow. */
  readonly now?: () => number;
  /** Told once of every version that the token holds in a way that forbids its use; the store goes on without it. */
  readonly onProblem?: (problem: KeyStoreError) => void;
}

/** The scheme of names: all keys of a version that were made together also have one CKA_ID. */
export function masterKeyLabel(purpose: MasterKeyPurpose, version: number): string {
  return `kessai master key ${purpose} version ${version}`;
}

interface MasterKey {
  readonly handle: ObjectHandle;
  /** Not secret enough to need the token: they tell nothing about the key itself. */
  subkeys?: Subkeys;
}
type VersionKeys = ReadonlyMap<MasterKeyPurpose, MasterKey>;

interface Listing {
  readonly sessionNumber: number;
  readonly readAt: number;
  readonly versions: Versions;
}

/** Every version of which there is a key; a KeyStoreError for one that cannot be used. */
type Versions = ReadonlyMap<number, VersionKeys | KeyStoreError>;

/** How soon a version that another program added becomes the current one. */
const LISTING_AGE_MS = 10_000;
/** More than all versions of all purposes. */
const MAX_KEYS = 4096;
const ID_BYTES = 8;
const LABEL = new RegExp(`^kessai master key (${MASTER_KEY_PURPOSES.join('|')}) version ([1-9][0-9]{0,2})$`);
const KEY_LENGTH = encodeAttribute(BigInt(AES_KEY_BYTES));
const KEY_SORT: Template = { CLASS: CKO_SECRET_KEY, KEY_TYPE: CKK_AES, TOKEN: true };

class Pkcs11KeyStore implements OpenKeyStore {
  readonly #session: TokenSession;
  readonly #now: () => number;
  readonly #onProblem: (problem: KeyStoreError) => void;
  readonly #toldOf = new Set<string>();
  #listing: Listing | undefined;

  constructor(session: TokenSession, { now = () => performance.now(), onProblem = () => undefined }: Pick<Pkcs11KeyStoreOptions, 'now' | 'onProblem'>) {
    this.#session = session;
    this.#now = now;
    this.#onProblem = onProblem;
  }

  async currentVersion(): Promise<number> {
    const version = (await this.versions()).at(-1);
    if (version === undefined) throw new KeyStoreError('the token holds no master keys that can be used: add a version (npm run master-keys)');
    return version;
  }

  async versions(): Promise<readonly number[]> {
    const { versions } = await this.#session.run((turn) => this.#list(turn, LISTING_AGE_MS));
    return usableVersions(versions);
  }

  async deriveCardKey(uid: Bytes, purpose: CardKeyPurpose, version: number): Promise<Bytes> {
    const zero = version === FACTORY_KEY_VERSION ? factoryKey(purpose) : undefined;
    if (zero !== undefined) return zero;
    const input = diversificationInput(uid, purpose);
    return this.#session.run(async (turn) => {
      let keys = (await this.#list(turn, Infinity)).versions.get(version);
      if (keys === undefined || keys instanceof KeyStoreError) keys = (await this.#list(turn, 0)).versions.get(version);
      if (keys instanceof KeyStoreError) throw keys;
      const masterKey = keys?.get(masterKeyPurposeOf(purpose));
      if (masterKey === undefined) throw unknownVersion(purpose, version);
      masterKey.subkeys ??= deriveSubkeys(await turn.library.encryptCbc(turn.session, masterKey.handle, new Uint8Array(BLOCK_BYTES)));
      return keyOfDiversification(await turn.library.encryptCbc(turn.session, masterKey.handle, diversificationBlocks(input, masterKey.subkeys)));
    });
  }

  close(): Promise<void> {
    return this.#session.close();
  }

  async #list(turn: TokenTurn, maxAgeMs: number): Promise<Listing> {
    const known = this.#listing?.sessionNumber === turn.sessionNumber ? this.#listing : undefined;
    if (known !== undefined && this.#now() - known.readAt < maxAgeMs) return known;
    const listing = { sessionNumber: turn.sessionNumber, readAt: this.#now(), versions: await listVersions(turn) };
    this.#listing = listing;
    for (const problem of listing.versions.values()) {
      if (!(problem instanceof KeyStoreError) || this.#toldOf.has(problem.message)) continue;
      this.#toldOf.add(problem.message);
      this.#onProblem(problem);
    }
    return listing;
  }
}

/** Logs in and reads what there is; throws KeyStoreError for a token that is not there, or that refuses the PIN. */
export async function openPkcs11KeyStore(options: Pkcs11KeyStoreOptions): Promise<OpenKeyStore> {
  const store = new Pkcs11KeyStore(new TokenSession(tokenOptions(options)), options);
  try {
    await store.versions();
    return store;
  } catch (error) {
    await store.close();
    throw error;
  }
}

/** Has the token make master keys for the next version, the first one in an empty token; resolves to the version. Throws KeyStoreError. */
export async function addPkcs11KeyVersion(options: Pkcs11KeyStoreOptions): Promise<number> {
  const token = new TokenSession({ ...tokenOptions(options), isWritable: true });
  try {
    const held = await token.run(listVersions);
    // Never again a number of which there is any key: a card may have it.
    const version = Math.max(FIRST_KEY_VERSION - 1, ...held.keys()) + 1;
    if (version > MAX_KEY_VERSION) throw new KeyStoreError('all key versions are used');
    await token.run((turn) => generateVersion(turn, version), 'once');
    const made = (await token.run(listVersions)).get(version);
    if (made instanceof KeyStoreError) throw made;
    if (made === undefined) throw new KeyStoreError(`the token does not show the keys of version ${version} that it made`);
    return version;
  } finally {
    await token.close();
  }
}

/** The PIN from KESSAI_PKCS11_PIN, or from the first line of a file that only its owner may read. Throws KeyStoreError if there is none. */
export function readTokenPin(environment: Readonly<Record<string, string | undefined>>, pinFile?: string): string {
  const pin = readSecret(environment['KESSAI_PKCS11_PIN'], pinFile, 'PIN');
  if (pin === undefined || pin === '') throw new KeyStoreError('no PIN for the token: set KESSAI_PKCS11_PIN or name a PIN file');
  return pin;
}

function usableVersions(versions: Versions): number[] {
  return [...versions].flatMap(([version, keys]) => (keys instanceof KeyStoreError ? [] : [version])).sort((a, b) => a - b);
}

function tokenOptions({ module, ...options }: Pkcs11KeyStoreOptions): TokenOptions {
  return { ...options, library: typeof module === 'string' ? loadPkcs11Library(module) : module };
}

/** Keys in the order of their purposes: whoever is cut off leaves an incomplete version, which nobody uses. */
async function generateVersion({ library, session }: TokenTurn, version: number): Promise<void> {
  const id = new Uint8Array(randomBytes(ID_BYTES));
  const made: ObjectHandle[] = [];
  try {
    for (const purpose of MASTER_KEY_PURPOSES) made.push(await library.generateAesKey(session, masterKeyTemplate(purpose, version, id)));
  } catch (error) {
    // A full token, for example: what was made for nothing is taken away, as far as that goes.
    for (const handle of made) await library.destroyObject(session, handle).catch(() => undefined);
    throw error;
  }
}

function masterKeyTemplate(purpose: MasterKeyPurpose, version: number, id: Uint8Array): Template {
  return {
    ...KEY_SORT, PRIVATE: true, LABEL: masterKeyLabel(purpose, version), ID: id, VALUE_LEN: KEY_LENGTH, SENSITIVE: true, EXTRACTABLE: false,
    MODIFIABLE: false, ENCRYPT: true, DECRYPT: false, SIGN: false, VERIFY: false, WRAP: false, UNWRAP: false, DERIVE: false,
  };
}

interface NamedKey {
  readonly id: string;
  readonly purpose: MasterKeyPurpose;
  readonly handle: ObjectHandle;
  /** Why it must not be used. */
  readonly flaw: string | undefined;
}

async function listVersions({ library, session }: TokenTurn): Promise<Versions> {
  const byVersion = new Map<number, NamedKey[]>();
  for (const handle of await library.findObjects(session, KEY_SORT, MAX_KEYS)) {
    const attributes = await library.readAttributes(session, handle, ATTRIBUTES_READ);
    const label = new TextDecoder().decode(attributes.LABEL);
    const [, purposeName, versionText] = LABEL.exec(label) ?? [];
    const purpose = MASTER_KEY_PURPOSES.find((known) => String(known) === purposeName);
    const version = Number(versionText);
    if (purpose === undefined || version > MAX_KEY_VERSION) continue;
    byVersion.set(version, [...(byVersion.get(version) ?? []), { id: encodeHex(attributes.ID), purpose, handle, flaw: flawOf(label, attributes) }]);
  }
  return new Map([...byVersion].map(([version, keys]) => [version, completeKeys(version, keys)]));
}

const ATTRIBUTES_READ = ['LABEL', 'ID', 'SENSITIVE', 'EXTRACTABLE', 'ENCRYPT', 'VALUE_LEN'] as const;

function flawOf(label: string, { SENSITIVE, EXTRACTABLE, ENCRYPT, VALUE_LEN }: Readonly<Record<(typeof ATTRIBUTES_READ)[number], Bytes>>): string | undefined {
  // Where the master key may come out, everything else that is done to keep it in is for nothing.
  if (SENSITIVE[0] !== 1 || EXTRACTABLE[0] !== 0) return `the token does not keep "${label}" to itself: it must be sensitive and not extractable`;
  return ENCRYPT[0] === 1 && equalBytes(VALUE_LEN, KEY_LENGTH) ? undefined : `"${label}" is not an AES-128 key that may encrypt`;
}

/** Keys of one id, one of each purpose. Two such sets, or a purpose twice: cards may hold keys of either, so a person must decide. */
function completeKeys(version: number, keys: readonly NamedKey[]): VersionKeys | KeyStoreError {
  const sets = [...new Set(keys.map(({ id }) => id))]
    .map((id) => keys.filter((key) => key.id === id))
    .filter((keysOfId) => MASTER_KEY_PURPOSES.every((purpose) => keysOfId.some((key) => key.purpose === purpose)));
  const [set] = sets;
  if (set === undefined) return new KeyStoreError(`the master keys of version ${version} in the token are incomplete: being made just now, or cut off; they are not used`);
  if (sets.length > 1 || set.length > MASTER_KEY_PURPOSES.length) {
    return new KeyStoreError(`the token holds the master keys of version ${version} more than once (CKA_ID ${sets.map(([key]) => key?.id).join(', ')}): with the token's own tool delete those that no card has`);
  }
  const flaw = set.find((key) => key.flaw !== undefined)?.flaw;
  return flaw === undefined ? new Map(set.map(({ purpose, handle }) => [purpose, { handle }])) : new KeyStoreError(flaw);
}
