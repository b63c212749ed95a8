import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { build } from 'vite';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openNativeHost } from '#bridge/native/client.ts';
import { NATIVE_HOST_NAME } from '#bridge/native/messages.ts';
import { PCSC_CONFIG, spawnHost, TEST_ORIGIN } from './host-process.fixture.ts';
import { chromiumManifestFolder, registerNativeHost, unregisterNativeHost, type RegisteredNativeHost } from './register.ts';
import { HOST_VERSION } from './version.ts';
import { HOST_BUNDLE_NAME, hostBuildConfig } from './vite.config.ts';

// A name that a careless launcher would break on.
const folder = mkdtempSync(join(tmpdir(), "kessai it's a host "));
const outDir = join(folder, 'out');
const profile = join(folder, 'profile');
let registered: RegisteredNativeHost;

beforeAll(async () => {
  await build(hostBuildConfig(outDir));
  registered = await registerNativeHost({
    chromiumManifestFolders: [chromiumManifestFolder(profile)],
    firefoxManifestFolders: [join(folder, 'firefox')],
    launcherFolder: join(folder, 'launcher'),
    bundlePath: join(outDir, HOST_BUNDLE_NAME),
    config: { ...PCSC_CONFIG, allowedExtensions: ['wallet@kessai.dev'] },
  });
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('a registered host', () => {
  test('has a manifest for each browser that names its launcher and its callers', () => {
    const [chromium, firefox] = registered.manifests.map((path) => JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>);
    const common = { name: NATIVE_HOST_NAME, path: registered.launcher, type: 'stdio' };
    expect(chromium).toMatchObject({ ...common, allowed_origins: [TEST_ORIGIN] });
    expect(firefox).toMatchObject({ ...common, allowed_extensions: ['wallet@kessai.dev'] });
    expect(registered.manifests[0]).toBe(join(profile, 'NativeMessagingHosts', `${NATIVE_HOST_NAME}.json`));
    expect(statSync(registered.launcher).mode & 0o111).toBe(0o111);
  });

  test('is started by its launcher from the built folder alone, loads the native library, and answers', async () => {
    const host = spawnHost(PCSC_CONFIG, { command: [registered.launcher], environment: { PCSCLITE_CSOCK_NAME: join(folder, 'no-service') } });
    const native = await openNativeHost({ connect: () => host.port, expectedVersion: HOST_VERSION, signal: new AbortController().signal });
    expect(native.problem).toMatchObject({ code: 'reader/no-service' });
    await expect(native.connect('Any', new AbortController().signal)).rejects.toMatchObject({ code: 'reader/no-service' });
    // The bundle brought its koffi along: what is missing is the service, not the native code. Its log comes by another pipe than its answer.
    await expect.poll(() => host.log()).toContain('SCARD_E_NO_SERVICE');
    await native.close();
    expect(await host.ended).toBe(0);
    expect(host.strayOutput()).toBeUndefined();
  });

  test('refuses another caller through the launcher too', () => {
    expect(spawnSync(registered.launcher, ['chrome-extension://ponmlkjihgfedcbaponmlkjihgfedcba/'], { encoding: 'utf8' })).toMatchObject({ status: 2, stdout: '' });
  });

  test('leaves no file behind when it is taken away', async () => {
    await unregisterNativeHost(registered);
    for (const path of [...registered.manifests, registered.launcher, registered.config]) expect(existsSync(path)).toBe(false);
  });
});

test('a manifest that stood in the place of ours is there again afterwards', async () => {
  const firefoxManifestFolders = [join(folder, 'lasting')];
  const path = join(folder, 'lasting', `${NATIVE_HOST_NAME}.json`);
  mkdirSync(join(folder, 'lasting'));
  writeFileSync(path, 'a lasting installation');
  const second = await registerNativeHost({ firefoxManifestFolders, launcherFolder: join(folder, 'launcher'), bundlePath: join(outDir, HOST_BUNDLE_NAME), config: PCSC_CONFIG });
  expect(readFileSync(path, 'utf8')).toContain(second.launcher);
  await unregisterNativeHost(second);
  expect(readFileSync(path, 'utf8')).toBe('a lasting installation');
});
