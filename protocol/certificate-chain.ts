/** Path validation (RFC 5280 section 6), cut to what we issue: one straight path, ES256, roles that every authority above must allow. */
import { type Bytes, equalBytes } from './bytes.ts';
import { importPublicKey, type ParsedCertificate, parseCertificate } from './certificate-parse.ts';
import { certificateThumbprint, extendedKeyUsages, type Role, type ValidatedCertificate, type ValidatedPath } from './certificate-roles.ts';
import { Failure } from './failure.ts';

/** `chain`: leaf first, without the root. Throws Failure 'message/certificate'; time is the caller's to judge. */
export async function validateChain(chain: readonly Bytes[], role: Role, anchors: readonly Bytes[]): Promise<ValidatedPath> {
  try {
    const path = chain.map(parseCertificate);
    const [leaf, ...authorities] = path;
    if (leaf === undefined) throw new RangeError('an empty chain');
    requireLeaf(leaf, role);
    authorities.forEach((authority, index) => requireAuthority(authority, index, leaf));
    await requireSignatures(path, parseAnchors(anchors));
    return {
      certificate: await validatedCertificate(leaf, role),
      fromMs: Math.max(...path.map(({ notBeforeMs }) => notBeforeMs)),
      untilMs: Math.min(...path.map(({ notAfterMs }) => notAfterMs)),
    };
  } catch (cause) {
    throw cause instanceof Failure ? cause : new Failure('message/certificate', { cause, detail: cause instanceof Error ? cause.message : 'unreadable' });
  }
}

const parsedAnchors = new WeakMap<readonly Bytes[], readonly ParsedCertificate[]>();

/** A verifier's roots stay the same: each is parsed once. */
function parseAnchors(anchors: readonly Bytes[]): readonly ParsedCertificate[] {
  const parsed = parsedAnchors.get(anchors) ?? anchors.map(parseCertificate);
  parsedAnchors.set(anchors, parsed);
  return parsed;
}

function requireLeaf(leaf: ParsedCertificate, role: Role): void {
  if (leaf.isAuthority || leaf.mayIssue) throw new RangeError('an authority where a leaf belongs');
  if (!leaf.maySign) throw new RangeError('a key that may not sign');
  const expected = extendedKeyUsages(role);
  const given = new Set(leaf.extendedKeyUsages);
  if (given.size !== expected.length || !expected.every((usage) => given.has(usage))) throw new RangeError(`not a certificate for ${role}`);
  if (leaf.commonName === '') throw new RangeError('a certificate without a name');
}

/** `below`: how many authorities stand between this one and the leaf (RFC 5280, 6.1.4 (k) to (n)). */
function requireAuthority(authority: ParsedCertificate, below: number, leaf: ParsedCertificate): void {
  if (!authority.isAuthority || !authority.mayIssue) throw new RangeError('issued by a certificate that is no authority');
  if (authority.pathLength !== undefined && below > authority.pathLength) throw new RangeError('a path longer than an authority allows');
  if (equalBytes(authority.issuer, authority.subject)) throw new RangeError('a self-issued certificate inside a chain');
  // An intermediate names the usages that it may give: who registers customers cannot make a shop.
  if (!leaf.extendedKeyUsages.every((usage) => authority.extendedKeyUsages.includes(usage))) throw new RangeError('a role that the intermediate may not give');
}

async function requireSignatures(path: readonly ParsedCertificate[], anchors: readonly ParsedCertificate[]): Promise<void> {
  for (const [index, certificate] of path.entries()) {
    const above = path[index + 1];
    const candidates = above === undefined ? anchors.filter((anchor) => isAnchorFor(anchor, index)) : [above];
    if (!await isIssuedByOne(certificate, candidates)) throw new RangeError(above === undefined ? 'not issued by a root that we trust' : 'not issued by the next certificate');
  }
}

/** A root's own constraints hold too (RFC 5937). */
function isAnchorFor(anchor: ParsedCertificate, below: number): boolean {
  return anchor.isAuthority && anchor.mayIssue && (anchor.pathLength === undefined || below <= anchor.pathLength);
}

async function isIssuedByOne(certificate: ParsedCertificate, issuers: readonly ParsedCertificate[]): Promise<boolean> {
  for (const issuer of issuers) {
    // RFC 5280, 6.1.3 (a)(4): names chain.
    if (!equalBytes(certificate.issuer, issuer.subject)) continue;
    const key = await importPublicKey(issuer.publicKeyInfo);
    if (await crypto.subtle.verify({ name: 'ECDSA', hash: 'SHA-256' }, key, certificate.signature, certificate.tbs)) return true;
  }
  return false;
}

async function validatedCertificate(leaf: ParsedCertificate, role: Role): Promise<ValidatedCertificate> {
  if (!leaf.uris.every(isHttpsOrigin)) throw new RangeError('an alternative name that is no https origin');
  // The customer is shown a shop's legal name, and its page must stand at one of its origins.
  if (role === 'shop' && (leaf.organization === undefined || leaf.uris.length === 0)) throw new RangeError('a shop without a legal name or an origin');
  return {
    role,
    thumbprint: await certificateThumbprint(leaf.der),
    publicKey: await importPublicKey(leaf.publicKeyInfo),
    commonName: leaf.commonName,
    ...(leaf.organization === undefined ? {} : { organization: leaf.organization }),
    origins: leaf.uris,
    notBeforeMs: leaf.notBeforeMs,
    notAfterMs: leaf.notAfterMs,
    serialNumber: leaf.serialNumber,
    der: leaf.der,
  };
}

/** True for exactly what a browser reports as an origin: `https://host` or `https://host:port`. */
export function isHttpsOrigin(text: string): boolean {
  try {
    const url = new URL(text);
    return url.protocol === 'https:' && url.origin === text;
  } catch {
    // Not a URL at all: the platform's parser has only an exception to say so.
    return false;
  }
}
