/** The parts of a certificate that are built of others: object identifiers, names, times and the four extensions that we understand (RFC 5280, 4.1.2 and 4.2.1). */
import type { Bytes } from './bytes.ts';
import { type DerNode, parseDer, TAG } from './certificate-der.ts';

/** Dotted form. Throws RangeError on a form that is not the shortest or does not fit. */
export function parseObjectIdentifier({ tag, content }: DerNode): string {
  if (tag !== TAG.objectIdentifier || content.length === 0 || (content.at(-1) ?? 0x80) >= 0x80) throw new RangeError('a bad object identifier');
  const arcs: number[] = [];
  let arc = 0;
  let isFirstOctet = true;
  for (const octet of content) {
    // X.690, 8.19.2: the first octet of an arc is not 80.
    if ((isFirstOctet && octet === 0x80) || arc > 2 ** 40) throw new RangeError('a bad object identifier');
    arc = arc * 128 + (octet & 0x7f);
    isFirstOctet = octet < 0x80;
    if (!isFirstOctet) continue;
    arcs.push(arc);
    arc = 0;
  }
  const [first = 0, ...rest] = arcs;
  const root = Math.min(Math.floor(first / 40), 2);
  return [root, first - 40 * root, ...rest].join('.');
}

export interface NameFields {
  /** Empty when there is none. */
  readonly commonName: string;
  readonly organization: string | undefined;
}

const NAME = { commonName: '2.5.4.3', organization: '2.5.4.10' } as const;

/** Name ::= SEQUENCE OF SET OF SEQUENCE { type, value }; at most one common name and one organization. */
export function parseName(name: DerNode): NameFields {
  const attributes = childrenOf(name, TAG.sequence).flatMap((set) => childrenOf(set, TAG.set)).map((attribute) => {
    const [type, value, ...rest] = childrenOf(attribute, TAG.sequence);
    if (type === undefined || value === undefined || rest.length > 0) throw new RangeError('a bad name');
    return { type: parseObjectIdentifier(type), value };
  });
  const only = (type: string): string | undefined => {
    const [found, ...others] = attributes.filter((attribute) => attribute.type === type);
    if (others.length > 0) throw new RangeError('two names of one kind');
    return found && parseShownText(found.value);
  };
  return { commonName: only(NAME.commonName) ?? '', organization: only(NAME.organization) };
}

/** UTF8String or PrintableString of at most 64 characters; people are shown it. */
function parseShownText({ tag, content }: DerNode): string {
  if (tag !== TAG.utf8String && tag !== TAG.printableString) throw new RangeError('a name in a form that is not used');
  const text = decodeUtf8(content);
  // Control and formatting characters (right-to-left overrides among them) could make one name look like another.
  if (text === '' || text.length > 64 || /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\uFFFD]/u.test(text)) throw new RangeError('a name with characters that cannot be shown');
  return text;
}

function decodeUtf8(bytes: Bytes): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw new RangeError('a text that is not UTF-8', { cause });
  }
}

/** Milliseconds since 1970. RFC 5280, 4.1.2.5: to the second, in UTC, UTCTime through 2049 and GeneralizedTime from 2050. */
export function parseTime({ tag, content }: DerNode): number {
  const [, year = '', month = '', day = '', hour = '', minute = '', second = ''] = /^(\d{2}|\d{4})(\d{2})(\d{2})(\d{2})(\d{2})(\d{2})Z$/.exec(decodeUtf8(content)) ?? [];
  if (year.length !== (tag === TAG.utcTime ? 2 : 4) || (tag !== TAG.utcTime && tag !== TAG.generalizedTime)) throw new RangeError('a bad time');
  const fullYear = year.length === 4 ? year : `${Number(year) < 50 ? '20' : '19'}${year}`;
  if (tag === TAG.generalizedTime && Number(year) < 2050) throw new RangeError('a bad time');
  const text = `${fullYear}-${month}-${day}T${hour}:${minute}:${second}.000Z`;
  const ms = Date.parse(text);
  // Date.parse rolls 31 February over to March: compare.
  if (Number.isNaN(ms) || new Date(ms).toISOString() !== text) throw new RangeError('a bad time');
  return ms;
}

export interface ExtensionFields {
  readonly isAuthority: boolean;
  /** How many authorities may stand below this one; undefined: as many as one likes. */
  readonly pathLength: number | undefined;
  /** Key usage keyCertSign. */
  readonly mayIssue: boolean;
  /** Key usage digitalSignature. */
  readonly maySign: boolean;
  readonly extendedKeyUsages: readonly string[];
  readonly uris: readonly string[];
  readonly dnsNames: readonly string[];
}

const EXTENSION = { basicConstraints: '2.5.29.19', keyUsage: '2.5.29.15', extendedKeyUsage: '2.5.29.37', alternativeNames: '2.5.29.17' } as const;
const KEY_USAGE = { digitalSignature: 0x80, keyCertSign: 0x04 } as const;
const ALTERNATIVE_NAME = { dns: 0x82, uri: 0x86 } as const;

