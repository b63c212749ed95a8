/** Installs the host for browsers, and takes away exactly what it installed; says every file and key, and repeats without harm. */
import { readFile, stat } from 'node:fs/promises';
import * as v from 'valibot';
import { manifestFoldersInUse } from './browsers.ts';
import type { HostConfig } from './config.ts';
import { readRecord, recordPath, writeRecord, type InstallationRecord } from './installation-record.ts';
import { CONFIG_NAME, jsonText, launcherName, launcherText, MANIFEST_NAME, manifestText } from './launcher.ts';
import { filesBelow, isPlaced, isSame, makeFolder, missingFolders, readPlaced, removeIfEmpty, removePlaced, writePlaced } from './placed-files.ts';
import { BROWSER_IDS, BROWSERS, hostFolder, registryKeys, type BrowserId, type Scope } from './places.ts';
import { pathsOf, type Platform } from './platform.ts';
import { readDefaultValue, removeKey, writeDefaultValue } from './registry.ts';

/** `left`: there, and not ours; or in use, so that it could not be removed. */
export interface Change {
  readonly action: 'wrote' | 'unchanged' | 'removed' | 'left';
  readonly kind: 'file' | 'folder' | 'key';
  readonly path: string;
  readonly why?: string;
}

export interface InstallOptions {
  readonly browsers: readonly BrowserId[];
  readonly scope: Scope;
  readonly config: HostConfig;
  /** A folder of this machine with the built host, which runs by itself. */
  readonly bundleFolder: string;
  readonly bundleName: string;
  readonly version: string;
  readonly dryRun: boolean;
  /** Takes the place of another installation's registration. */
  readonly replace: boolean;
}

interface PlannedFile {
  readonly path: string;
  readonly bytes: Uint8Array;
  readonly mode: number;
}

interface Plan {
  readonly launcher: string;
  readonly browsers: readonly BrowserId[];
  readonly files: readonly PlannedFile[];
  readonly manifests: readonly PlannedFile[];
  readonly keys: readonly { readonly key: string; readonly manifest: string }[];
}

/** Throws where the system refuses a file or a key; what was written until then is in the record, so that a second try or `uninstall` finds it. */
export async function install(platform: Platform, options: InstallOptions): Promise<Change[]> {
  const { scope, version, dryRun } = options;
  const earlier = await readRecord(platform, scope);
  const plan = await makePlan(platform, options, earlier);
  const changes: Change[] = [];
  const owned = await takeOwned(platform, options, plan, earlier, changes);
  const folders = await foldersToMake(platform, [...owned.files, ...owned.manifests]);
  const record: InstallationRecord = {
    format: 1,
    version,
    launcher: plan.launcher,
    browsers: [...plan.browsers],
    files: owned.files.map(({ path }) => path),
    manifests: owned.manifests.map(({ path }) => path),
    keys: owned.keys.map(({ key }) => key),
    folders: [...new Set([...(earlier?.folders ?? []), ...folders])],
  };
  const isRecorded = JSON.stringify(record) === JSON.stringify(earlier);
  changes.push({ action: isRecorded ? 'unchanged' : 'wrote', kind: 'file', path: recordPath(platform, scope) });
  if (!dryRun) await writeRecord(platform, scope, earlier === undefined ? record : union(record, earlier));
  // The program first: a manifest never names a launcher that is not there yet.
  for (const file of [...owned.files, ...owned.manifests]) changes.push(await put(platform, file, dryRun));
  for (const { key, manifest } of owned.keys) changes.push(await putKey(platform, key, manifest, dryRun));
  const kept = await takeStale(platform, scope, earlier, record, dryRun, changes);
  const emptied = dryRun ? [] : await removeEmptied(platform, record.folders, changes);
  const finished = { ...record, files: [...record.files, ...kept], folders: record.folders.filter((folder) => !emptied.includes(folder)) };
  if (!dryRun) await writeRecord(platform, scope, finished);
  return changes;
}

/** What the earlier version had and this one has not; answers what could not be removed. */
async function takeStale(platform: Platform, scope: Scope, earlier: InstallationRecord | undefined, record: InstallationRecord, dryRun: boolean, changes: Change[]): Promise<string[]> {
  const kept: string[] = [];
  const stale = (earlier?.files ?? []).filter((path) => !record.files.includes(path));
  for (const path of (earlier?.manifests ?? []).filter((each) => !record.manifests.includes(each))) {
    const named = await launcherNamedBy(platform, path);
    if (named !== undefined && isOurs(platform, scope, named)) stale.push(path);
  }
  for (const path of stale) {
    const change = await take(platform, path, dryRun);
    if (change?.action === 'left') kept.push(path);
    changes.push(...present(change));
  }
  return kept;
}

