/** A small public-key world in memory: one root, and a signer for each party. For tests and simulation. */
import { createCertificateVerifier, certificateThumbprint, type CertificateVerifier, type Role } from '#protocol/certificates.ts';
import { issueIntermediate, issueLeaf, issueRoot, type Issuer, type LeafRequest } from '#protocol/certificate-issue.ts';
import type { Bytes } from '#protocol/bytes.ts';
import { createSigner, type SignatureTally, type Signer } from '#protocol/signed.ts';

const DAY_MS = 86_400_000;

export interface InProcessPki {
  readonly root: Bytes;
  readonly customersAuthority: Issuer;
  verifier(now: (() => number) | null): CertificateVerifier;
  signer(request: { role: Role; commonName: string; organization?: string; origins?: readonly string[] }, tally: SignatureTally): Promise<Signer>;
}

const authorities: readonly (readonly [string, readonly Role[]])[] = [
  ['shops', ['shop']],
  ['customers', ['customer']],
  ['servers', ['settlement', 'operator']],
];

export async function createInProcessPki(nowMs: number): Promise<InProcessPki> {
  const validity = { notBeforeMs: nowMs - DAY_MS, notAfterMs: nowMs + 365 * DAY_MS };
  const newKeys = () => crypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, ['sign', 'verify']);
  const rootKeys = await newKeys();
  const root = { certificate: await issueRoot({ ...validity, keyPair: rootKeys, commonName: 'In-process root', pathLength: 1 }), privateKey: rootKeys.privateKey };
  const issuers = new Map<Role, Issuer>();
  let customersAuthority: Issuer | undefined;
  for (const [commonName, roles] of authorities) {
    const keys = await newKeys();
    const issuer = { certificate: await issueIntermediate({ ...validity, issuer: root, publicKey: keys.publicKey, commonName, roles }), privateKey: keys.privateKey };
    for (const role of roles) issuers.set(role, issuer);
    if (commonName === 'customers') customersAuthority = issuer;
  }
  if (customersAuthority === undefined) throw new Error('no authority for customers');
  return {
    root: root.certificate,
    customersAuthority,
    verifier: (now) => createCertificateVerifier({ anchors: [root.certificate], now }),
    signer: async (request, tally) => {
      const issuer = issuers.get(request.role);
      if (issuer === undefined) throw new Error(`no authority for ${request.role}`);
      const keys = await newKeys();
      const leaf = await issueLeaf({ ...validity, issuer, publicKey: keys.publicKey, ...request } satisfies LeafRequest);
      return createSigner({ privateKey: keys.privateKey, chain: [leaf, issuer.certificate], thumbprint: await certificateThumbprint(leaf) }, tally);
    },
  };
}
