import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { ableToStartHosts, findBrowsers, manifestFoldersInUse } from './browsers.ts';
import { BROWSER_IDS, hostFolder, manifestFolders, registryKeys, type BrowserId, type Scope } from './places.ts';
import { fakePlatform } from './platform.fixture.ts';
import type { HostSystem } from './platform.ts';

const folder = mkdtempSync(join(tmpdir(), 'kessai-places-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
let computers = 0;
const computer = (system: HostSystem, environment?: Record<string, string>) => fakePlatform(system, join(folder, String(computers++)), environment === undefined ? {} : { environment });

const SUPPORT = '/Users/a/Library/Application Support';
const PLACES: [HostSystem, BrowserId, Scope, string[]][] = [
  ['linux', 'chrome', 'user', ['/home/a/.config/google-chrome/NativeMessagingHosts']],
  ['linux', 'chromium', 'user', ['/home/a/.config/chromium/NativeMessagingHosts']],
  ['linux', 'edge', 'user', ['/home/a/.config/microsoft-edge/NativeMessagingHosts']],
  ['linux', 'brave', 'user', ['/home/a/.config/BraveSoftware/Brave-Browser/NativeMessagingHosts']],
  ['linux', 'firefox', 'user', ['/home/a/.mozilla/native-messaging-hosts']],
  ['linux', 'chrome', 'system', ['/etc/opt/chrome/native-messaging-hosts']],
  ['linux', 'chromium', 'system', ['/etc/chromium/native-messaging-hosts']],
  ['linux', 'edge', 'system', ['/etc/opt/edge/native-messaging-hosts']],
  ['linux', 'firefox', 'system', ['/usr/lib/mozilla/native-messaging-hosts']],
  ['macos', 'chrome', 'user', [`${SUPPORT}/Google/Chrome/NativeMessagingHosts`]],
  ['macos', 'chromium', 'user', [`${SUPPORT}/Chromium/NativeMessagingHosts`]],
  ['macos', 'edge', 'user', [`${SUPPORT}/Microsoft Edge/NativeMessagingHosts`]],
  ['macos', 'brave', 'user', [`${SUPPORT}/BraveSoftware/Brave-Browser/NativeMessagingHosts`, `${SUPPORT}/Google/Chrome/NativeMessagingHosts`]],
  ['macos', 'firefox', 'user', [`${SUPPORT}/Mozilla/NativeMessagingHosts`]],
  ['macos', 'chrome', 'system', ['/Library/Google/Chrome/NativeMessagingHosts']],
  ['macos', 'chromium', 'system', ['/Library/Application Support/Chromium/NativeMessagingHosts']],
  ['macos', 'edge', 'system', ['/Library/Microsoft/Edge/NativeMessagingHosts']],
  ['macos', 'firefox', 'system', ['/Library/Application Support/Mozilla/NativeMessagingHosts']],
];
test.each(PLACES)('on %s, %s looks for hosts of the %s there', (system, browser, scope, folders) => {
  expect(manifestFolders(computer(system), browser, scope).always).toEqual(folders);
});

const KEYS: [BrowserId, string[]][] = [
  ['chrome', ['HKCU\\Software\\Google\\Chrome\\NativeMessagingHosts\\dev.kessai.host']],
  ['chromium', ['HKCU\\Software\\Chromium\\NativeMessagingHosts\\dev.kessai.host']],
  ['edge', ['HKCU\\Software\\Microsoft\\Edge\\NativeMessagingHosts\\dev.kessai.host']],
  ['brave', ['HKCU\\Software\\BraveSoftware\\Brave-Browser\\NativeMessagingHosts\\dev.kessai.host', 'HKCU\\Software\\Google\\Chrome\\NativeMessagingHosts\\dev.kessai.host']],
  ['firefox', ['HKCU\\Software\\Mozilla\\NativeMessagingHosts\\dev.kessai.host']],
];
test.each(KEYS)('on Windows %s is told by the registry, and by no folder', (browser, keys) => {
  const windows = computer('windows');
  expect(registryKeys(windows, browser, 'user')).toEqual(keys);
  expect(registryKeys(windows, browser, 'system')).toEqual(keys.map((key) => key.replace('HKCU', 'HKLM')));
  expect(manifestFolders(windows, browser, 'user')).toEqual({ always: [], ifParent: [] });
  expect(registryKeys(computer('linux'), browser, 'user')).toEqual([]);
});

test.each([
  ['linux', 'user', '/home/a/.local/share/kessai/host'],
  ['linux', 'system', '/usr/local/lib/kessai/host'],
  ['macos', 'user', `${SUPPORT}/Kessai/host`],
  ['macos', 'system', '/Library/Application Support/Kessai/host'],
  ['windows', 'user', 'C:\\Users\\a\\AppData\\Local\\Kessai\\host'],
  ['windows', 'system', 'C:\\Program Files\\Kessai\\host'],
] as const)('on %s the program for the %s lives in %s', (system, scope, place) => {
  expect(hostFolder(computer(system), scope)).toBe(place);
});

test('XDG folders are respected where they are absolute', () => {
  const moved = computer('linux', { XDG_CONFIG_HOME: '/conf', XDG_DATA_HOME: 'relative' });
  expect(manifestFolders(moved, 'chromium', 'user').always).toEqual(['/conf/chromium/NativeMessagingHosts']);
  expect(hostFolder(moved, 'user')).toBe('/home/a/.local/share/kessai/host');
});

test('the folder of a beta channel is served where that channel is in use', async () => {
  const linux = computer('linux');
  linux.put('/home/a/.config/google-chrome-beta/Local State', '{}');
  expect(await manifestFoldersInUse(linux, 'chrome', 'user')).toEqual(['/home/a/.config/google-chrome/NativeMessagingHosts', '/home/a/.config/google-chrome-beta/NativeMessagingHosts']);
});

describe('browsers', () => {
  test.each<[HostSystem, string, BrowserId]>([
    ['linux', '/usr/bin/google-chrome-stable', 'chrome'],
    ['linux', '/usr/bin/chromium', 'chromium'],
    ['linux', '/usr/bin/microsoft-edge', 'edge'],
    ['linux', '/usr/local/bin/brave-browser', 'brave'],
    ['linux', '/usr/bin/firefox-esr', 'firefox'],
    ['macos', '/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge', 'edge'],
    ['macos', '/Applications/Firefox.app/Contents/MacOS/firefox', 'firefox'],
    ['windows', 'C:\\Program Files\\Google\\Chrome\\Application\\chrome.exe', 'chrome'],
    ['windows', 'C:\\Users\\a\\AppData\\Local\\BraveSoftware\\Brave-Browser\\Application\\brave.exe', 'brave'],
  ])('on %s %s is found as %s', async (system, program, id) => {
    const there = computer(system);
    there.put(program, '');
    expect(await findBrowsers(there)).toEqual([{ id, program, sandbox: undefined }]);
  });

  test('Snaps and Flatpaks are told apart from what can start hosts', async () => {
    const linux = computer('linux');
    linux.put('/snap/bin/chromium', '');
    linux.put('/usr/bin/chromium-browser', "a script that starts the Snap");
    linux.put('/var/lib/flatpak/app/com.brave.Browser/current', '');
    linux.put('/home/a/.local/share/flatpak/app/org.mozilla.firefox/current', '');
    linux.put('/usr/bin/firefox', '');
    const found = await findBrowsers(linux);
    expect(found.map(({ id, sandbox }) => [id, sandbox])).toEqual([['chromium', 'snap'], ['brave', 'flatpak'], ['firefox', undefined], ['firefox', 'flatpak']]);
    expect(ableToStartHosts(found)).toEqual(['firefox']);
  });

  test('none is found on a computer without', async () => {
    for (const system of ['linux', 'macos', 'windows'] as const) expect(await findBrowsers(computer(system))).toEqual([]);
    expect(BROWSER_IDS).toHaveLength(5);
  });
});
