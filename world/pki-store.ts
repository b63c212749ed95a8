/** Keys and certificates on disk: one PEM file holds a private key and its chain, appears complete or not at all, and is the owner's only. */
import { randomBytes } from 'node:crypto';
import { link, mkdir, open, readFile, rename, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Bytes } from '#protocol/bytes.ts';
import { parseCertificate, importPublicKey } from '#protocol/certificate-parse.ts';
import { encodePem, parsePem } from '#protocol/certificate-pem.ts';

/** A private key with its certificate chain, and the file that holds both. */
export interface Identity {
  readonly file: string;
  readonly keyPem: string;
  /** Leaf first, without the root: what TLS presents, and `x5c`. */
  readonly chainPem: string;
  readonly chain: readonly Bytes[];
}

export interface KeyPair {
  readonly publicKey: CryptoKey;
  readonly privateKey: CryptoKey;
}

const ES256 = { name: 'ECDSA', namedCurve: 'P-256' } as const;

/** How the chain for a key is made; the chain of an identity that exists is made anew when `isCurrent` is false. */
export interface Recipe {
  isCurrent(chain: readonly Bytes[]): Promise<boolean>;
  makeChain(keyPair: KeyPair): Promise<readonly Bytes[]>;
}

/**
 * The identity in `file`, made or renewed as needed. A renewal keeps the key. Of two processes that make one file at
 * once, one wins and both use its key.
 */
export async function ensureIdentity(file: string, recipe: Recipe): Promise<Identity & KeyPair> {
  let identity = await readIdentity(file);
  if (identity === undefined) {
    const keyPair = await crypto.subtle.generateKey(ES256, true, ['sign', 'verify']);
    await writeWhole(file, await encodeIdentity(keyPair, await recipe.makeChain(keyPair)), 'keep');
    identity = await readIdentity(file);
  }
  if (identity !== undefined && !await recipe.isCurrent(identity.chain)) {
    await writeWhole(file, await encodeIdentity(identity, await recipe.makeChain(identity)), 'replace');
    identity = await readIdentity(file);
  }
  if (identity === undefined) throw new Error(`${file} disappeared while it was made`);
  return identity;
}

async function encodeIdentity({ privateKey }: KeyPair, chain: readonly Bytes[]): Promise<string> {
  const keyDer = new Uint8Array(await crypto.subtle.exportKey('pkcs8', privateKey));
  return [encodePem('PRIVATE KEY', keyDer), ...chain.map((der) => encodePem('CERTIFICATE', der))].join('');
}

/** Undefined when there is no such file; throws when it holds something else. */
export async function readIdentity(file: string): Promise<(Identity & KeyPair) | undefined> {
  const text = await readText(file);
  if (text === undefined) return undefined;
  const [key] = parsePem('PRIVATE KEY', text);
  const chain = parsePem('CERTIFICATE', text);
  const [leaf] = chain;
  if (key === undefined || leaf === undefined) throw new Error(`${file} does not hold a key and its certificate; remove it to have it made again`);
  return {
    file,
    keyPem: encodePem('PRIVATE KEY', key),
    chainPem: chain.map((der) => encodePem('CERTIFICATE', der)).join(''),
    chain,
    privateKey: await crypto.subtle.importKey('pkcs8', key, ES256, true, ['sign']),
    publicKey: await importPublicKey(parseCertificate(leaf).publicKeyInfo),
  };
}

/** Undefined when there is no such file. */
export async function readText(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, 'latin1');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** Writes a file that is never seen half written. `keep`: what another process wrote first stays. */
export async function writeWhole(file: string, content: string | Uint8Array, ifThere: 'keep' | 'replace'): Promise<void> {
  await mkdir(dirname(file), { recursive: true, mode: 0o700 });
  const temporary = `${file}.${randomBytes(6).toString('hex')}.tmp`;
  const handle = await open(temporary, 'wx', 0o600);
  try {
    await handle.writeFile(content);
    await handle.sync();
  } finally {
    await handle.close();
  }
  if (ifThere === 'replace') {
    await rename(temporary, file);
    return;
  }
  try {
    // link(2), unlike rename(2), fails when the name is taken.
    await link(temporary, file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  } finally {
    await unlink(temporary);
  }
}
