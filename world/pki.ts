/**
 * The public keys of a whole world on one machine: made at the first start, completed and renewed at later ones.
 *
 * Two roots. The settlement institution's own root vouches for who signs messages and for servers among themselves;
 * the extension and the servers pin it, no browser trusts it for web pages. The web root stands in for a public CA:
 * a browser trusts it for the https pages, and in production certificates of a public CA take its place.
 */
import { chmod, mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type Bytes, equalBytes } from '#protocol/bytes.ts';
import { type Issuer, issueIntermediate, issueLeaf, issueRoot, type LeafRequest, type Validity } from '#protocol/certificate-issue.ts';
import { importPublicKey, type ParsedCertificate, parseCertificate } from '#protocol/certificate-parse.ts';
import { extendedKeyUsages, type Role } from '#protocol/certificates.ts';
import { ensureIdentity, type Identity, type KeyPair, readIdentity, readText, writeWhole } from './pki-store.ts';

export type { Identity } from './pki-store.ts';

export interface Anchor {
  readonly certificate: Bytes;
  readonly pem: string;
  /** The certificate alone, for `curl --cacert` and `certutil -A`. */
  readonly file: string;
}

export interface ShopParameters {
  /** DNS name, and the name of the shop's folder. */
  readonly host: string;
  /** Legal name, as the customer is shown it. */
  readonly organization: string;
  /** Where its pages stand, like `https://shop.localhost:8443`. Another list re-issues the signing certificate for the same key. */
  readonly origins: readonly string[];
}

/** DNS names of the settlement institution's servers. */
export interface SettlementHosts {
  readonly application: string;
  readonly information: string;
  readonly security: string;
}

export const DEFAULT_HOSTS: SettlementHosts = { application: 'settlement.localhost', information: 'enrol.settlement.localhost', security: 'security.settlement.localhost' };

export interface ShopIdentities {
  readonly web: Identity;
  readonly peer: Identity;
  readonly signing: Identity;
}

/** `web`: TLS for browsers (under the web root). `peer`: TLS among servers, for both ends. `signing`: messages. */
export interface Pki {
  readonly folder: string;
  readonly root: Anchor;
  readonly webRoot: Anchor;
  /** Certificates (DER) of the authorities below `root`, for judging TLS peers by their leaf. */
  readonly intermediates: { readonly shops: Bytes; readonly customers: Bytes; readonly servers: Bytes };
  readonly application: { readonly web: Identity; readonly peer: Identity; readonly signing: Identity };
  /** `customersIssuer`: the intermediate authority with which customers are enrolled. */
  readonly information: { readonly web: Identity; readonly peer: Identity; readonly customersIssuer: Identity };
  readonly security: { readonly peer: Identity };
  readonly operator: { readonly signing: Identity; readonly terminal: Identity };
  /** By host. */
  readonly shops: ReadonlyMap<string, ShopIdentities>;
}

export interface PkiParameters {
  /** Private to us; holds every private key of the development world. */
  readonly folder: string;
  readonly hosts?: SettlementHosts;
  readonly shops: readonly ShopParameters[];
  readonly now?: () => number;
}

const DAY_MS = 86_400_000;
const LIFE_MS = { authority: 3650 * DAY_MS, leaf: 90 * DAY_MS } as const;
/** What has less left than this is renewed at a start. */
const RENEW_BEFORE_MS = { authority: 365 * DAY_MS, leaf: 30 * DAY_MS } as const;
/** Clocks of the parties may differ by this much. */
const BACKDATE_MS = 300_000;

