/** One X.509 certificate taken apart, strictly: DER, version 3, ES256 on P-256, and no critical extension that we do not understand. */
import * as asn1js from 'asn1js';
import type { CryptoKey } from 'jose';
import { AltName, BasicConstraints, Certificate, ExtKeyUsage, type Extension, type RelativeDistinguishedNames } from 'pkijs';
import { type Bytes, concatBytes, encodeHex, equalBytes, parseHex } from './bytes.ts';
import { type DerNode, parseDer, parseEcdsaSignature, TAG } from './certificate-der.ts';

export interface ParsedCertificate {
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
  readonly commonName: string;
  readonly organization: string | undefined;
  readonly isAuthority: boolean;
  /** How many authorities may stand below this one; undefined: as many as one likes. */
  readonly pathLength: number | undefined;
  readonly mayIssue: boolean;
  readonly maySign: boolean;
  readonly extendedKeyUsages: readonly string[];
  readonly uris: readonly string[];
  readonly dnsNames: readonly string[];
}

/** ecdsa-with-SHA256 without parameters (RFC 5758, 3.2). */
const ES256_ALGORITHM = parseHex('300A06082A8648CE3D040302');
/** SubjectPublicKeyInfo of P-256 with an uncompressed point (RFC 5480, 2), up to the point's coordinates. */
const P256_KEY_INFO = parseHex('3059301306072A8648CE3D020106082A8648CE3D03010703420004');
const VERSION_3 = parseHex('A003020102');

const OID = { commonName: '2.5.4.3', organization: '2.5.4.10', basicConstraints: '2.5.29.19', keyUsage: '2.5.29.15', extendedKeyUsage: '2.5.29.37', alternativeNames: '2.5.29.17' } as const;
const NAME_KIND = { dns: 2, uri: 6 } as const;
const KEY_USAGE = { digitalSignature: 0x80, keyCertSign: 0x04 } as const;

/** Throws an Error of any kind on anything but such a certificate; the signature is not verified here. */
export function parseCertificate(der: Bytes): ParsedCertificate {
  const { content: tbs, signature } = parseSignedDer(der);
  requireVersion3(tbs.children);
  const [, serial, , issuer, , subject, publicKeyInfo] = tbs.children;
  const parsed = Certificate.fromBER(der);
  const [serialBytes, issuerName, subjectName, keyInfo] = [serial?.content, issuer?.der, subject?.der, publicKeyInfo?.der];
  if (serialBytes === undefined || issuerName === undefined || subjectName === undefined || keyInfo === undefined) throw new RangeError('a field is missing');
  requireSerialNumber(serialBytes);
  requireP256(keyInfo);
  const [notBeforeMs, notAfterMs] = [parsed.notBefore.value.getTime(), parsed.notAfter.value.getTime()];
  if (!(notBeforeMs <= notAfterMs)) throw new RangeError('a validity without a duration');
  return {
    der, tbs: tbs.der, signature, issuer: issuerName, subject: subjectName, publicKeyInfo: keyInfo,
    serialNumber: encodeHex(serialBytes), notBeforeMs, notAfterMs,
    commonName: nameOf(parsed.subject, OID.commonName) ?? '', organization: nameOf(parsed.subject, OID.organization),
    ...parseExtensions(parsed.extensions ?? []),
  };
}

/** SEQUENCE { what is signed, ecdsa-with-SHA256, signature }: a certificate (RFC 5280, 4.1) or a request (RFC 2986, 4). `signature`: r || s. */
export function parseSignedDer(der: Bytes): { content: DerNode; signature: Bytes } {
  const { tag, children: [content, algorithm, signature, ...rest] } = parseDer(der);
  if (tag !== TAG.sequence || content === undefined || algorithm === undefined || signature === undefined || rest.length > 0) throw new RangeError('not a signed structure');
  if (!equalBytes(algorithm.der, ES256_ALGORITHM)) throw new RangeError('not signed with ES256');
  if (signature.tag !== TAG.bitString || signature.content[0] !== 0) throw new RangeError('not a BIT STRING of whole octets');
  return { content, signature: parseEcdsaSignature(signature.content.subarray(1)) };
}