/** Removes what `install` wrote. A registration that somebody else has changed since then stays. */
export async function uninstall(platform: Platform, { scope, dryRun }: { readonly scope: Scope; readonly dryRun: boolean }): Promise<Change[] | 'not-installed'> {
  const record = await readRecord(platform, scope);
  if (record === undefined) return 'not-installed';
  const changes: Change[] = [];
  // First what browsers look at: nothing then names a program that is half gone.
  for (const key of record.keys) {
    const value = await readDefaultValue(platform, key);
    if (value === undefined) continue;
    if (!isOurs(platform, scope, value)) changes.push({ action: 'left', kind: 'key', path: key, why: `it names ${value}` });
    else changes.push({ kind: 'key', path: key, ...(dryRun || (await removeKey(platform, key)) ? { action: 'removed' } : { action: 'left', why: 'Windows refused' }) });
  }
  for (const path of record.manifests) {
    const named = await launcherNamedBy(platform, path);
    if (named === undefined) continue;
    // A damaged one, in a place that we wrote, is of use to nobody.
    if (named === '' || isOurs(platform, scope, named)) changes.push(...present(await take(platform, path, dryRun)));
    else changes.push({ action: 'left', kind: 'file', path, why: `it names ${named}` });
  }
  const kept: string[] = [];
  for (const path of record.files) {
    const change = await take(platform, path, dryRun);
    if (change?.action === 'left') kept.push(path);
    changes.push(...present(change));
  }
  const ofRecord: Change = { action: 'removed', kind: 'file', path: recordPath(platform, scope) };
  if (dryRun) return [...changes, ofRecord];
  if (kept.length === 0) changes.push(ofRecord);
  if (kept.length > 0) await writeRecord(platform, scope, { ...record, files: kept, manifests: [], keys: [] });
  else await removePlaced(platform, recordPath(platform, scope));
  await removeEmptied(platform, record.folders, changes);
  return changes;
}

async function makePlan(platform: Platform, options: InstallOptions, earlier: InstallationRecord | undefined): Promise<Plan> {
  const { scope, config, bundleFolder, bundleName, version } = options;
  const paths = pathsOf(platform);
  const folder = paths.join(hostFolder(platform, scope), version);
  const [launcher, configPath] = [paths.join(folder, launcherName(platform.system)), paths.join(folder, CONFIG_NAME)];
  const files: PlannedFile[] = [];
  for (const name of await filesBelow(bundleFolder)) {
    const source = `${bundleFolder}/${name}`;
    // npm keeps only whether a file may be run.
    const mode = ((await stat(source)).mode & 0o100) === 0 ? 0o644 : 0o755;
    files.push({ path: paths.join(folder, ...name.split('/')), bytes: await readFile(source), mode });
  }
  files.push(textFile(configPath, jsonText(config), scope === 'user' ? 0o600 : 0o644));
  files.push(textFile(launcher, launcherText({ system: platform.system, nodePath: platform.nodePath, bundlePath: paths.join(folder, bundleName), configPath }), 0o755));
  // Browsers of an earlier installation are brought along to this version.
  const browsers = BROWSER_IDS.filter((id) => options.browsers.includes(id) || earlier?.browsers.includes(id));
  const manifests = new Map<string, PlannedFile>();
  const keys = new Map<string, string>();
  for (const id of browsers) {
    const { family } = BROWSERS[id];
    const text = manifestText(family, launcher, config);
    for (const each of await manifestFoldersInUse(platform, id, scope)) manifests.set(paths.join(each, MANIFEST_NAME), textFile(paths.join(each, MANIFEST_NAME), text, 0o644));
    for (const key of registryKeys(platform, id, scope)) {
      // Two shapes of manifest, and on Windows both lie beside the program.
      const path = paths.join(folder, family === 'firefox' ? `firefox-${MANIFEST_NAME}` : MANIFEST_NAME);
      if (!files.some((file) => file.path === path)) files.push(textFile(path, text, 0o644));
      keys.set(key, path);
    }
  }
  return { launcher, browsers, files, manifests: [...manifests.values()], keys: [...keys].map(([key, manifest]) => ({ key, manifest })) };
}

