/** The parts that the configurations of the settlement's servers share, whether apart or merged. */
import { readFile } from 'node:fs/promises';
import * as v from 'valibot';
import { parsePem } from '#protocol/certificate-pem.ts';
import { createCertificateVerifier, type CertificateVerifier } from '#protocol/certificates.ts';
import { databaseUrlSchema, originSchema } from './config.ts';
import { epochMs } from './process.ts';

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

/** `root` vouches for messages, servers and customers; `webRoot` for pages. PEM files. */
export const trustSchema = v.strictObject({ root: pathSchema, webRoot: pathSchema });

export const applicationPartsSchema = v.strictObject({
  public: publicEdgeSchema,
  /** K_APL,S with its chain, PEM. */
  signing: pathSchema,
  /** Our certificate towards shops and other servers, PEM. */
  peer: pathSchema,
  databaseUrl: databaseUrlSchema,
});

export const securityPartsSchema = v.strictObject({
  keyStore: pathSchema,
  /** Instead of KESSAI_KEY_STORE_PASSPHRASE: a file that only its owner may read. */
  passphraseFile: v.nullable(pathSchema),
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

export async function readAnchor(file: string): Promise<string> {
  return readFile(file, 'latin1');
}

/** The verifier of messages, by our own clock. */
export async function createVerifier(rootFile: string): Promise<CertificateVerifier> {
  return createCertificateVerifier({ anchors: parsePem('CERTIFICATE', await readAnchor(rootFile)), now: epochMs });
}

export function portOf(origin: string): number {
  const { port } = new URL(origin);
  return port === '' ? 443 : Number(port);
}
