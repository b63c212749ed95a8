/** Judges the other end of a TLS connection by its leaf alone: TLS libraries check chains, but know nothing of our roles. */
import { type Bytes, concatBytes } from './bytes.ts';
import type { Role } from './certificate-roles.ts';
import type { CertificateVerifier } from './certificates.ts';
import { Failure } from './failure.ts';

/**
 * True for a leaf (DER) that has one of `roles` and was issued by one of `intermediates` (DER) that may give it. A look
 * at the leaf's own usages would not do: to a TLS library every intermediate under a trusted root may give every role.
 */
export function createPeerJudge({ verifier, intermediates, roles }: { readonly verifier: CertificateVerifier; readonly intermediates: readonly Bytes[]; readonly roles: readonly Role[] }): (der: Uint8Array) => Promise<boolean> {
  return async (der) => {
    const leaf = concatBytes(der);
    for (const role of roles) {
      for (const intermediate of intermediates) if (await isVerified(verifier, [leaf, intermediate], role)) return true;
    }
    return false;
  };
}

async function isVerified(verifier: CertificateVerifier, chain: readonly Bytes[], role: Role): Promise<boolean> {
  try {
    await verifier.verifyChain(chain, role);
    return true;
  } catch (error) {
    if (error instanceof Failure && error.code === 'message/certificate') return false;
    throw error;
  }
}
