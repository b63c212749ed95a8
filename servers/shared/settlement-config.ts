/** The parts that the configurations of the settlement's servers share, whether apart or merged. */
import { readFile } from 'node:fs/promises';
import * as v from 'valibot';
import { amountSchema } from '#protocol/amount.ts';
import { parsePem } from '#protocol/certificate-pem.ts';
import { createPeerJudge } from '#protocol/certificate-peer.ts';
import { createCertificateVerifier, type CertificateVerifier, type Role } from '#protocol/certificates.ts';
import { databaseUrlSchema, originSchema } from './config.ts';
import { epochMs } from './process.ts';
import type { AcceptPeer } from './tls-agent.ts';

const pathSchema = v.pipe(v.string(), v.minLength(1));

export const clientCertificatesSchema = v.picklist(['required', 'requested', 'none']);

/** An edge for browsers. */
export const publicEdgeSchema = v.strictObject({
  /** https origin that browsers use; its port is the one listened on. */
  origin: originSchema,
  /** PEM file with key and chain. */
  identity: pathSchema,
  clientCertificates: clientCertificatesSchema,
});

/** `root` vouches for messages, servers and customers; `webRoot` for pages; `intermediates` are the authorities under `root`. PEM files. */
export const trustSchema = v.strictObject({ root: pathSchema, webRoot: pathSchema, intermediates: pathSchema });

export const applicationPartsSchema = v.strictObject({
  public: publicEdgeSchema,
  /** K_APL,S with its chain, PEM. */
  signing: pathSchema,
  /** Our certificate towards shops and other servers, PEM. */
  peer: pathSchema,
  databaseUrl: databaseUrlSchema,
});

/** Where the cards' master keys are: in an encrypted file, or in a hardware token. */
export const keyStoreSchema = v.variant('kind', [
  v.strictObject({
    kind: v.literal('file'),
    path: pathSchema,
    /** Instead of KESSAI_KEY_STORE_PASSPHRASE: a file that only its owner may read. */
    passphraseFile: v.nullable(pathSchema),
  }),
  v.strictObject({
    kind: v.literal('pkcs11'),
    /** The token's PKCS#11 library. */
    module: pathSchema,
    tokenLabel: v.pipe(v.string(), v.minLength(1), v.maxLength(32)),
    /** Instead of KESSAI_PKCS11_PIN: a file that only its owner may read. */
    pinFile: v.nullable(pathSchema),
  }),
]);

export const securityPartsSchema = v.strictObject({
  keyStore: keyStoreSchema,
  /** What operators may load, minor units of any currency: in one order, and in 24 hours over all cards. */
  loadLimits: v.strictObject({ orderMinor: amountSchema, dayMinor: amountSchema }),
  databaseUrl: databaseUrlSchema,
});

export const informationPartsSchema = v.strictObject({
  public: publicEdgeSchema,
  /** The authority that issues customers' certificates: key and certificate, PEM. */
  customersAuthority: pathSchema,
  databaseUrl: databaseUrlSchema,
  /** Admitted shops: PEM file with the certificate chain that their messages are signed under. */
  shops: v.array(v.strictObject({ shopId: v.string(), chain: pathSchema })),
});

export interface Trust {
  /** PEM. */
  readonly root: string;
  readonly webRoot: string;
  /** Verifies messages' certificates, by our own clock. */
  readonly verifier: CertificateVerifier;
  /** Lets the other end of a connection in by its role. */
  accept(...roles: readonly Role[]): AcceptPeer;
}

export async function readTrust(trust: v.InferOutput<typeof trustSchema>): Promise<Trust> {
  const [root, webRoot, intermediatesPem] = await Promise.all([trust.root, trust.webRoot, trust.intermediates].map((file) => readFile(file, 'latin1')));
  if (root === undefined || webRoot === undefined || intermediatesPem === undefined) throw new Error('a trust anchor is missing');
  const intermediates = parsePem('CERTIFICATE', intermediatesPem);
  const verifier = createCertificateVerifier({ anchors: parsePem('CERTIFICATE', root), now: epochMs });
  return { root, webRoot, verifier, accept: (...roles) => createPeerJudge({ verifier, intermediates, roles }) };
}

export function portOf(origin: string): number {
  const { port } = new URL(origin);
  return port === '' ? 443 : Number(port);
}
