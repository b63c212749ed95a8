/** One X.509 certificate taken apart, strictly: DER, version 3, ES256 on P-256, and no critical extension that we do not understand. */
import type { CryptoKey } from 'jose';
import { type Bytes, encodeHex, equalBytes, parseHex } from './bytes.ts';
import { type DerNode, parseDer, parseEcdsaSignature, TAG } from './certificate-der.ts';
import { type ExtensionFields, type NameFields, parseExtensions, parseName, parseTime } from './certificate-fields.ts';

export interface ParsedCertificate extends NameFields, ExtensionFields {
  readonly der: Bytes;
  /** What the issuer signed. */
  readonly tbs: Bytes;
  /** r || s. */
  readonly signature: Bytes;
  /** Names as DER: they are compared byte by byte. */
  readonly issuer: Bytes;
  readonly subject: Bytes;
  readonly publicKeyInfo: Bytes;
  readonly serialNumber: string;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
}

/** ecdsa-with-SHA256 without parameters (RFC 5758, 3.2). */
const ES256_ALGORITHM = parseHex('300A06082A8648CE3D040302');
/** SubjectPublicKeyInfo of P-256 with an uncompressed point (RFC 5480, 2), up to the point's coordinates. */
const P256_KEY_INFO = parseHex('3059301306072A8648CE3D020106082A8648CE3D03010703420004');
const VERSION_3 = parseHex('A003020102');
const EXTENSIONS_TAG = 0xa3;

/** Throws RangeError on anything but such a certificate; the signature is not verified here. */
export function parseCertificate(der: Bytes): ParsedCertificate {
  const { content: tbs, signature } = parseSignedDer(der);
  const { serial, issuer, validity, subject, publicKeyInfo, extensions } = version3Fields(tbs.children);
  requireSerialNumber(serial);
  requireP256(publicKeyInfo.der);
  const [notBefore, notAfter, ...rest] = validity.children;
  if (validity.tag !== TAG.sequence || notBefore === undefined || notAfter === undefined || rest.length > 0) throw new RangeError('a bad validity');
  return {
    der, tbs: tbs.der, signature, issuer: issuer.der, subject: subject.der, publicKeyInfo: publicKeyInfo.der,
    serialNumber: encodeHex(serial.content), notBeforeMs: parseTime(notBefore), notAfterMs: parseTime(notAfter),
    ...parseName(subject), ...parseExtensions(extensions),
  };
}

/** SEQUENCE { what is signed, ecdsa-with-SHA256, signature }: a certificate (RFC 5280, 4.1) or a request (RFC 2986, 4). `signature`: r || s. */
export function parseSignedDer(der: Bytes): { content: DerNode; signature: Bytes } {
  const { tag, children: [content, algorithm, signature, ...rest] } = parseDer(der);
  if (tag !== TAG.sequence || content?.tag !== TAG.sequence || algorithm === undefined || signature === undefined || rest.length > 0) throw new RangeError('not a signed structure');
  if (!equalBytes(algorithm.der, ES256_ALGORITHM)) throw new RangeError('not signed with ES256');
  if (signature.tag !== TAG.bitString || signature.content[0] !== 0) throw new RangeError('not a BIT STRING of whole octets');
  return { content, signature: parseEcdsaSignature(signature.content.subarray(1)) };
}

/** TBSCertificate (RFC 5280, 4.1), of version 3 and with all eight of its usual fields; no unique identifiers. */
function version3Fields(fields: readonly DerNode[]): Record<'serial' | 'issuer' | 'validity' | 'subject' | 'publicKeyInfo' | 'extensions', DerNode> {
  const [version, serial, algorithm, issuer, validity, subject, publicKeyInfo, extensions, ...rest] = fields;
  if (version === undefined || serial === undefined || algorithm === undefined || issuer === undefined || validity === undefined || subject === undefined
    || publicKeyInfo === undefined || extensions?.tag !== EXTENSIONS_TAG || rest.length > 0 || !equalBytes(version.der, VERSION_3)) throw new RangeError('not a version 3 certificate');
  // RFC 5280, 4.1.1.2: both algorithm fields are the same; only this one is signed.
  if (!equalBytes(algorithm.der, ES256_ALGORITHM)) throw new RangeError('two signature algorithms');
  return { serial, issuer, validity, subject, publicKeyInfo, extensions };
}

// RFC 5280, 4.1.2.2: positive, at most 20 octets.
function requireSerialNumber({ tag, content }: DerNode): void {
  if (tag !== TAG.integer || content.length > 20 || (content[0] ?? 0x80) >= 0x80 || content.every((byte) => byte === 0)) throw new RangeError('a bad serial number');
}

function requireP256(publicKeyInfo: Bytes): void {
  const head = publicKeyInfo.subarray(0, P256_KEY_INFO.length);
  if (publicKeyInfo.length !== P256_KEY_INFO.length + 64 || !equalBytes(head, P256_KEY_INFO)) throw new RangeError('not a P-256 key');
}

/** SubjectPublicKeyInfo to a key that verifies ES256; the platform refuses a point that is not on the curve. */
export async function importPublicKey(publicKeyInfo: Bytes): Promise<CryptoKey> {
  requireP256(publicKeyInfo);
  return await crypto.subtle.importKey('spki', publicKeyInfo, { name: 'ECDSA', namedCurve: 'P-256' }, true, ['verify']);
}
