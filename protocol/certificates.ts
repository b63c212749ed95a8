/** Who is who: a verifier that checks a certificate chain once and remembers it by its hash. */
import { type Bytes, concatBytes, encodeUintLE } from './bytes.ts';
import { validateChain } from './certificate-chain.ts';
import { certificateThumbprint, type Role, type ValidatedCertificate, type ValidatedPath } from './certificate-roles.ts';
import { Failure } from './failure.ts';

export { certificateThumbprint, extendedKeyUsages, type Role, ROLES, type ValidatedCertificate } from './certificate-roles.ts';

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

/**
 * `anchors`: root certificates (DER) that are trusted as they are. `now`: milliseconds since 1970; null where the clock
 * must never be a reason to refuse (the customer's PC). `capacity`: how many leaves are remembered.
 */
export function createCertificateVerifier(options: { anchors: readonly Bytes[]; now: (() => number) | null; capacity?: number }): CertificateVerifier {
  const { now, capacity = 1000 } = options;
  const anchors = options.anchors.map((anchor) => anchor.slice());
  const byChain = new Map<string, ValidatedPath>();
  const byThumbprint = new Map<string, ValidatedPath>();

  const remember = (chainHash: string, path: ValidatedPath): void => {
    for (const [map, key] of [[byChain, chainHash], [byThumbprint, path.certificate.thumbprint]] as const) {
      map.delete(key);
      map.set(key, path);
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
      const path = byChain.get(chainHash) ?? await validateChain(chain, role, anchors);
      const problem = timeProblem(path, now?.());
      if (problem !== undefined) throw refused(problem);
      remember(chainHash, path);
      return path.certificate;
    },
    known(thumbprint) {
      const path = byThumbprint.get(thumbprint);
      return path !== undefined && timeProblem(path, now?.()) === undefined ? path.certificate : undefined;
    },
  };
}

/** `nowMs` undefined: there is no clock, so no problem with it. */
function timeProblem({ fromMs, untilMs }: ValidatedPath, nowMs: number | undefined): string | undefined {
  if (nowMs === undefined) return undefined;
  if (nowMs < fromMs) return 'not yet valid';
  return nowMs > untilMs ? 'expired' : undefined;
}

function requireBounded(chain: readonly Bytes[]): void {
  if (chain.length < 1 || chain.length > MAX_CHAIN_LENGTH) throw refused(`a chain of ${chain.length}`);
  if (chain.some((der) => der.length > MAX_CERTIFICATE_BYTES)) throw refused('a certificate too long');
}

async function hashOfChain(chain: readonly Bytes[], role: Role): Promise<string> {
  const parts = chain.flatMap((der) => [encodeUintLE(der.length, 2), der]);
  return await certificateThumbprint(concatBytes(new TextEncoder().encode(`${role}\n`), ...parts));
}

function refused(detail: string): Failure {
  return new Failure('message/certificate', { detail });
}