/** Makes what is missing, renews what is near its end, and leaves the rest as it is. Two processes may do so at once. */
export async function ensurePki({ folder, hosts = DEFAULT_HOSTS, shops, now = Date.now }: PkiParameters): Promise<Pki> {
  for (const { host } of shops) requireFileName(host);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  await chmod(folder, 0o700);
  const nowMs = now();
  const [root, webRoot] = [await ensureRoot(folder, 'root', 'Kessai development root', 1, nowMs), await ensureRoot(folder, 'web-root', 'Kessai development web root', 0, nowMs)];
  const intermediate = (file: string, commonName: string, roles: readonly Role[]) => ensureIntermediate(join(folder, file), root, commonName, roles, nowMs);
  const shopsIssuer = await intermediate('ca/shops.pem', 'Kessai development shops', ['shop', 'shop-server']);
  const customersIssuer = await intermediate('information/customers-issuer.pem', 'Kessai development customers', ['customer', 'customer-browser']);
  const servers = await intermediate('ca/servers.pem', 'Kessai development servers', ['settlement', 'operator', 'operator-terminal', 'application-server', 'security-server', 'information-server']);

  const leaf = (file: string, issuer: Authority, request: LeafWish) => ensureLeaf(join(folder, file), issuer, request, nowMs);
  const web = (party: string, host: string) => leaf(`${party}/web.pem`, webRoot, { role: 'web-server', commonName: host, dnsNames: [host] });
  const peer = (party: string, issuer: Authority, role: Role, host: string) => leaf(`${party}/peer.pem`, issuer, { role, commonName: host, dnsNames: [host] });

  const { application, information, security } = hosts;
  const shopIdentities = new Map<string, ShopIdentities>();
  for (const { host, organization, origins } of shops) {
    const party = `shops/${host}`;
    shopIdentities.set(host, {
      web: await web(party, host),
      peer: await peer(party, shopsIssuer, 'shop-server', host),
      signing: await leaf(`${party}/signing.pem`, shopsIssuer, { role: 'shop', commonName: host, organization, origins }),
    });
  }
  return {
    folder, root: anchorOf(root), webRoot: anchorOf(webRoot),
    intermediates: { shops: leafOf(shopsIssuer.chain), customers: leafOf(customersIssuer.chain), servers: leafOf(servers.chain) },
    application: {
      web: await web('application', application),
      peer: await peer('application', servers, 'application-server', application),
      signing: await leaf('application/signing.pem', servers, { role: 'settlement', commonName: application }),
    },
    information: { web: await web('information', information), peer: await peer('information', servers, 'information-server', information), customersIssuer },
    security: { peer: await peer('security', servers, 'security-server', security) },
    operator: {
      signing: await leaf('operator/signing.pem', servers, { role: 'operator', commonName: 'operator' }),
      terminal: await leaf('operator/terminal.pem', servers, { role: 'operator-terminal', commonName: 'operator' }),
    },
    shops: shopIdentities,
  };
}

function requireFileName(host: string): void {
  if (!/^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/.test(host) || host.includes('..')) throw new RangeError(`${host} is not a host name in lower case`);
}

/** An authority on disk. Roots have an empty `chainAbove`: a root is never sent. */
interface Authority extends Identity, KeyPair {
  readonly chainAbove: readonly Bytes[];
}

async function ensureRoot(folder: string, name: string, commonName: string, pathLength: number, nowMs: number): Promise<Authority & Anchor> {
  const identity = await ensureIdentity(join(folder, `ca/${name}.pem`), {
    isCurrent: ([certificate]) => Promise.resolve(certificate !== undefined && hasTimeLeft(parseCertificate(certificate), 'authority', nowMs)),
    makeChain: async (keyPair) => [await issueRoot({ ...validity(nowMs, 'authority'), keyPair, commonName, pathLength })],
  });
  const certificate = leafOf(identity.chain);
  const anchor = { certificate, pem: identity.chainPem, file: join(folder, `${name}.crt`) };
  if (await readText(anchor.file) !== anchor.pem) await writeWhole(anchor.file, anchor.pem, 'replace');
  return { ...identity, ...anchor, chainAbove: [] };
}

/** Without the private key. */
function anchorOf({ certificate, pem, file }: Anchor): Anchor {
  return { certificate, pem, file };
}

async function ensureIntermediate(file: string, root: Authority, commonName: string, roles: readonly Role[], nowMs: number): Promise<Authority> {
  const wanted = { extendedKeyUsages: [...new Set(roles.flatMap(extendedKeyUsages))], commonName };
  const identity = await ensureIdentity(file, {
    isCurrent: (chain) => isCurrent(chain, root, wanted, 'authority', nowMs),
    makeChain: async ({ publicKey }) => [await issueIntermediate({ ...validity(nowMs, 'authority'), issuer: issuerOf(root), publicKey, commonName, roles })],
  });
  return { ...identity, chainAbove: identity.chain };
}

