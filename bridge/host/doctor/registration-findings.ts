/** The browsers here, whether each finds a host, and whether that host really starts for our extension and answers. */
import * as v from 'valibot';
import { openNativeHost } from '#bridge/native/client.ts';
import { extensionOrigin } from '#bridge/native/callers.ts';
import type { Finding } from '#bridge/doctor-findings.ts';
import { NATIVE_HOST_NAME } from '#bridge/native/messages.ts';
import { Failure, asFailure } from '#protocol/failure.ts';
import { findBrowsers, manifestFoldersInUse, type FoundBrowser } from '../browsers.ts';
import { isOurs } from '../install.ts';
import { MANIFEST_NAME } from '../launcher.ts';
import { isPlaced, readPlaced } from '../placed-files.ts';
import { BROWSERS, registryKeys, type BrowserId, type Scope } from '../places.ts';
import { pathsOf, type Platform } from '../platform.ts';
import { readDefaultValue } from '../registry.ts';
import { spawnHostProcess } from '../spawn-port.ts';
import { within } from '../within.ts';

export interface ExpectedHost {
  readonly version: string;
  readonly extensionId: string;
  readonly addOnId: string;
}

const ENDING_LIMIT_MS = 3_000;
const VERSION = /\d+(?:\.\d+)+\S*/;
const SCOPES: readonly Scope[] = ['user', 'system'];
/** Where a browser's own version stands in the registry; on Windows `--version` opens a window instead. */
const WINDOWS_VERSION_KEYS: Readonly<Partial<Record<BrowserId, string>>> = { chrome: 'Google\\Chrome', edge: 'Microsoft\\Edge', brave: 'BraveSoftware\\Brave-Browser' };

const Manifest = v.object({ name: v.literal(NATIVE_HOST_NAME), type: v.literal('stdio'), path: v.pipe(v.string(), v.minLength(1)), allowed_origins: v.optional(v.array(v.string())), allowed_extensions: v.optional(v.array(v.string())) });

/** Really starts every launcher that a registration names, as the browser would. */
export async function findRegistrationTroubles(platform: Platform, expected: ExpectedHost): Promise<Finding[]> {
  const browsers = await findBrowsers(platform);
  const findings: Finding[] = browsers.length === 0 ? [{ id: 'browser-found', state: 'problem', seen: 'none of Chrome, Chromium, Edge, Brave and Firefox was found' }] : [];
  for (const browser of browsers) findings.push(...(await describeBrowser(platform, browser)));
  const started = new Map<string, Finding[]>();
  for (const id of new Set(browsers.map((browser) => browser.id))) findings.push(...(await checkRegistration(platform, id, expected, started)));
  return findings;
}

async function describeBrowser(platform: Platform, { id, program, sandbox }: FoundBrowser): Promise<Finding[]> {
  const about = BROWSERS[id].title;
  if (sandbox !== undefined) {
    const name = sandbox === 'snap' ? 'a Snap' : 'a Flatpak';
    // Firefox alone asks the desktop's WebExtensions portal to start hosts for it.
    const firefox = id === 'firefox' && sandbox === 'snap' ? ` (Firefox may be able to, after \`flatpak permission-set webextensions ${NATIVE_HOST_NAME} snap.firefox yes\`)` : '';
    return [{ id: 'browser-sandboxed', state: 'problem', about, seen: `${program} is ${name}: it cannot start the reader program${firefox}` }];
  }
  return [{ id: 'browser-found', state: 'ok', about, seen: `${(await versionOf(platform, id, program)) ?? 'version unknown'}, ${program}` }];
}

async function versionOf(platform: Platform, id: BrowserId, program: string): Promise<string | undefined> {
  const key = WINDOWS_VERSION_KEYS[id];
  if (platform.system === 'windows' && key === undefined) return undefined;
  const { stdout } = platform.system === 'windows' ? await platform.run('reg.exe', ['query', `HKCU\\Software\\${key ?? ''}\\BLBeacon`, '/v', 'version']) : await platform.run(program, ['--version']);
  return VERSION.exec(stdout)?.[0];
}

