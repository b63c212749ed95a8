import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, test } from 'vitest';
import type { HostConfig } from './config.ts';
import { install, uninstall, type Change, type InstallOptions } from './install.ts';
import { recordPath } from './installation-record.ts';
import { BROWSER_IDS } from './places.ts';
import { fakePlatform, type FakePlatform } from './platform.fixture.ts';
import type { HostSystem } from './platform.ts';

const folder = mkdtempSync(join(tmpdir(), 'kessai-install-'));
const bundleFolder = join(folder, 'bundle');
mkdirSync(join(bundleFolder, 'node_modules/koffi'), { recursive: true });
writeFileSync(join(bundleFolder, 'kessai-host.mjs'), 'the host');
writeFileSync(join(bundleFolder, 'node_modules/koffi/index.cjs'), 'koffi');
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const ORIGIN = 'chrome-extension://abcdefghijklmnopabcdefghijklmnop/';
const config: HostConfig = { allowedOrigins: [ORIGIN], allowedExtensions: ['a@b'], reader: { kind: 'pcsc' } };
const options: InstallOptions = { browsers: ['chromium', 'firefox'], scope: 'user', config, bundleFolder, bundleName: 'kessai-host.mjs', version: '1.0.0', dryRun: false, replace: false };
const MANIFEST = '/home/a/.config/chromium/NativeMessagingHosts/dev.kessai.host.json';
const HOST = '/home/a/.local/share/kessai/host';
const pathsWith = (changes: readonly Change[], action: Change['action']) => changes.filter((change) => change.action === action).map(({ path }) => path);

let computers = 0;
let linux: FakePlatform;
const computer = (system: HostSystem) => {
  const root = join(folder, String(computers++));
  mkdirSync(root);
  return fakePlatform(system, root);
};
beforeEach(() => {
  linux = computer('linux');
});
const read = (platform: FakePlatform, path: string) => readFileSync(platform.locate(path), 'utf8');