type LeafWish = Omit<LeafRequest, 'issuer' | 'publicKey' | keyof Validity>;

async function ensureLeaf(file: string, issuer: Authority, wish: LeafWish, nowMs: number): Promise<Identity & KeyPair> {
  const { role, commonName, organization, origins = [], dnsNames = [] } = wish;
  const wanted = { extendedKeyUsages: extendedKeyUsages(role), commonName, organization, uris: origins, dnsNames };
  return await ensureIdentity(file, {
    isCurrent: (chain) => isCurrent(chain, issuer, wanted, 'leaf', nowMs),
    makeChain: async ({ publicKey }) => [await issueLeaf({ ...validity(nowMs, 'leaf'), ...wish, issuer: issuerOf(issuer), publicKey }), ...issuer.chainAbove],
  });
}

/** True if the certificate says what is wanted, was issued by this issuer's key, carries its present chain and has time left. */
async function isCurrent(chain: readonly Bytes[], issuer: Authority, wanted: Partial<ParsedCertificate>, kind: keyof typeof LIFE_MS, nowMs: number): Promise<boolean> {
  const certificate = parseCertificate(leafOf(chain));
  const above = chain.slice(1);
  const says = Object.entries(wanted).every(([field, value]) => JSON.stringify(certificate[field as keyof ParsedCertificate]) === JSON.stringify(value));
  if (!says || !hasTimeLeft(certificate, kind, nowMs)) return false;
  if (above.length !== issuer.chainAbove.length || !above.every((der, index) => equalBytes(der, issuer.chainAbove[index] ?? new Uint8Array()))) return false;
  const issuerCertificate = parseCertificate(leafOf(issuer.chain));
  const issuerKey = await importPublicKey(issuerCertificate.publicKeyInfo);
  return equalBytes(certificate.issuer, issuerCertificate.subject) && await crypto.subtle.verify({ name: 'ECDSA', hash: 'SHA-256' }, issuerKey, certificate.signature, certificate.tbs);
}

function hasTimeLeft({ notBeforeMs, notAfterMs }: ParsedCertificate, kind: keyof typeof LIFE_MS, nowMs: number): boolean {
  return notBeforeMs <= nowMs && nowMs < notAfterMs - RENEW_BEFORE_MS[kind];
}

function validity(nowMs: number, kind: keyof typeof LIFE_MS): Validity {
  return { notBeforeMs: nowMs - BACKDATE_MS, notAfterMs: nowMs + LIFE_MS[kind] };
}

function issuerOf(authority: Authority): Issuer {
  return { certificate: leafOf(authority.chain), privateKey: authority.privateKey };
}

function leafOf(chain: readonly Bytes[]): Bytes {
  const [leaf] = chain;
  if (leaf === undefined) throw new Error('an identity without a certificate');
  return leaf;
}

/** The shops that a folder has certificates for, as they are now. */
export async function readShops(folder: string): Promise<ShopParameters[]> {
  const hosts = await readdir(join(folder, 'shops')).catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []; // nothing made yet
    throw error;
  });
  const signing = await Promise.all(hosts.map((host) => readIdentity(join(folder, 'shops', host, 'signing.pem'))));
  return signing.filter((identity) => identity !== undefined).map(({ chain }) => {
    const { commonName, organization = '', uris } = parseCertificate(leafOf(chain));
    return { host: commonName, organization, origins: uris };
  });
}

/** A browser's TLS client certificate: its name is an opaque number, so that TLS tells nobody who the customer is. */
export async function ensureBrowserCertificate({ pki, browser = 'demo', now = Date.now }: { pki: Pki; browser?: string; now?: () => number }): Promise<Identity> {
  requireFileName(browser);
  const file = join(pki.folder, `browsers/${browser}.pem`);
  const issuer = await readIdentity(pki.information.customersIssuer.file);
  if (issuer === undefined) throw new Error(`${pki.information.customersIssuer.file} is missing`);
  const existing = await readIdentity(file);
  const commonName = existing === undefined ? opaqueNumber() : parseCertificate(leafOf(existing.chain)).commonName;
  return await ensureLeaf(file, { ...issuer, chainAbove: issuer.chain }, { role: 'customer-browser', commonName }, now());
}

function opaqueNumber(): string {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => String(byte % 10)).join('');
}
