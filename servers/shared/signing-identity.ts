/** A server's own signing key and certificate chain, loaded once from PEM; afterwards the key can sign but no longer be read. */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import type { CryptoKey } from 'jose';
import type { Bytes } from '#protocol/bytes.ts';
import { parsePem } from '#protocol/certificate-pem.ts';
import { certificateThumbprint } from '#protocol/certificates.ts';

export interface SigningIdentity {
  /** ES256, not extractable. */
  readonly privateKey: CryptoKey;
  /** Leaf first, without the root: `x5c`. */
  readonly chain: readonly Bytes[];
  /** `x5t#S256` of the leaf. */
  readonly thumbprint: string;
}

/**
 * `keyPem`: a P-256 key as PKCS #8 or SEC 1; `chainPem`: leaf first. One text may hold both. Throws an Error when the
 * key is another kind's or another certificate's.
 */
export async function createSigningIdentity({ keyPem, chainPem }: { readonly keyPem: string; readonly chainPem: string }): Promise<SigningIdentity> {
  const key = createPrivateKey(keyPem);
  const chain = parsePem('CERTIFICATE', chainPem);
  const [leaf] = chain;
  if (leaf === undefined) throw new Error('no certificate for the signing key');
  if (key.asymmetricKeyDetails?.namedCurve !== 'prime256v1') throw new Error('the signing key is not a P-256 key');
  if (!new X509Certificate(leaf).checkPrivateKey(key)) throw new Error('the signing key does not belong to its certificate');
  const keyDer = new Uint8Array(key.export({ type: 'pkcs8', format: 'der' }));
  try {
    const privateKey = await crypto.subtle.importKey('pkcs8', keyDer, { name: 'ECDSA', namedCurve: 'P-256' }, false, ['sign']);
    return { privateKey, chain, thumbprint: await certificateThumbprint(leaf) };
  } finally {
    keyDer.fill(0);
  }
}

/** The same from one file that holds the key and the chain. */
export async function loadSigningIdentity(file: string): Promise<SigningIdentity> {
  const pem = await readFile(file, 'latin1');
  try {
    return await createSigningIdentity({ keyPem: pem, chainPem: pem });
  } catch (cause) {
    throw new Error(`${file}: ${cause instanceof Error ? cause.message : 'unreadable'}`, { cause });
  }
}
