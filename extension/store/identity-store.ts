/** The customer's signing key and certificate: a key that cannot leave the browser, kept in IndexedDB because only that keeps keys. */
import { parseBase64url, type Bytes } from '#protocol/bytes.ts';
import { Failure } from '#protocol/failure.ts';

export interface StoredIdentity {
  /** ES256, not extractable. */
  readonly privateKey: CryptoKey;
  /** DER, leaf first, without the root. */
  readonly chain: readonly Bytes[];
  /** x5t#S256 of the leaf. */
  readonly thumbprint: string;
}

const DATABASE = 'kessai';
const STORE = 'identity';
const CUSTOMER = 'customer';

export async function loadIdentity(): Promise<StoredIdentity | undefined> {
  const database = await openDatabase();
  try {
    return await settled(database.transaction(STORE).objectStore(STORE).get(CUSTOMER) as IDBRequest<StoredIdentity | undefined>);
  } finally {
    database.close();
  }
}

/** Resolves when it is on disk; it takes the place of the one before. */
export async function saveIdentity(identity: StoredIdentity): Promise<void> {
  if (identity.privateKey.extractable) throw new Failure('internal/bug', { detail: 'a key that could leave' });
  parseBase64url(identity.thumbprint);
  const database = await openDatabase();
  try {
    const transaction = database.transaction(STORE, 'readwrite', { durability: 'strict' });
    transaction.objectStore(STORE).put(identity, CUSTOMER);
    await new Promise<void>((resolve, reject) => {
      transaction.oncomplete = () => resolve();
      transaction.onabort = () => reject(new Failure('internal/bug', { cause: transaction.error, detail: 'the identity was not stored' }));
    });
  } finally {
    database.close();
  }
}

async function openDatabase(): Promise<IDBDatabase> {
  const request = indexedDB.open(DATABASE, 1);
  request.onupgradeneeded = () => request.result.createObjectStore(STORE);
  return settled(request);
}

function settled<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(new Failure('internal/bug', { cause: request.error, detail: 'IndexedDB' }));
  });
}
