/** Makes certificates: roots, intermediates that may give some roles, and leaves with exactly one role. Whoever calls this holds an authority's key. */
import * as asn1js from 'asn1js';
import type { CryptoKey } from 'jose';
import { AltName, AttributeTypeAndValue, AuthorityKeyIdentifier, BasicConstraints, Certificate, Extension, ExtKeyUsage, GeneralName, PublicKeyInfo, RelativeDistinguishedNames, Time, TimeType } from 'pkijs';
import { type Bytes, concatBytes } from './bytes.ts';
import { parseCertificate } from './certificate-parse.ts';
import { extendedKeyUsages, type Role } from './certificate-roles.ts';

/** Both ends are part of it; certificates know whole seconds only, so both are cut down to one. */
export interface Validity {
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
}

/** An authority: its certificate and the private key for it. */
export interface Issuer {
  readonly certificate: Bytes;
  readonly privateKey: CryptoKey;
}

export interface LeafRequest extends Validity {
  readonly issuer: Issuer;
  readonly publicKey: CryptoKey;
  readonly role: Role;
  readonly commonName: string;
  /** The legal name; a shop needs one. */
  readonly organization?: string;
  /** Like `https://shop.example`; a shop needs at least one. */
  readonly origins?: readonly string[];
  /** For TLS servers. */
  readonly dnsNames?: readonly string[];
}

/** A self-signed root. `pathLength`: how many intermediates may stand between it and a leaf. Answers DER, as the next two do. */
export async function issueRoot(request: Validity & { keyPair: { publicKey: CryptoKey; privateKey: CryptoKey }; commonName: string; pathLength: number }): Promise<Bytes> {
  const { keyPair, commonName, pathLength } = request;
  const name = encodeName(commonName);
  return await issue(request, keyPair.publicKey, { issuer: name, subject: name, privateKey: keyPair.privateKey, authorityKey: keyPair.publicKey }, authorityExtensions(pathLength, []));
}

/** An intermediate that may issue leaves with these roles and no authorities. */
export async function issueIntermediate(request: Validity & { issuer: Issuer; publicKey: CryptoKey; commonName: string; roles: readonly Role[] }): Promise<Bytes> {
  const usages = [...new Set(request.roles.flatMap(extendedKeyUsages))];
  return await issue(request, request.publicKey, signatory(request.issuer, encodeName(request.commonName)), authorityExtensions(0, usages));
}

export async function issueLeaf(request: LeafRequest): Promise<Bytes> {
  const { role, commonName, organization, origins = [], dnsNames = [] } = request;
  const names = [...dnsNames.map((value) => new GeneralName({ type: 2, value })), ...origins.map((value) => new GeneralName({ type: 6, value }))];
  const extensions = [
    extension('2.5.29.19', true, new asn1js.Sequence()), // basicConstraints: no authority
    extension('2.5.29.15', true, keyUsage(0x80, 7)), // keyUsage: digitalSignature
    extension('2.5.29.37', false, new ExtKeyUsage({ keyPurposes: [...extendedKeyUsages(role)] }).toSchema()),
    ...(names.length === 0 ? [] : [extension('2.5.29.17', false, new AltName({ altNames: names }).toSchema())]),
  ];
  return await issue(request, request.publicKey, signatory(request.issuer, encodeName(commonName, organization)), extensions);
}

interface Signatory {
  readonly issuer: RelativeDistinguishedNames;
  readonly subject: RelativeDistinguishedNames;
  readonly privateKey: CryptoKey;
  readonly authorityKey: CryptoKey | Bytes;
}

/** The issuer's name and key identifier are taken from its certificate, byte by byte. */
function signatory(issuer: Issuer, subject: RelativeDistinguishedNames): Signatory {
  const { subject: issuerName, publicKeyInfo } = parseCertificate(issuer.certificate);
  return { issuer: RelativeDistinguishedNames.fromBER(issuerName), subject, privateKey: issuer.privateKey, authorityKey: publicKeyInfo };
}

