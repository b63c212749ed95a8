/** A browser profile that trusts our web root and presents our client certificate without asking, with nothing of it outside the given folders. */
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { parseCertificate } from '#protocol/certificate-parse.ts';
import { ensureBrowserCertificate, type Identity, type Pki } from './pki.ts';
import { encodePkcs12 } from './pki-pkcs12.ts';
import { readText, writeWhole } from './pki-store.ts';

export interface BrowserProfileOptions {
  /** The browser's $HOME: Chromium on Linux looks for NSS's database only there. */
  readonly homeFolder: string;
  readonly userDataDir: string;
  readonly pki: Pki;
  /** Origins, like `https://shop.localhost:8443`, that get the client certificate without a question. */
  readonly clientCertificateFor: readonly string[];
  /** Default: the certificate of the browser `demo`. */
  readonly certificate?: Identity;
}

export interface BrowserProfile {
  /** To launch with: `env: { ...process.env, ...profile.environment }`. */
  readonly environment: Readonly<Record<string, string>>;
  /** Opaque number in the client certificate. */
  readonly commonName: string;
}

const TOOL_TIMEOUT_MS = 30_000;
const run = promisify(execFile);

/**
 * Prepares Chromium's profile; to be called while that browser is not running. Needs `certutil` and `pk12util` (Debian:
 * libnss3-tools). A profile that exists keeps everything else.
 */
export async function prepareBrowserProfile(options: BrowserProfileOptions): Promise<BrowserProfile> {
  const { homeFolder, userDataDir, pki, clientCertificateFor } = options;
  const certificate = options.certificate ?? await ensureBrowserCertificate({ pki });
  const [leaf, issuer] = certificate.chain.map(parseCertificate);
  if (leaf === undefined || issuer === undefined) throw new Error(`${certificate.file} has no chain`);
  // Made anew each time: a root that was replaced must not stay trusted.
  const database = join(homeFolder, '.pki/nssdb');
  await rm(database, { recursive: true, force: true });
  await fillNssDatabase(database, pki, certificate);
  await allowWithoutAsking(userDataDir, clientCertificateFor, issuer.commonName);
  return { environment: { HOME: homeFolder }, commonName: leaf.commonName };
}

/** A new database in `folder` (Chromium's in `$HOME/.pki/nssdb`, Firefox's in its profile) with the web root and the client certificate. */
export async function fillNssDatabase(folder: string, pki: Pki, certificate: Identity): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const database = ['-d', `sql:${folder}`];
  await runTool('certutil', [...database, '-N', '--empty-password']);
  await runTool('certutil', [...database, '-A', '-t', 'C,,', '-n', 'Kessai web root', '-i', pki.webRoot.file]);
  const temporary = await mkdtemp(join(tmpdir(), 'kessai-pkcs12-'));
  try {
    const [file, passwordFile, password] = [join(temporary, 'client.p12'), join(temporary, 'password'), randomBytes(16).toString('hex')];
    await writeFile(file, await encodePkcs12(certificate, 'Kessai', password), { mode: 0o600 });
    await writeFile(passwordFile, password, { mode: 0o600 });
    await runTool('pk12util', [...database, '-K', '', '-i', file, '-w', passwordFile]);
  } finally {
    await rm(temporary, { recursive: true });
  }
}

async function runTool(tool: 'certutil' | 'pk12util', parameters: readonly string[]): Promise<void> {
  try {
    await run(tool, parameters, { timeout: TOOL_TIMEOUT_MS });
  } catch (cause) {
    const missing = (cause as NodeJS.ErrnoException).code === 'ENOENT';
    throw new Error(missing ? `${tool} is not installed (on Debian: apt install libnss3-tools)` : `${tool} failed`, { cause });
  }
}

type Json = Record<string, unknown>;

/** Chromium's content setting `auto_select_certificate`: what the policy AutoSelectCertificateForUrls sets, for this profile only. */
async function allowWithoutAsking(userDataDir: string, origins: readonly string[], issuerName: string): Promise<void> {
  const file = join(userDataDir, 'Default/Preferences');
  const preferences = JSON.parse(await readText(file) ?? '{}') as Json;
  const profile = asObject(preferences['profile']);
  const contentSettings = asObject(profile['content_settings']);
  const exceptions = asObject(contentSettings['exceptions']);
  const setting = { filters: [{ ISSUER: { CN: issuerName } }] };
  const entries = origins.map((origin) => [`${patternOf(origin)},*`, { setting }]);
  const changed = { ...preferences, profile: { ...profile, content_settings: { ...contentSettings, exceptions: { ...exceptions, auto_select_certificate: Object.fromEntries(entries) as Json } } } };
  await writeWhole(file, JSON.stringify(changed), 'replace');
}

/** Content-setting patterns name the port always. */
function patternOf(origin: string): string {
  const { protocol, hostname, port, origin: canonical } = new URL(origin);
  if (protocol !== 'https:' || canonical !== origin) throw new RangeError(`${origin} is not an https origin`);
  return `https://${hostname}:${port === '' ? '443' : port}`;
}

function asObject(value: unknown): Json {
  return typeof value === 'object' && value !== null ? value as Json : {};
}
