/** Makes the host known to browsers for a while, at folders that the caller names, and afterwards leaves them as they were. */
import { chmod, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { HostConfig } from './config.ts';
import { CONFIG_NAME, jsonText, launcherName, launcherText, MANIFEST_NAME, manifestText } from './launcher.ts';
import { manifestFolders, type BrowserId } from './places.ts';
import { systemOf, thisPlatform, type Platform } from './platform.ts';

export interface NativeHostRegistration {
  /** Where the browsers look: `chromiumManifestFolder(...)`, or the user's own folders. */
  readonly chromiumManifestFolders?: readonly string[];
  readonly firefoxManifestFolders?: readonly string[];
  /** Made if need be: holds launcher and configuration. */
  readonly launcherFolder: string;
  /** The built `kessai-host.mjs`. */
  readonly bundlePath: string;
  readonly config: HostConfig;
  /** Given to the host: a browser that somebody else starts does not pass on what a private PC/SC service needs. */
  readonly environment?: Readonly<Record<string, string>>;
}

/** Files that were written, manifests first; `unregisterNativeHost` takes them away again. */
export interface RegisteredNativeHost {
  readonly manifests: readonly string[];
  readonly launcher: string;
  readonly config: string;
  /** What stood in a manifest's place before: a lasting installation's, which gets its place back. */
  readonly before: ReadonlyMap<string, string>;
}

/** A profile of its own (`--user-data-dir`) has its manifests below it; Chromium then reads no user folder. */
export function chromiumManifestFolder(userDataFolder: string): string {
  return join(userDataFolder, 'NativeMessagingHosts');
}

/** Where the user's own Chromium, Chrome and Firefox look; none on Windows, where the registry names the file instead: `kessai-host install` sees to that. */
export function userManifestFolders(platform: Platform = thisPlatform()): { chromium: readonly string[]; firefox: readonly string[] } {
  const foldersOf = (...browsers: BrowserId[]) => browsers.flatMap((browser) => manifestFolders(platform, browser, 'user').always);
  return { chromium: foldersOf('chromium', 'chrome'), firefox: foldersOf('firefox') };
}

export async function registerNativeHost(registration: NativeHostRegistration): Promise<RegisteredNativeHost> {
  const { chromiumManifestFolders = [], firefoxManifestFolders = [], bundlePath, config, environment = {} } = registration;
  const folder = resolve(registration.launcherFolder);
  await mkdir(folder, { recursive: true });
  const configPath = join(folder, CONFIG_NAME);
  await writeFile(configPath, jsonText(config), { mode: 0o600 });
  const system = systemOf(process.platform);
  const launcher = join(folder, launcherName(system));
  await writeFile(launcher, launcherText({ system, nodePath: process.execPath, bundlePath: resolve(bundlePath), configPath, environment }));
  await chmod(launcher, 0o755);
  const before = new Map<string, string>();
  const writeManifest = async (manifestFolder: string, text: string): Promise<string> => {
    await mkdir(manifestFolder, { recursive: true });
    const path = join(manifestFolder, MANIFEST_NAME);
    const earlier = await readFile(path, 'utf8').catch(() => undefined); // none there
    if (earlier !== undefined && earlier !== text) before.set(path, earlier);
    await writeFile(path, text);
    return path;
  };
  const manifests: string[] = [];
  for (const each of chromiumManifestFolders) manifests.push(await writeManifest(each, manifestText('chromium', launcher, config)));
  for (const each of firefoxManifestFolders) manifests.push(await writeManifest(each, manifestText('firefox', launcher, config)));
  return { manifests, launcher, config: configPath, before };
}

export async function unregisterNativeHost({ manifests, launcher, config, before }: RegisteredNativeHost): Promise<void> {
  for (const file of [...manifests, launcher, config]) {
    const earlier = before.get(file);
    if (earlier === undefined) await rm(file, { force: true });
    else await writeFile(file, earlier);
  }
}