async function issue(validity: Validity, publicKey: CryptoKey, { issuer, subject, privateKey, authorityKey }: Signatory, extensions: readonly Extension[]): Promise<Bytes> {
  const publicKeyInfo = await publicKeyInfoOf(publicKey);
  const certificate = new Certificate({
    version: 2, // v3
    serialNumber: new asn1js.Integer({ valueHex: randomSerialNumber() }),
    issuer, subject,
    notBefore: time(validity.notBeforeMs), notAfter: time(validity.notAfterMs),
    subjectPublicKeyInfo: PublicKeyInfo.fromBER(publicKeyInfo),
    extensions: [
      ...extensions,
      extension('2.5.29.14', false, new asn1js.OctetString({ valueHex: await keyIdentifier(publicKeyInfo) })),
      extension('2.5.29.35', false, new AuthorityKeyIdentifier({
        keyIdentifier: new asn1js.OctetString({ valueHex: await keyIdentifier(authorityKey instanceof Uint8Array ? authorityKey : await publicKeyInfoOf(authorityKey)) }),
      }).toSchema()),
    ],
  });
  await certificate.sign(privateKey, 'SHA-256');
  const der = new Uint8Array(certificate.toSchema(true).toBER());
  parseCertificate(der); // what we cannot read ourselves must not leave
  return der;
}

async function publicKeyInfoOf(publicKey: CryptoKey): Promise<Bytes> {
  return new Uint8Array(await crypto.subtle.exportKey('spki', publicKey));
}

function authorityExtensions(pathLength: number, usages: readonly string[]): Extension[] {
  return [
    extension('2.5.29.19', true, new BasicConstraints({ cA: true, pathLenConstraint: pathLength }).toSchema()),
    extension('2.5.29.15', true, keyUsage(0x06, 1)), // keyUsage: keyCertSign, cRLSign
    ...(usages.length === 0 ? [] : [extension('2.5.29.37', false, new ExtKeyUsage({ keyPurposes: [...usages] }).toSchema())]),
  ];
}

function extension(extnID: string, critical: boolean, value: { toBER(): ArrayBuffer }): Extension {
  return new Extension({ extnID, critical, extnValue: value.toBER() });
}

function keyUsage(bits: number, unusedBits: number): asn1js.BitString {
  return new asn1js.BitString({ valueHex: new Uint8Array([bits]).buffer, unusedBits });
}

function encodeName(commonName: string, organization?: string): RelativeDistinguishedNames {
  const attribute = (type: string, value: string): AttributeTypeAndValue => new AttributeTypeAndValue({ type, value: new asn1js.Utf8String({ value }) });
  return new RelativeDistinguishedNames({
    typesAndValues: [...(organization === undefined ? [] : [attribute('2.5.4.10', organization)]), attribute('2.5.4.3', commonName)],
  });
}

// RFC 5280, 4.1.2.5: UTCTime through 2049, GeneralizedTime from 2050.
function time(ms: number): Time {
  const value = new Date(Math.floor(ms / 1000) * 1000);
  return new Time({ type: value.getUTCFullYear() < 2050 ? TimeType.UTCTime : TimeType.GeneralizedTime, value });
}

/** 126 random bits, positive, always 16 octets. */
function randomSerialNumber(): ArrayBuffer {
  const serial = crypto.getRandomValues(new Uint8Array(16));
  serial[0] = ((serial[0] ?? 0) & 0x3f) | 0x40;
  return serial.buffer;
}

/** RFC 7093, 2 (1): the first 160 bits of the SHA-256 of the public key's bits. */
async function keyIdentifier(publicKeyInfo: Bytes): Promise<ArrayBuffer> {
  const point = publicKeyInfo.subarray(-65);
  return (await crypto.subtle.digest('SHA-256', concatBytes(point))).slice(0, 20);
}
