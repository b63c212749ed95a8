/** Test authorities, and certificates that are wrong in one chosen way but signed by the right key. */
import type { CryptoKey } from 'jose';
import { Certificate } from 'pkijs';
import type { Bytes } from './bytes.ts';
import { type Issuer, issueIntermediate, issueLeaf, issueRoot, type LeafRequest } from './certificate-issue.ts';
import type { Role } from './certificate-roles.ts';

export const NOW_MS = Date.UTC(2026, 10, 22, 12);
export const VALIDITY = { notBeforeMs: NOW_MS - 60_000, notAfterMs: NOW_MS + 60_000 };

export interface TestKeyPair {
  readonly publicKey: CryptoKey;
  readonly privateKey: CryptoKey;
}

export function makeKeyPair(): Promise<TestKeyPair> {
  return crypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, ['sign', 'verify']);
}

export interface TestAuthorities {
  readonly root: Issuer;
  readonly shops: Issuer;
  readonly customers: Issuer;
  readonly leafKeys: TestKeyPair;
}

export async function makeAuthorities(pathLength = 1): Promise<TestAuthorities> {
  const rootKeys = await makeKeyPair();
  const root = { certificate: await issueRoot({ ...VALIDITY, keyPair: rootKeys, commonName: 'Test root', pathLength }), privateKey: rootKeys.privateKey };
  const intermediate = async (commonName: string, roles: readonly Role[]): Promise<Issuer> => {
    const keys = await makeKeyPair();
    return { certificate: await issueIntermediate({ ...VALIDITY, issuer: root, publicKey: keys.publicKey, commonName, roles }), privateKey: keys.privateKey };
  };
  return { root, shops: await intermediate('Test shops', ['shop', 'shop-server']), customers: await intermediate('Test customers', ['customer', 'customer-browser']), leafKeys: await makeKeyPair() };
}

/** A good shop's leaf, with what a test wants otherwise. */
export async function makeShopLeaf({ shops, leafKeys }: TestAuthorities, otherwise: Partial<LeafRequest> = {}): Promise<Bytes> {
  return await issueLeaf({ ...VALIDITY, issuer: shops, publicKey: leafKeys.publicKey, role: 'shop', commonName: 'hanamaru', organization: 'Hanamaru Books', origins: ['https://shop.example'], ...otherwise });
}

/** The certificate with `change` applied to what is signed, signed again by `signingKey`. */
export async function resign(der: Bytes, signingKey: CryptoKey, change: (certificate: Certificate) => void): Promise<Bytes> {
  const certificate = Certificate.fromBER(der);
  change(certificate);
  await certificate.sign(signingKey, 'SHA-256');
  return new Uint8Array(certificate.toSchema(true).toBER());
}