/** `wrapper`: [3] EXPLICIT Extensions. An extension that is critical and unknown is refused, one that is neither is passed over (RFC 5280, 4.2). */
export function parseExtensions(wrapper: DerNode): ExtensionFields {
  const [list, ...rest] = wrapper.children;
  if (list === undefined || rest.length > 0) throw new RangeError('bad extensions');
  const contents = new Map<string, DerNode>();
  const seen = new Set<string>();
  for (const { id, critical, content } of childrenOf(list, TAG.sequence).map(parseExtension)) {
    // RFC 5280, 4.2: at most one instance of an extension.
    if (seen.has(id)) throw new RangeError('an extension stands twice');
    seen.add(id);
    const isUnderstood = (Object.values(EXTENSION) as readonly string[]).includes(id);
    if (critical && !isUnderstood) throw new RangeError(`critical extension ${id} is unknown`);
    if (isUnderstood) contents.set(id, parseDer(content));
  }
  const usage = parseKeyUsage(contents.get(EXTENSION.keyUsage));
  return {
    ...parseBasicConstraints(contents.get(EXTENSION.basicConstraints)),
    mayIssue: (usage & KEY_USAGE.keyCertSign) !== 0,
    maySign: (usage & KEY_USAGE.digitalSignature) !== 0,
    extendedKeyUsages: parseExtendedKeyUsage(contents.get(EXTENSION.extendedKeyUsage)),
    ...parseAlternativeNames(contents.get(EXTENSION.alternativeNames)),
  };
}

/** Extension ::= SEQUENCE { extnID, critical BOOLEAN DEFAULT FALSE, extnValue OCTET STRING }; DER does not write a default. */
function parseExtension(extension: DerNode): { id: string; critical: boolean; content: Bytes } {
  const [id, ...rest] = childrenOf(extension, TAG.sequence);
  const value = rest.at(-1);
  const critical = rest.length === 2 ? rest[0] : undefined;
  if (id === undefined || value?.tag !== TAG.octetString || rest.length > 2) throw new RangeError('a bad extension');
  return { id: parseObjectIdentifier(id), critical: critical !== undefined && requireTrue(critical), content: value.content };
}

function requireTrue({ tag, content }: DerNode): true {
  if (tag !== TAG.boolean || content[0] !== 0xff) throw new RangeError('a BOOLEAN that should not be there');
  return true;
}

/** BasicConstraints ::= SEQUENCE { cA BOOLEAN DEFAULT FALSE, pathLenConstraint INTEGER OPTIONAL }. */
function parseBasicConstraints(node: DerNode | undefined): { isAuthority: boolean; pathLength: number | undefined } {
  const [authority, length, ...rest] = node === undefined ? [] : childrenOf(node, TAG.sequence);
  if (authority === undefined) return { isAuthority: false, pathLength: undefined };
  const octet = length?.content[0] ?? 0;
  if (rest.length > 0 || (length !== undefined && (length.tag !== TAG.integer || length.content.length !== 1 || octet >= 0x80))) throw new RangeError('a bad path length');
  return { isAuthority: requireTrue(authority), pathLength: length === undefined ? undefined : octet };
}

/** The first eight bits; a certificate without the extension may do nothing here. */
function parseKeyUsage(node: DerNode | undefined): number {
  if (node === undefined) return 0;
  if (node.tag !== TAG.bitString || node.content.length < 2) throw new RangeError('a bad key usage');
  return node.content[1] ?? 0;
}

function parseExtendedKeyUsage(node: DerNode | undefined): readonly string[] {
  return node === undefined ? [] : childrenOf(node, TAG.sequence).map(parseObjectIdentifier);
}

/** GeneralNames with DNS names and URIs only, in printable ASCII. */
function parseAlternativeNames(node: DerNode | undefined): { uris: readonly string[]; dnsNames: readonly string[] } {
  const names = node === undefined ? [] : childrenOf(node, TAG.sequence).map(({ tag, content }) => ({ tag, text: decodeUtf8(content) }));
  const used: readonly number[] = Object.values(ALTERNATIVE_NAME);
  if (!names.every(({ tag, text }) => used.includes(tag) && /^[\x21-\x7e]+$/.test(text))) throw new RangeError('an alternative name of a kind that is not used');
  const of = (kind: number): string[] => names.filter(({ tag }) => tag === kind).map(({ text }) => text);
  return { uris: of(ALTERNATIVE_NAME.uri), dnsNames: of(ALTERNATIVE_NAME.dns) };
}

function childrenOf(node: DerNode, tag: number): readonly DerNode[] {
  if (node.tag !== tag) throw new RangeError('another DER type than expected');
  return node.children;
}
