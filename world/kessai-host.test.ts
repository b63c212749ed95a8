import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { openNativeHost } from '#bridge/native/client.ts';
import { EXTENSION_ID, extensionOrigin } from '#bridge/native/callers.ts';
import type { Finding } from '#bridge/doctor-findings.ts';
import { spawnHostProcess } from '#bridge/host/spawn-port.ts';
import { HOST_VERSION } from '#bridge/host/version.ts';
import { Chip } from '#card-firmware-sim/chip.ts';
import { secureRandom } from '#card-firmware-sim/crypto.ts';
import { createFactoryImage } from '#card-firmware-sim/factory-image.ts';
import { FileCardMemory } from '#card-firmware-sim/file-card-memory.ts';
import { keepInserted } from '#card-firmware-sim/vpcd.ts';
import { EXTENSION_KEY } from '../extension/extension-id.ts';
import { startVirtualReader, type VirtualReader } from './virtual-reader.ts';

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

const PROGRAM = fileURLToPath(new URL('../bridge/host/npm/kessai-host.mjs', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'kessai-doctor-'));
const lift = new AbortController();
let reader: VirtualReader;
let card: Promise<void> = Promise.resolve();

beforeAll(async () => {
  reader = await startVirtualReader({ folder });
});
afterAll(async () => {
  lift.abort();
  await card;
  await reader.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** The program as a person starts it, in a home of its own, with the private PC/SC service. */
function kessaiHost(...parameters: string[]): Promise<{ exitCode: number | null; out: string }> {
  const child = spawn(process.execPath, [PROGRAM, ...parameters], { env: environment(), stdio: ['ignore', 'pipe', 'inherit'] });
  let out = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text));
  return new Promise((resolve) => child.once('close', (exitCode) => resolve({ exitCode, out })));
}
const environment = () => ({ ...process.env, ...reader.environment, HOME: join(folder, 'home'), XDG_CONFIG_HOME: '', XDG_DATA_HOME: '' });
const findingsOf = (out: string) => (JSON.parse(out) as { findings: Finding[] }).findings;

async function putCard(): Promise<void> {
  const memory = await FileCardMemory.open(join(folder, 'card.json'), () => createFactoryImage({ random: secureRandom }));
  const chip = new Chip({ memory });
  await new Promise<void>((resolve) => {
    card = keepInserted({ host: '127.0.0.1', port: reader.vpcdPorts[0] ?? 0, chip, signal: lift.signal, onChange: ({ state }) => state === 'inserted' && resolve() }).finally(() => memory.close());
  });
}

describe('the doctor at a real PC/SC service', () => {
  test('sees the service, its reader, the card that lies there and its kind; and the installed host sees the same', async () => {
    const about = reader.readerNames[0];
    const empty = findingsOf((await kessaiHost('doctor', '--json')).out);
    expect(empty).toContainEqual(expect.objectContaining({ id: 'pcsc-reader', state: 'ok', about }));
    expect(empty).toContainEqual(expect.objectContaining({ id: 'card-present', state: 'unknown', about }));

    await putCard();
    await expect
      .poll(async () => findingsOf((await kessaiHost('doctor', '--card', '--json')).out).find(({ id }) => id === 'card-kind'), { timeout: 20_000 })
      .toMatchObject({ state: 'ok', about, seen: 'MIFARE DESFire Light, hardware 30.0' });

    const installed = await kessaiHost('install', '--browser', 'chromium', '--json');
    expect(installed.exitCode).toBe(0);
    const { changes } = JSON.parse(installed.out) as { changes: { path: string }[] };
    const launcher = changes.map(({ path }) => path).find((path) => path.endsWith('kessai-host.sh')) ?? '';
    const host = spawnHostProcess([launcher, extensionOrigin(EXTENSION_ID)], environment());
    const native = await openNativeHost({ connect: () => host.port, expectedVersion: HOST_VERSION, signal: new AbortController().signal });
    const findings = await native.diagnose();
    await native.close();
    expect(await host.ended).toBe(0);
    expect(findings).toContainEqual(expect.objectContaining({ id: 'pcsc-service', state: 'ok' }));
    expect(findings).toContainEqual(expect.objectContaining({ id: 'card-present', state: 'ok', about }));
    // Nobody asked for the card's kind: the page's look sends it nothing.
    expect(findings.some(({ id }) => id === 'card-kind')).toBe(false);
    expect(JSON.stringify(findings)).not.toContain(folder);
    expect((await kessaiHost('uninstall')).exitCode).toBe(0);
  });
});

const BROWSER = process.env['KESSAI_BROWSER'] ?? '/usr/bin/chromium';

/** Nothing but our extension's identity and the right to call a host. */
function writeCaller(): string {
  const extension = join(folder, 'caller');
  mkdirSync(extension);
  const manifest = { manifest_version: 3, name: 'caller', version: '1', key: EXTENSION_KEY, permissions: ['nativeMessaging'], background: { service_worker: 'background.js' } };
  writeFileSync(join(extension, 'manifest.json'), JSON.stringify(manifest));
  writeFileSync(join(extension, 'background.js'), '');
  return extension;
}

test.skipIf(!existsSync(BROWSER))('a real Chromium finds the installed host where install says, and without it there is none', async () => {
  const extension = writeCaller();
  // The folder that Chromium takes by itself in that home; Playwright wants it named.
  const profile = join(folder, 'home', '.config', 'chromium');
  const root = process.getuid?.() === 0 ? ['--no-sandbox'] : [];
  await kessaiHost('install', '--browser', 'chromium');
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: BROWSER,
    args: [...root, '--disable-background-networking', `--load-extension=${extension}`, `--disable-extensions-except=${extension}`],
    env: environment(),
  });
  const worker = context.serviceWorkers()[0] ?? (await context.waitForEvent('serviceworker'));
  const ask = () =>
    worker.evaluate(
      () =>
        new Promise<unknown>((resolve) => {
          const port = chrome.runtime.connectNative('dev.kessai.host');
          port.onMessage.addListener(resolve);
          port.onDisconnect.addListener(() => resolve(chrome.runtime.lastError?.message));
          port.postMessage({ id: 1, op: 'hello', protocol: 1 });
        }),
    );
  try {
    expect(await ask()).toMatchObject({ id: 1, ok: { version: HOST_VERSION, backends: ['pcsc'] } });
    await kessaiHost('uninstall');
    expect(await ask()).toBe('Specified native messaging host not found.');
  } finally {
    await context.close();
  }
});
