/** For tests: a settlement institution's root and who it vouches for: shops, customers, servers; with keys, signers and TLS material. */
import type { Bytes } from '#protocol/bytes.ts';
import { issueIntermediate, issueLeaf, issueRoot, type Issuer } from '#protocol/certificate-issue.ts';
import { encodePem } from '#protocol/certificate-pem.ts';
import { certificateThumbprint, createCertificateVerifier, type CertificateVerifier, type Role } from '#protocol/certificates.ts';
import { createSigner, type Signer } from '#protocol/signed.ts';

const P256 = { name: 'ECDSA', namedCurve: 'P-256' } as const;
const HOUR_MS = 3_600_000;

export interface TestIdentity {
  /** Key and chain in one PEM text. */
  readonly pem: string;
  readonly signer: Signer;
}

export interface TestParties {
  /** DER and PEM. */
  readonly root: Bytes;
  readonly rootPem: string;
  /** The authorities under the root. */
  readonly intermediatesPem: string;
  readonly verifier: CertificateVerifier;
  issue(role: Role, names: { commonName: string; organization?: string; origins?: readonly string[]; dnsNames?: readonly string[] }): Promise<TestIdentity>;
}

export async function makeTestParties(nowMs = Date.now()): Promise<TestParties> {
  const validity = { notBeforeMs: nowMs - HOUR_MS, notAfterMs: nowMs + HOUR_MS };
  const rootKeys = await crypto.subtle.generateKey(P256, true, ['sign', 'verify']);
  const root = { certificate: await issueRoot({ ...validity, keyPair: rootKeys, commonName: 'Test root', pathLength: 1 }), privateKey: rootKeys.privateKey };
  const intermediate = async (commonName: string, roles: readonly Role[]): Promise<Issuer> => {
    const keys = await crypto.subtle.generateKey(P256, true, ['sign', 'verify']);
    return { certificate: await issueIntermediate({ ...validity, issuer: root, publicKey: keys.publicKey, commonName, roles }), privateKey: keys.privateKey };
  };
  const authorities = {
    shops: await intermediate('Test shops', ['shop', 'shop-server']),
    customers: await intermediate('Test customers', ['customer', 'customer-browser']),
    servers: await intermediate('Test servers', ['settlement', 'operator', 'application-server', 'security-server', 'information-server', 'web-server']),
  };
  const issuerOf = (role: Role): Issuer => (role.startsWith('shop') ? authorities.shops : role.startsWith('customer') ? authorities.customers : authorities.servers);
  return {
    root: root.certificate,
    rootPem: encodePem('CERTIFICATE', root.certificate),
    intermediatesPem: Object.values(authorities).map(({ certificate }) => encodePem('CERTIFICATE', certificate)).join(''),
    verifier: createCertificateVerifier({ anchors: [root.certificate], now: () => nowMs }),
    issue: async (role, names) => {
      const issuer = issuerOf(role);
      const { publicKey, privateKey } = await crypto.subtle.generateKey(P256, true, ['sign', 'verify']);
      const leaf = await issueLeaf({ ...validity, issuer, publicKey, role, ...names });
      const chain = [leaf, issuer.certificate];
      const key = new Uint8Array(await crypto.subtle.exportKey('pkcs8', privateKey));
      return {
        pem: [encodePem('PRIVATE KEY', key), ...chain.map((der) => encodePem('CERTIFICATE', der))].join(''),
        signer: createSigner({ privateKey, chain, thumbprint: await certificateThumbprint(leaf) }),
      };
    },
  };
}
