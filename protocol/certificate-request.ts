/** Certificate requests (PKCS #10, RFC 2986): how a browser asks for its customer's certificate, and how the authority sees that it holds the key. */
import * as asn1js from 'asn1js';
import type { CryptoKey } from 'jose';
import { AttributeTypeAndValue, CertificationRequest } from 'pkijs';
import { type Bytes, equalBytes, parseHex } from './bytes.ts';
import { importPublicKey, parseSignedDer } from './certificate-parse.ts';
import { Failure } from './failure.ts';

const MAX_REQUEST_BYTES = 2048;
const VERSION_1 = parseHex('020100');
const COMMON_NAME = '2.5.4.3';

/** A new ES256 key pair whose private key never leaves the platform's key store. */
export async function createSigningKeyPair(): Promise<{ readonly publicKey: CryptoKey; readonly privateKey: CryptoKey }> {
  return await crypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, false, ['sign', 'verify']);
}

/** The request as DER, signed with the key that it asks a certificate for. The authority decides on the name; `commonName` is only a wish. */
export async function encodeCertificateRequest(keyPair: { readonly publicKey: CryptoKey; readonly privateKey: CryptoKey }, commonName?: string): Promise<Bytes> {
  const request = new CertificationRequest();
  if (commonName !== undefined) request.subject.typesAndValues.push(new AttributeTypeAndValue({ type: COMMON_NAME, value: new asn1js.Utf8String({ value: commonName }) }));
  await request.subjectPublicKeyInfo.importKey(keyPair.publicKey);
  await request.sign(keyPair.privateKey, 'SHA-256');
  return new Uint8Array(request.toSchema().toBER());
}

/** The public key of a request whose sender has proved to hold the private one; throws Failure 'message/certificate'. Names and attributes are not read. */
export async function verifyCertificateRequest(der: Bytes): Promise<{ readonly publicKey: CryptoKey }> {
  if (der.length > MAX_REQUEST_BYTES) throw new Failure('message/too-large', { detail: 'certificate request' });
  try {
    const { info, publicKeyInfo, signature } = parseRequest(der.slice());
    const publicKey = await importPublicKey(publicKeyInfo);
    if (!await crypto.subtle.verify({ name: 'ECDSA', hash: 'SHA-256' }, publicKey, signature, info)) throw new RangeError('not signed with the key that it names');
    return { publicKey };
  } catch (cause) {
    throw new Failure('message/certificate', { cause, detail: 'certificate request' });
  }
}

/** CertificationRequestInfo ::= SEQUENCE { version, subject, subjectPKInfo, attributes } (RFC 2986, 4.1). */
function parseRequest(der: Bytes): { info: Bytes; publicKeyInfo: Bytes; signature: Bytes } {
  const { content, signature } = parseSignedDer(der);
  const [version, , publicKeyInfo, , ...rest] = content.children;
  if (version === undefined || !equalBytes(version.der, VERSION_1) || publicKeyInfo === undefined || rest.length > 0) throw new RangeError('not a certificate request');
  return { info: content.der, publicKeyInfo: publicKeyInfo.der, signature };
}