/** The plan without the registrations that belong to somebody else; says which. */
async function takeOwned(platform: Platform, { scope, replace }: InstallOptions, plan: Plan, earlier: InstallationRecord | undefined, changes: Change[]): Promise<Plan> {
  const manifests: PlannedFile[] = [];
  for (const file of plan.manifests) {
    const named = await launcherNamedBy(platform, file.path);
    const damagedOurs = named === '' && earlier?.manifests.includes(file.path) === true;
    if (named === undefined || replace || damagedOurs || isOurs(platform, scope, named)) manifests.push(file);
    else changes.push({ action: 'left', kind: 'file', path: file.path, why: `another installation's: it names ${named || 'no program'}` });
  }
  const keys: { key: string; manifest: string }[] = [];
  for (const entry of plan.keys) {
    const value = await readDefaultValue(platform, entry.key);
    if (value === undefined || replace || isOurs(platform, scope, value)) keys.push(entry);
    else changes.push({ action: 'left', kind: 'key', path: entry.key, why: `another installation's: it names ${value}` });
  }
  return { ...plan, manifests, keys };
}

const NamesProgram = v.object({ path: v.string() });

/** The program that a manifest names; '' where it is damaged, undefined where there is none. */
export async function launcherNamedBy(platform: Platform, manifestPath: string): Promise<string | undefined> {
  const bytes = await readPlaced(platform, manifestPath);
  if (bytes === undefined) return (await isPlaced(platform, manifestPath)) ? '' : undefined;
  try {
    return v.parse(NamesProgram, JSON.parse(bytes.toString('utf8'))).path;
  } catch {
    return ''; // as above
  }
}

/** Whether a launcher or manifest lies where only `install` writes. */
export function isOurs(platform: Platform, scope: Scope, path: string): boolean {
  const paths = pathsOf(platform);
  if (!paths.isAbsolute(path)) return false;
  const below = paths.relative(hostFolder(platform, scope), path);
  return below !== '' && !below.startsWith('..') && !paths.isAbsolute(below);
}

function textFile(path: string, text: string, mode: number): PlannedFile {
  return { path, bytes: Buffer.from(text), mode };
}

async function foldersToMake(platform: Platform, files: readonly PlannedFile[]): Promise<string[]> {
  const folders = new Set<string>();
  for (const folder of new Set(files.map(({ path }) => pathsOf(platform).dirname(path)))) {
    for (const missing of await missingFolders(platform, folder)) folders.add(missing);
  }
  return [...folders];
}

async function put(platform: Platform, { path, bytes, mode }: PlannedFile, dryRun: boolean): Promise<Change> {
  if (await isSame(platform, path, bytes, mode)) return { action: 'unchanged', kind: 'file', path };
  if (!dryRun) {
    await makeFolder(platform, pathsOf(platform).dirname(path));
    await writePlaced(platform, path, bytes, mode);
  }
  return { action: 'wrote', kind: 'file', path };
}

async function putKey(platform: Platform, key: string, manifest: string, dryRun: boolean): Promise<Change> {
  if ((await readDefaultValue(platform, key)) === manifest) return { action: 'unchanged', kind: 'key', path: key };
  if (!dryRun) await writeDefaultValue(platform, key, manifest);
  return { action: 'wrote', kind: 'key', path: key };
}

/** Undefined where there is nothing any more. */
async function take(platform: Platform, path: string, dryRun: boolean): Promise<Change | undefined> {
  try {
    const wasThere = dryRun ? await isPlaced(platform, path) : await removePlaced(platform, path);
    return wasThere ? { action: 'removed', kind: 'file', path } : undefined;
  } catch {
    // Windows keeps a library that a running host has loaded.
    return { action: 'left', kind: 'file', path, why: 'it is in use or may not be removed; close the browsers and try again' };
  }
}

/** Of the folders that we made, innermost first. */
async function removeEmptied(platform: Platform, folders: readonly string[], changes: Change[]): Promise<string[]> {
  const removed: string[] = [];
  for (const folder of [...folders].sort((a, b) => b.length - a.length)) {
    if (!(await removeIfEmpty(platform, folder))) continue;
    removed.push(folder);
    changes.push({ action: 'removed', kind: 'folder', path: folder });
  }
  return removed;
}

function union(record: InstallationRecord, earlier: InstallationRecord): InstallationRecord {
  const both = (list: 'files' | 'manifests' | 'keys') => [...new Set([...record[list], ...earlier[list]])];
  return { ...record, files: both('files'), manifests: both('manifests'), keys: both('keys') };
}

function present<T>(value: T | undefined): T[] {
  return value === undefined ? [] : [value];
}