/** Version 3, and eight fields: version, serial, algorithm, issuer, validity, subject, key, extensions; no unique identifiers. */
function requireVersion3(fields: readonly DerNode[]): void {
  const [version, , algorithm] = fields;
  if (fields.length !== 8 || version === undefined || !equalBytes(version.der, VERSION_3) || fields[7]?.tag !== 0xa3) throw new RangeError('not a version 3 certificate');
  // RFC 5280, 4.1.1.2: both algorithm fields are the same; only this one is signed.
  if (algorithm === undefined || !equalBytes(algorithm.der, ES256_ALGORITHM)) throw new RangeError('two signature algorithms');
}

// RFC 5280, 4.1.2.2: positive, at most 20 octets.
function requireSerialNumber(serial: Bytes): void {
  if (serial.length > 20 || (serial[0] ?? 0x80) >= 0x80 || serial.every((byte) => byte === 0)) throw new RangeError('a bad serial number');
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

/** At most one value of each type, of readable characters: the name is shown to people. */
function nameOf(names: RelativeDistinguishedNames, type: string): string | undefined {
  const [found, ...others] = names.typesAndValues.filter((entry) => entry.type === type);
  if (found === undefined) return undefined;
  const value: unknown = found.value;
  if (others.length > 0 || !(value instanceof asn1js.Utf8String || value instanceof asn1js.PrintableString)) throw new RangeError('a name in a form that is not used');
  const text = value.valueBlock.value;
  // Control and formatting characters (right-to-left overrides among them) could make one name look like another.
  if (text === '' || text.length > 64 || /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\uFFFD]/u.test(text)) throw new RangeError('a name with characters that cannot be shown');
  return text;
}

type ExtensionFields = Pick<ParsedCertificate, 'isAuthority' | 'pathLength' | 'mayIssue' | 'maySign' | 'extendedKeyUsages' | 'uris' | 'dnsNames'>;

function parseExtensions(extensions: readonly Extension[]): ExtensionFields {
  const byId = new Map(extensions.map((extension) => [extension.extnID, extension]));
  // RFC 5280, 4.2: at most one instance of an extension.
  if (byId.size !== extensions.length) throw new RangeError('an extension stands twice');
  const understood: readonly string[] = Object.values(OID);
  for (const extension of extensions) {
    if (extension.critical && !understood.includes(extension.extnID)) throw new RangeError(`critical extension ${extension.extnID} is unknown`);
  }
  const contentOf = (id: string): Bytes | undefined => {
    const extension = byId.get(id);
    return extension && parseDer(concatBytes(extension.extnValue.valueBlock.valueHexView)).der;
  };
  const usage = parseKeyUsage(contentOf(OID.keyUsage));
  return {
    ...parseBasicConstraints(contentOf(OID.basicConstraints)),
    mayIssue: (usage & KEY_USAGE.keyCertSign) !== 0,
    maySign: (usage & KEY_USAGE.digitalSignature) !== 0,
    extendedKeyUsages: parseExtendedKeyUsage(contentOf(OID.extendedKeyUsage)),
    ...parseAlternativeNames(contentOf(OID.alternativeNames)),
  };
}

function parseBasicConstraints(der: Bytes | undefined): { isAuthority: boolean; pathLength: number | undefined } {
  if (der === undefined) return { isAuthority: false, pathLength: undefined };
  const { cA, pathLenConstraint } = BasicConstraints.fromBER(der);
  if (pathLenConstraint !== undefined && (typeof pathLenConstraint !== 'number' || pathLenConstraint < 0 || !cA)) throw new RangeError('a bad path length');
  return { isAuthority: cA, pathLength: pathLenConstraint };
}

/** The first eight bits; a certificate without the extension may do nothing here. */
function parseKeyUsage(der: Bytes | undefined): number {
  if (der === undefined) return 0;
  const { tag, content } = parseDer(der);
  if (tag !== TAG.bitString || content.length < 2) throw new RangeError('a bad key usage');
  return content[1] ?? 0;
}

function parseExtendedKeyUsage(der: Bytes | undefined): readonly string[] {
  return der === undefined ? [] : ExtKeyUsage.fromBER(der).keyPurposes;
}

function parseAlternativeNames(der: Bytes | undefined): { uris: readonly string[]; dnsNames: readonly string[] } {
  const names = der === undefined ? [] : AltName.fromBER(der).altNames;
  const of = (kind: number): string[] => names.filter((name) => name.type === kind).map((name) => String(name.value));
  const [uris, dnsNames] = [of(NAME_KIND.uri), of(NAME_KIND.dns)];
  if (uris.length + dnsNames.length !== names.length) throw new RangeError('an alternative name of a kind that is not used');
  return { uris, dnsNames };
}