/** Where a browser's registrations can be, the user's own first, which it prefers. */
async function registrationsOf(platform: Platform, id: BrowserId): Promise<{ manifest: string; scope: Scope }[]> {
  const places: { manifest: string; scope: Scope }[] = [];
  for (const scope of SCOPES) {
    for (const folder of await manifestFoldersInUse(platform, id, scope)) places.push({ manifest: pathsOf(platform).join(folder, MANIFEST_NAME), scope });
    for (const key of registryKeys(platform, id, scope)) {
      const manifest = await readDefaultValue(platform, key);
      if (manifest !== undefined) places.push({ manifest, scope });
    }
  }
  const there: { manifest: string; scope: Scope }[] = [];
  for (const place of places) if (platform.system === 'windows' || (await isPlaced(platform, place.manifest))) there.push(place);
  return there;
}

async function checkRegistration(platform: Platform, id: BrowserId, expected: ExpectedHost, started: Map<string, Finding[]>): Promise<Finding[]> {
  const { title: about, family } = BROWSERS[id];
  const [first] = await registrationsOf(platform, id);
  if (first === undefined) return [{ id: 'host-registered', state: 'problem', about, seen: `no ${MANIFEST_NAME} where ${about} looks` }];
  const { manifest, scope } = first;
  const bytes = await readPlaced(platform, manifest);
  const parsed = v.safeParse(v.pipe(v.string(), v.parseJson(), Manifest), bytes?.toString('utf8'));
  if (!parsed.success) return [{ id: 'host-registered', state: 'problem', about, seen: `${manifest} is ${bytes === undefined ? 'not there' : 'damaged'}` }];
  const { path: launcher, allowed_origins: origins = [], allowed_extensions: extensions = [] } = parsed.output;
  const findings: Finding[] = [{ id: 'host-registered', state: 'ok', about, seen: manifest }];
  if (!isOurs(platform, scope, launcher)) findings.push({ id: 'host-foreign', state: 'unknown', about, seen: `${manifest} names ${launcher}` });
  const caller = family === 'chromium' ? extensionOrigin(expected.extensionId) : expected.addOnId;
  const isAllowed = (family === 'chromium' ? origins : extensions).includes(caller);
  findings.push({ id: 'extension-allowed', state: isAllowed ? 'ok' : 'problem', about, seen: `${caller} is ${isAllowed ? '' : 'not '}among the callers that the registration names` });
  if (!(await isPlaced(platform, launcher))) return [...findings, { id: 'host-launcher', state: 'problem', about, seen: `${launcher} is not there` }];
  // Several browsers share one launcher; it is started once for each way of calling it.
  const key = `${family} ${launcher}`;
  if (!started.has(key)) started.set(key, await greet(platform, launcher, family === 'chromium' ? [caller] : [manifest, caller], expected.version, about));
  return [...findings, ...(started.get(key) ?? []).map((finding) => ({ ...finding, about }))];
}

/** Starts the host as the browser would and speaks the protocol: hello, then the readers. */
async function greet(platform: Platform, launcher: string, callerArguments: readonly string[], expectedVersion: string, about: string): Promise<Finding[]> {
  const host = spawnHostProcess([platform.locate(launcher), ...callerArguments], platform.environment);
  try {
    const native = await openNativeHost({ connect: () => host.port, expectedVersion, signal: new AbortController().signal });
    await native.close();
    return [
      { id: 'host-answers', state: 'ok', about, seen: launcher },
      { id: 'host-version', state: 'ok', about, seen: native.version },
    ];
  } catch (reason) {
    const failure = asFailure(reason);
    if (failure.code === 'host/version') {
      return [
        { id: 'host-answers', state: 'ok', about, seen: launcher },
        { id: 'host-version', state: 'problem', about, seen: versionsIn(failure, expectedVersion) },
      ];
    }
    await within(ENDING_LIMIT_MS, host.ended);
    const said = host.log().trim().split('\n')[0] ?? '';
    return [{ id: 'host-answers', state: 'problem', about, seen: `${launcher}: ${failure.code}${said === '' ? '' : `, it says "${said}"`}` }];
  } finally {
    const outcome = await within(ENDING_LIMIT_MS, host.ended);
    if (outcome.late) host.process.kill('SIGKILL');
  }
}

function versionsIn(failure: Failure, expectedVersion: string): string {
  return failure.message.replace(`${failure.code}: `, '') || `another version than ${expectedVersion}`;
}
