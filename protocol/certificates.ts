/** Who is who: the roles that a certificate can give, and a verifier that checks a chain once and remembers it by its hash. */
import type { CryptoKey } from 'jose';
import { type Bytes, concatBytes, encodeBase64url, encodeUintLE } from './bytes.ts';
import { asFailure, Failure } from './failure.ts';

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
    case 'customer-browser': return [ROLES[role], CLIENT_AUTH];
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

export interface CertificateVerifier {
  /**
   * `chain`: DER, leaf first, without the root (as `x5c`). Throws Failure 'message/certificate' unless every check of
   * RFC 5280 section 6 holds and the leaf has exactly this role.
   */
  verifyChain(chain: readonly Bytes[], role: Role): Promise<ValidatedCertificate>;
  /** A certificate that was verified before, is remembered still and is valid now; otherwise ask its owner for the chain. */
  known(thumbprint: string): ValidatedCertificate | undefined;
}

// The sender chooses both: bound them before parsing.
const MAX_CHAIN_LENGTH = 3;
const MAX_CERTIFICATE_BYTES = 4096;

interface Remembered {
  readonly certificate: ValidatedCertificate;
  /** When the whole path is valid. */
  readonly fromMs: number;
  readonly untilMs: number;
}

/**
 * `anchors`: root certificates (DER) that are trusted as they are. `now`: milliseconds since 1970; null where the clock
 * must never be a reason to refuse (the customer's PC). `capacity`: how many leaves are remembered.
 */
export function createCertificateVerifier(options: { anchors: readonly Bytes[]; now: (() => number) | null; capacity?: number }): CertificateVerifier {
  const { now, capacity = 1000 } = options;
  const anchors = options.anchors.map((anchor) => anchor.slice());
  const byChain = new Map<string, Remembered>();
  const byThumbprint = new Map<string, Remembered>();

  const requireValidNow = ({ fromMs, untilMs }: Remembered): void => {
    if (now === null) return;
    const nowMs = now();
    if (nowMs < fromMs) throw refused('not yet valid');
    if (nowMs > untilMs) throw refused('expired');
  };

  const remember = (chainHash: string, remembered: Remembered): void => {
    for (const [map, key] of [[byChain, chainHash], [byThumbprint, remembered.certificate.thumbprint]] as const) {
      map.delete(key);
      map.set(key, remembered);
      const [oldest] = map.keys();
      if (map.size > capacity && oldest !== undefined) map.delete(oldest);
    }
  };

  return {
    async verifyChain(received, role) {
      requireBounded(received);
      // The caller's buffers may change while we wait.
      const chain = received.map((der) => der.slice());
      const chainHash = await hashOfChain(chain, role);
      const found = byChain.get(chainHash);
      try {
        const remembered = found ?? await validate(chain, role, anchors);
        requireValidNow(remembered);
        remember(chainHash, remembered);
        return remembered.certificate;
      } catch (error) {
        throw asFailure(error);
      }
    },
    known(thumbprint) {
      const remembered = byThumbprint.get(thumbprint);
      if (remembered === undefined) return undefined;
      const nowMs = now?.() ?? remembered.fromMs;
      return nowMs >= remembered.fromMs && nowMs <= remembered.untilMs ? remembered.certificate : undefined;
    },
  };
}

async function validate(chain: readonly Bytes[], role: Role, anchors: readonly Bytes[]): Promise<Remembered> {
  // pkijs is 92 kB: a browser loads it when the first new chain arrives.
  const { validateChain } = await import('./certificate-chain.ts');
  return await validateChain(chain, role, anchors);
}

function requireBounded(chain: readonly Bytes[]): void {
  if (chain.length < 1 || chain.length > MAX_CHAIN_LENGTH) throw refused(`a chain of ${chain.length}`);
  if (chain.some((der) => der.length > MAX_CERTIFICATE_BYTES)) throw refused('a certificate too long');
}

async function hashOfChain(chain: readonly Bytes[], role: Role): Promise<string> {
  const parts = chain.flatMap((der) => [encodeUintLE(der.length, 2), der]);
  return await certificateThumbprint(concatBytes(new TextEncoder().encode(`${role}\n`), ...parts));
}

/** Base64url SHA-256, `x5t#S256` when `der` is a certificate. */
export async function certificateThumbprint(der: Bytes): Promise<string> {
  return encodeBase64url(new Uint8Array(await crypto.subtle.digest('SHA-256', der)));
}

function refused(detail: string): Failure {
  return new Failure('message/certificate', { detail });
}
