/** The real host as a process of its own, with a configuration of the test's making: what Chromium does, without Chromium. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { HostConfig } from './config.ts';
import { spawnHostProcess, type HostProcess } from './spawn-port.ts';

export type { HostProcess };

const MAIN_FILE = fileURLToPath(new URL('main.ts', import.meta.url));
export const TEST_ORIGIN = 'chrome-extension://abcdefghijklmnopabcdefghijklmnop/';
export const PCSC_CONFIG: HostConfig = { allowedOrigins: [TEST_ORIGIN], allowedExtensions: [], reader: { kind: 'pcsc' } };

const folders = new Set<string>();
/** Of hosts that outlive their test. */
process.once('exit', () => folders.forEach(removeFolder));

function removeFolder(folder: string): void {
  rmSync(folder, { recursive: true, force: true });
  folders.delete(folder);
}

export function spawnHost(config: HostConfig, { environment = {}, origin = TEST_ORIGIN, command }: { environment?: Record<string, string>; origin?: string; command?: readonly string[] } = {}): HostProcess {
  const folder = mkdtempSync(join(tmpdir(), 'kessai-host-'));
  folders.add(folder);
  const configPath = join(folder, 'kessai-host.json');
  writeFileSync(configPath, JSON.stringify(config));
  const host = spawnHostProcess([...(command ?? [process.execPath, '--import', 'tsx', MAIN_FILE, '--config', configPath]), origin], { ...process.env, ...environment });
  void host.ended.then(() => removeFolder(folder));
  return host;
}