describe('install', () => {
  test('writes program, launcher, configuration and manifests, and says each of them', async () => {
    const changes = await install(linux, options);
    expect(pathsWith(changes, 'wrote').sort()).toEqual(linux.files());
    expect(linux.files()).toEqual([
      MANIFEST,
      `${HOST}/1.0.0/kessai-host.json`,
      `${HOST}/1.0.0/kessai-host.mjs`,
      `${HOST}/1.0.0/kessai-host.sh`,
      `${HOST}/1.0.0/node_modules/koffi/index.cjs`,
      `${HOST}/installation.json`,
      '/home/a/.mozilla/native-messaging-hosts/dev.kessai.host.json',
    ]);
    expect(JSON.parse(read(linux, MANIFEST))).toMatchObject({ name: 'dev.kessai.host', type: 'stdio', path: `${HOST}/1.0.0/kessai-host.sh`, allowed_origins: [ORIGIN] });
    expect(read(linux, `${HOST}/1.0.0/kessai-host.sh`)).toContain(`exec '/usr/bin/node' '${HOST}/1.0.0/kessai-host.mjs' --config '${HOST}/1.0.0/kessai-host.json' "$@"\n`);
    expect(statSync(linux.locate(`${HOST}/1.0.0/kessai-host.sh`)).mode & 0o777).toBe(0o755);
    expect(statSync(linux.locate(`${HOST}/1.0.0/kessai-host.json`)).mode & 0o777).toBe(0o600);
  });

  test('done again changes nothing and says so', async () => {
    const first = await install(linux, options);
    const second = await install(linux, options);
    expect(second.every(({ action }) => action === 'unchanged')).toBe(true);
    expect(second).toHaveLength(first.length);
  });

  test('as a rehearsal says the same and writes nothing', async () => {
    const rehearsed = await install(linux, { ...options, dryRun: true });
    expect(linux.files()).toEqual([]);
    expect(existsSync(linux.locate('/home'))).toBe(false);
    expect(rehearsed).toEqual(await install(linux, options));
    const removal = await uninstall(linux, { scope: 'user', dryRun: true });
    expect(pathsWith(removal as Change[], 'removed').sort()).toEqual(linux.files());
  });

  test.each([
    ['names another program', '{"name":"dev.kessai.host","path":"/opt/other/host.sh"}', 'another installation\'s: it names /opt/other/host.sh'],
    ['is damaged', '{"na', "another installation's: it names no program"],
    ['names a program beside our folder', `{"path":"${HOST}-other/1.0.0/kessai-host.sh"}`, `another installation's: it names ${HOST}-other/1.0.0/kessai-host.sh`],
  ])('leaves a manifest alone that %s', async (_, text, why) => {
    linux.put(MANIFEST, text);
    const changes = await install(linux, options);
    expect(changes).toContainEqual({ action: 'left', kind: 'file', path: MANIFEST, why });
    expect(read(linux, MANIFEST)).toBe(text);
    await uninstall(linux, { scope: 'user', dryRun: false });
    expect(linux.files()).toEqual([MANIFEST]);
    await install(linux, { ...options, replace: true });
    expect(read(linux, MANIFEST)).toContain(`${HOST}/1.0.0/kessai-host.sh`);
  });

  test('repairs what was half written, damaged or lost', async () => {
    await install(linux, options);
    const whole = linux.files().map((path) => [path, readFileSync(linux.locate(path), 'utf8')]);
    linux.put(MANIFEST, '{"na');
    linux.put(`${HOST}/1.0.0/kessai-host.mjs.kessai-new`, 'half');
    linux.put(`${HOST}/1.0.0/kessai-host.mjs`, 'the h');
    rmSync(linux.locate(`${HOST}/1.0.0/kessai-host.sh`));
    await install(linux, options);
    expect(linux.files().map((path) => [path, readFileSync(linux.locate(path), 'utf8')])).toEqual(whole);
  });

  test('that was cut off before its first file is known by its record and can be removed', async () => {
    await install(linux, options);
    for (const path of linux.files()) if (!path.endsWith('installation.json')) rmSync(linux.locate(path));
    await uninstall(linux, { scope: 'user', dryRun: false });
    expect(linux.files()).toEqual([]);
  });

  test('without its record knows its own manifests by where they point', async () => {
    await install(linux, options);
    linux.put(recordPath(linux, 'user'), 'damaged');
    const again = await install(linux, options);
    expect(pathsWith(again, 'wrote')).toEqual([recordPath(linux, 'user')]);
    await uninstall(linux, { scope: 'user', dryRun: false });
    expect(linux.files()).toEqual([]);
  });

  test('of a newer version brings every browser along and takes the older program away', async () => {
    await install(linux, options);
    const changes = await install(linux, { ...options, version: '1.1.0', browsers: ['edge'] });
    expect(read(linux, MANIFEST)).toContain(`${HOST}/1.1.0/kessai-host.sh`);
    expect(read(linux, '/home/a/.config/microsoft-edge/NativeMessagingHosts/dev.kessai.host.json')).toContain(`${HOST}/1.1.0/`);
    expect(existsSync(linux.locate(`${HOST}/1.0.0`))).toBe(false);
    expect(pathsWith(changes, 'removed')).toContain(`${HOST}/1.0.0/kessai-host.mjs`);
    await uninstall(linux, { scope: 'user', dryRun: false });
    expect(existsSync(linux.locate('/home'))).toBe(false);
  });

  test('for all users lies in the system\'s places, readable by all', async () => {
    await install(linux, { ...options, scope: 'system' });
    expect(linux.files()).toContain('/etc/chromium/native-messaging-hosts/dev.kessai.host.json');
    expect(statSync(linux.locate('/usr/local/lib/kessai/host/1.0.0/kessai-host.json')).mode & 0o777).toBe(0o644);
  });
});

