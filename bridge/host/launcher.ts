/** The texts that make a browser start the host: the launcher with absolute paths, and the native-messaging manifest that names it. */
import { NATIVE_HOST_NAME } from '#bridge/native/messages.ts';
import type { HostConfig } from './config.ts';
import type { HostSystem } from './platform.ts';

/** Native calls run on Node's worker threads, and a mute card holds one until it is lifted. */
const WORKER_THREADS = 16;

export const CONFIG_NAME = 'kessai-host.json';
export const MANIFEST_NAME = `${NATIVE_HOST_NAME}.json`;

export function launcherName(system: HostSystem): string {
  return system === 'windows' ? 'kessai-host.bat' : 'kessai-host.sh';
}

export interface LauncherPaths {
  readonly system: HostSystem;
  /** Absolute: the browser starts us with an environment of its own making, so nothing is looked up. */
  readonly nodePath: string;
  readonly bundlePath: string;
  readonly configPath: string;
  readonly environment?: Readonly<Record<string, string>>;
}

export function launcherText({ system, nodePath, bundlePath, configPath, environment = {} }: LauncherPaths): string {
  const settings = Object.entries({ UV_THREADPOOL_SIZE: String(WORKER_THREADS), ...environment });
  if (system === 'windows') {
    // A batch file is read in the console's code page, and a percent sign begins a variable.
    const plain = (text: string) => text.replaceAll('%', '%%');
    const lines = [
      '@echo off',
      'chcp 65001 >nul 2>&1',
      ...settings.map(([name, value]) => `set "${name}=${plain(value)}"`),
      `"${plain(nodePath)}" "${plain(bundlePath)}" --config "${plain(configPath)}" %*`,
    ];
    return lines.map((line) => `${line}\r\n`).join('');
  }
  const exports = settings.map(([name, value]) => `export ${name}=${quote(value)}\n`).join('');
  return `#!/bin/sh\n${exports}exec ${quote(nodePath)} ${quote(bundlePath)} --config ${quote(configPath)} "$@"\n`;
}

function quote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

export function manifestText(family: 'chromium' | 'firefox', launcher: string, config: HostConfig): string {
  const callers = family === 'chromium' ? { allowed_origins: config.allowedOrigins } : { allowed_extensions: config.allowedExtensions };
  return jsonText({ name: NATIVE_HOST_NAME, description: 'Kessai: reaches the card reader for the payment extension', path: launcher, type: 'stdio', ...callers });
}

export function jsonText(value: unknown): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}
