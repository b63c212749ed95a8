/** The real host as a process of its own, behind the browser's port interface: what Chromium does, without Chromium. */
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { NativePort } from '#bridge/native/port.ts';
import type { HostConfig } from './config.ts';
import { encodeFrame, FrameReader } from './framing.ts';

const MAIN_FILE = fileURLToPath(new URL('main.ts', import.meta.url));
export const TEST_ORIGIN = 'chrome-extension://abcdefghijklmnopabcdefghijklmnop/';
export const PCSC_CONFIG: HostConfig = { allowedOrigins: [TEST_ORIGIN], allowedExtensions: [], reader: { kind: 'pcsc' } };

export interface HostProcess {
  readonly port: NativePort;
  readonly process: ChildProcess;
  /** Exit code, or the signal's name. */
  readonly ended: Promise<number | string>;
  /** Bytes on stdout that were no frame end the port; what was wrong is here. */
  readonly strayOutput: () => string | undefined;
  readonly log: () => string;
}

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
  const [program = '', ...programArguments] = command ?? [process.execPath, '--import', 'tsx', MAIN_FILE, '--config', configPath];
  const child = spawn(program, [...programArguments, origin], { env: { ...process.env, ...environment }, stdio: ['pipe', 'pipe', 'pipe'] });
  const frames = new FrameReader();
  const onMessage: ((message: unknown) => void)[] = [];
  const onDisconnect: (() => void)[] = [];
  let stray: string | undefined;
  let log = '';
  child.stdout.on('data', (bytes: Buffer) => {
    try {
      for (const message of frames.push(bytes)) for (const listener of onMessage) listener(message);
    } catch (reason) {
      stray = String(reason);
      child.kill('SIGKILL');
    }
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    log += text;
  });
  // A write to a host that has just died.
  child.stdin.on('error', () => undefined);
  const ended = new Promise<number | string>((resolve) => {
    child.once('close', (code, signal) => {
      removeFolder(folder);
      for (const listener of onDisconnect) listener();
      resolve(code ?? signal ?? 'unknown');
    });
  });
  const port: NativePort = {
    postMessage: (message) => void child.stdin.write(encodeFrame(message)),
    disconnect: () => void child.stdin.end(),
    onMessage: { addListener: (listener) => void onMessage.push(listener) },
    onDisconnect: { addListener: (listener) => void onDisconnect.push(listener) },
  };
  return { port, process: child, ended, strayOutput: () => stray, log: () => log };
}