describe('uninstall', () => {
  test('leaves everything that was there before', async () => {
    linux.put('/home/a/.config/chromium/NativeMessagingHosts/org.other.json', '{}');
    linux.put(`${HOST}/notes.txt`, 'mine');
    const before = linux.files();
    await install(linux, { ...options, browsers: BROWSER_IDS });
    const changes = await uninstall(linux, { scope: 'user', dryRun: false });
    expect(linux.files()).toEqual(before);
    expect(existsSync(linux.locate('/home/a/.mozilla'))).toBe(false);
    expect(existsSync(linux.locate('/home/a/.config/chromium/NativeMessagingHosts'))).toBe(true);
    expect(changes).toContainEqual({ action: 'removed', kind: 'file', path: recordPath(linux, 'user') });
  });

  test('leaves a manifest that somebody else has written over ours', async () => {
    await install(linux, options);
    linux.put(MANIFEST, '{"path":"/opt/other/host.sh"}');
    expect(await uninstall(linux, { scope: 'user', dryRun: false })).toContainEqual({ action: 'left', kind: 'file', path: MANIFEST, why: 'it names /opt/other/host.sh' });
    expect(linux.files()).toEqual([MANIFEST]);
  });

  test('says when there is nothing', async () => {
    expect(await uninstall(linux, { scope: 'user', dryRun: false })).toBe('not-installed');
  });
});

describe('on macOS', () => {
  test('everything comes, and goes again', async () => {
    const macos = computer('macos');
    await install(macos, { ...options, browsers: BROWSER_IDS });
    expect(macos.files().filter((path) => path.endsWith('dev.kessai.host.json'))).toHaveLength(5);
    await uninstall(macos, { scope: 'user', dryRun: false });
    expect(macos.files()).toEqual([]);
  });
});

describe('on Windows', () => {
  const CHROME = 'HKCU\\Software\\Google\\Chrome\\NativeMessagingHosts\\dev.kessai.host';
  const MOZILLA = 'HKCU\\Software\\Mozilla\\NativeMessagingHosts\\dev.kessai.host';
  const AT = 'C:\\Users\\a\\AppData\\Local\\Kessai\\host\\1.0.0';
  const forWindows = { ...options, browsers: ['chrome', 'firefox'] as const };
  let windows: FakePlatform;
  beforeEach(() => {
    windows = computer('windows');
  });

  test('keys name manifests beside the program, and a batch file starts it', async () => {
    const changes = await install(windows, forWindows);
    expect(windows.registry).toEqual(new Map([[CHROME, `${AT}\\dev.kessai.host.json`], [MOZILLA, `${AT}\\firefox-dev.kessai.host.json`]]));
    expect(JSON.parse(read(windows, `${AT}\\firefox-dev.kessai.host.json`))).toMatchObject({ path: `${AT}\\kessai-host.bat`, allowed_extensions: ['a@b'] });
    expect(read(windows, `${AT}\\kessai-host.bat`)).toContain(`"C:\\Program Files\\nodejs\\node.exe" "${AT}\\kessai-host.mjs" --config "${AT}\\kessai-host.json" %*\r\n`);
    expect(pathsWith(changes, 'wrote')).toContain(CHROME);
    expect((await install(windows, forWindows)).every(({ action }) => action === 'unchanged')).toBe(true);
  });

  test('everything goes again, keys too', async () => {
    await install(windows, forWindows);
    await uninstall(windows, { scope: 'user', dryRun: false });
    expect(windows.registry.size).toBe(0);
    expect(windows.files()).toEqual([]);
  });

  test('a key of another installation is left alone, at both ends', async () => {
    windows.registry.set(CHROME, 'D:\\other\\host.json');
    expect(await install(windows, forWindows)).toContainEqual({ action: 'left', kind: 'key', path: CHROME, why: "another installation's: it names D:\\other\\host.json" });
    await uninstall(windows, { scope: 'user', dryRun: false });
    expect([...windows.registry]).toEqual([[CHROME, 'D:\\other\\host.json']]);
  });

  test('a rehearsal touches no key', async () => {
    await install(windows, { ...forWindows, dryRun: true });
    expect(windows.registry.size).toBe(0);
    expect(windows.runs.every((line) => line.startsWith('reg.exe query'))).toBe(true);
  });
});
