/** Makes the host known to a browser: the native-messaging manifest, a launcher with absolute paths, and the configuration that names the callers. */
import { chmod, mkdir, rm, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { NATIVE_HOST_NAME } from '#bridge/native/messages.ts';
import type { HostConfig } from './config.ts';

/** Native calls run on Node's worker threads, and a mute card holds one until it is lifted. */
const WORKER_THREADS = 16;

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
}

/** A profile of its own (`--user-data-dir`) has its manifests below it; Chromium then reads no user folder. */
export function chromiumManifestFolder(userDataFolder: string): string {
  return join(userDataFolder, 'NativeMessagingHosts');
}

/** Where the user's own browsers look; on Windows the registry names the file instead, which `install` sees to. */
export function userManifestFolders(home: string = homedir(), platform: NodeJS.Platform = process.platform): { chromium: readonly string[]; firefox: readonly string[] } {
  if (platform === 'darwin') {
    const support = join(home, 'Library', 'Application Support');
    return { chromium: [join(support, 'Google', 'Chrome', 'NativeMessagingHosts'), join(support, 'Chromium', 'NativeMessagingHosts')], firefox: [join(support, 'Mozilla', 'NativeMessagingHosts')] };
  }
  return {
    chromium: [join(home, '.config', 'chromium', 'NativeMessagingHosts'), join(home, '.config', 'google-chrome', 'NativeMessagingHosts')],
    firefox: [join(home, '.mozilla', 'native-messaging-hosts')],
  };
}

export async function registerNativeHost(registration: NativeHostRegistration): Promise<RegisteredNativeHost> {
  const { chromiumManifestFolders = [], firefoxManifestFolders = [], bundlePath, config, environment = {} } = registration;
  const folder = resolve(registration.launcherFolder);
  await mkdir(folder, { recursive: true });
  const configPath = join(folder, 'kessai-host.json');
  await writeFile(configPath, `${JSON.stringify(config, null, 2)}\n`, { mode: 0o600 });
  const launcher = join(folder, process.platform === 'win32' ? 'kessai-host.bat' : 'kessai-host.sh');
  await writeFile(launcher, launcherText(resolve(bundlePath), configPath, { UV_THREADPOOL_SIZE: String(WORKER_THREADS), ...environment }));
  await chmod(launcher, 0o755);
  const common = { name: NATIVE_HOST_NAME, description: 'Kessai: reaches the card reader for the payment extension', path: launcher, type: 'stdio' };
  const manifests: string[] = [];
  const writeManifest = async (manifestFolder: string, manifest: object) => {
    await mkdir(manifestFolder, { recursive: true });
    const path = join(manifestFolder, `${NATIVE_HOST_NAME}.json`);
    await writeFile(path, `${JSON.stringify(manifest, null, 2)}\n`);
    manifests.push(path);
  };
  for (const manifestFolder of chromiumManifestFolders) await writeManifest(manifestFolder, { ...common, allowed_origins: config.allowedOrigins });
  for (const manifestFolder of firefoxManifestFolders) await writeManifest(manifestFolder, { ...common, allowed_extensions: config.allowedExtensions });
  return { manifests, launcher, config: configPath };
}

export async function unregisterNativeHost({ manifests, launcher, config }: RegisteredNativeHost): Promise<void> {
  for (const file of [...manifests, launcher, config]) await rm(file, { force: true });
}

/** The browser starts it with an environment of its own making: so Node's path is absolute, and nothing is looked up. */
function launcherText(bundlePath: string, configPath: string, environment: Readonly<Record<string, string>>): string {
  const settings = Object.entries(environment);
  if (process.platform === 'win32') {
    return `@echo off\r\n${settings.map(([name, value]) => `set "${name}=${value}"\r\n`).join('')}"${process.execPath}" "${bundlePath}" --config "${configPath}" %*\r\n`;
  }
  const exports = settings.map(([name, value]) => `export ${name}=${quote(value)}\n`).join('');
  return `#!/bin/sh\n${exports}exec ${quote(process.execPath)} ${quote(bundlePath)} --config ${quote(configPath)} "$@"\n`;
}

function quote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
