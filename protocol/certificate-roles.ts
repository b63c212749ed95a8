/** The roles that a certificate can give, and what a validated certificate says about its owner. */
import type { CryptoKey } from 'jose';
import { type Bytes, encodeBase64url } from './bytes.ts';

/**
 * Our own extended key usages. IANA gives the arc 1.3.6.1.4.1.32473 to examples in documents (RFC 5612); whoever runs
 * a settlement institution puts its own enterprise number here. Web servers have the usage of RFC 5280, 4.2.1.12.
 */
const ARC = '1.3.6.1.4.1.32473.142307';

/** role -> the extended key usage that gives it. Signing roles sign messages; the other roles authenticate TLS. */
export const ROLES = {
  'shop': `${ARC}.1.1`,
  'customer': `${ARC}.1.2`,
  'settlement': `${ARC}.1.3`,
  'operator': `${ARC}.1.4`,
  'application-server': `${ARC}.2.1`,
  'security-server': `${ARC}.2.2`,
  'information-server': `${ARC}.2.3`,
  'shop-server': `${ARC}.2.4`,
  'customer-browser': `${ARC}.2.5`,
  'operator-terminal': `${ARC}.2.6`,
  'web-server': '1.3.6.1.5.5.7.3.1',
} as const;

export type Role = keyof typeof ROLES;

const SERVER_AUTH = '1.3.6.1.5.5.7.3.1';
const CLIENT_AUTH = '1.3.6.1.5.5.7.3.2';

/** All extended key usages of a leaf with this role, no more and no fewer. TLS stacks ask for their own beside ours. */
export function extendedKeyUsages(role: Role): readonly string[] {
  switch (role) {
    case 'application-server':
    case 'security-server':
    case 'information-server':
    case 'shop-server': return [ROLES[role], SERVER_AUTH, CLIENT_AUTH];
    case 'customer-browser':
    case 'operator-terminal': return [ROLES[role], CLIENT_AUTH];
    case 'shop':
    case 'customer':
    case 'settlement':
    case 'operator':
    case 'web-server': return [ROLES[role]];
  }
}

export interface ValidatedCertificate {
  readonly role: Role;
  /** Base64url SHA-256 of the DER: `x5t#S256` of RFC 7515. */
  readonly thumbprint: string;
  /** ES256, for verifying only. */
  readonly publicKey: CryptoKey;
  readonly commonName: string;
  /** The legal name. Every shop has one. */
  readonly organization?: string;
  /** The https origins among the alternative names. Every shop has one. */
  readonly origins: readonly string[];
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  /** Upper-case hex. */
  readonly serialNumber: string;
  readonly der: Bytes;
}

/** What a whole path proves. */
export interface ValidatedPath {
  readonly certificate: ValidatedCertificate;
  /** When every certificate of the path is valid. */
  readonly fromMs: number;
  readonly untilMs: number;
}

/** Base64url SHA-256, `x5t#S256` when `der` is a certificate. */
export async function certificateThumbprint(der: Bytes): Promise<string> {
  return encodeBase64url(new Uint8Array(await crypto.subtle.digest('SHA-256', der)));
}
