/** Where each browser looks for native hosts, by which traces it is found, and where ours lives: one table for three systems. */
import { NATIVE_HOST_NAME } from '#bridge/native/messages.ts';
import { pathsOf, type HostSystem, type Platform } from './platform.ts';

export type BrowserId = 'chrome' | 'chromium' | 'edge' | 'brave' | 'firefox';
export type Scope = 'user' | 'system';

/** `~` is the home folder, `~config` $XDG_CONFIG_HOME or ~/.config; `%NAME%` a variable of Windows. */
interface BrowserPlaces {
  readonly title: string;
  readonly family: 'chromium' | 'firefox';
  /** The first is always written; the others belong to channels (beta and so on), and only where their parent folder exists. */
  readonly manifestFolders: Readonly<Record<Exclude<HostSystem, 'windows'>, Readonly<Record<Scope, readonly string[]>>>>;
  /** More folders that are always written, because the browser was seen to look there. */
  readonly alsoManifestFolders?: Readonly<Partial<Record<HostSystem, readonly string[]>>>;
  /** Below HKCU or HKLM; the default value names the manifest. */
  readonly windowsKeys: readonly string[];
  /** Linux: names in PATH. Otherwise files. */
  readonly programs: Readonly<Record<HostSystem, readonly string[]>>;
  /** Names of the sandboxed editions, which cannot start hosts. */
  readonly snap?: string;
  readonly flatpak?: string;
}

const key = (vendor: string) => `Software\\${vendor}\\NativeMessagingHosts\\${NATIVE_HOST_NAME}`;
const windowsPrograms = (path: string) => ['%ProgramFiles%', '%ProgramFiles(x86)%', '%LOCALAPPDATA%'].map((folder) => `${folder}\\${path}`);
const SUPPORT = '~/Library/Application Support';

export const BROWSERS: Readonly<Record<BrowserId, BrowserPlaces>> = {
  chrome: {
    title: 'Chrome',
    family: 'chromium',
    manifestFolders: {
      linux: {
        user: ['~config/google-chrome/NativeMessagingHosts', '~config/google-chrome-beta/NativeMessagingHosts', '~config/google-chrome-unstable/NativeMessagingHosts'],
        system: ['/etc/opt/chrome/native-messaging-hosts'],
      },
      macos: {
        user: [`${SUPPORT}/Google/Chrome/NativeMessagingHosts`, `${SUPPORT}/Google/Chrome Beta/NativeMessagingHosts`, `${SUPPORT}/Google/Chrome Dev/NativeMessagingHosts`],
        system: ['/Library/Google/Chrome/NativeMessagingHosts'],
      },
    },
    windowsKeys: [key('Google\\Chrome')],
    programs: {
      linux: ['google-chrome', 'google-chrome-stable', 'google-chrome-beta', 'google-chrome-unstable'],
      macos: ['/Applications/Google Chrome.app/Contents/MacOS/Google Chrome'],
      windows: windowsPrograms('Google\\Chrome\\Application\\chrome.exe'),
    },
    flatpak: 'com.google.Chrome',
  },
  chromium: {
    title: 'Chromium',
    family: 'chromium',
    manifestFolders: {
      linux: { user: ['~config/chromium/NativeMessagingHosts'], system: ['/etc/chromium/native-messaging-hosts'] },
      macos: { user: [`${SUPPORT}/Chromium/NativeMessagingHosts`], system: ['/Library/Application Support/Chromium/NativeMessagingHosts'] },
    },
    windowsKeys: [key('Chromium')],
    programs: { linux: ['chromium', 'chromium-browser'], macos: ['/Applications/Chromium.app/Contents/MacOS/Chromium'], windows: windowsPrograms('Chromium\\Application\\chrome.exe') },
    snap: 'chromium',
    flatpak: 'org.chromium.Chromium',
  },
  edge: {
    title: 'Edge',
    family: 'chromium',
    manifestFolders: {
      linux: {
        user: ['~config/microsoft-edge/NativeMessagingHosts', '~config/microsoft-edge-beta/NativeMessagingHosts', '~config/microsoft-edge-dev/NativeMessagingHosts'],
        system: ['/etc/opt/edge/native-messaging-hosts'],
      },
      macos: { user: [`${SUPPORT}/Microsoft Edge/NativeMessagingHosts`], system: ['/Library/Microsoft/Edge/NativeMessagingHosts'] },
    },
    windowsKeys: [key('Microsoft\\Edge')],
    programs: {
      linux: ['microsoft-edge', 'microsoft-edge-stable', 'microsoft-edge-beta', 'microsoft-edge-dev'],
      macos: ['/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge'],
      windows: windowsPrograms('Microsoft\\Edge\\Application\\msedge.exe'),
    },
    flatpak: 'com.microsoft.Edge',
  },
  brave: {
    title: 'Brave',
    family: 'chromium',
    manifestFolders: {
      linux: {
        user: ['~config/BraveSoftware/Brave-Browser/NativeMessagingHosts', '~config/BraveSoftware/Brave-Browser-Beta/NativeMessagingHosts', '~config/BraveSoftware/Brave-Browser-Nightly/NativeMessagingHosts'],
        // Brave has no system folder of its own: it reads Chrome's and Chromium's.
        system: ['/etc/opt/chrome/native-messaging-hosts', '/etc/chromium/native-messaging-hosts'],
      },
      macos: { user: [`${SUPPORT}/BraveSoftware/Brave-Browser/NativeMessagingHosts`], system: ['/Library/Google/Chrome/NativeMessagingHosts'] },
    },
    // On macOS Brave was seen to look into Chrome's folder alone (brave-browser issue 5074).
    alsoManifestFolders: { macos: [`${SUPPORT}/Google/Chrome/NativeMessagingHosts`] },
    // Brave reads Chrome's key on Windows.
    windowsKeys: [key('BraveSoftware\\Brave-Browser'), key('Google\\Chrome')],
    programs: {
      linux: ['brave-browser', 'brave-browser-stable', 'brave'],
      macos: ['/Applications/Brave Browser.app/Contents/MacOS/Brave Browser'],
      windows: windowsPrograms('BraveSoftware\\Brave-Browser\\Application\\brave.exe'),
    },
    snap: 'brave',
    flatpak: 'com.brave.Browser',
  },
  firefox: {
    title: 'Firefox',
    family: 'firefox',
    manifestFolders: {
      linux: { user: ['~/.mozilla/native-messaging-hosts'], system: ['/usr/lib/mozilla/native-messaging-hosts', '/usr/lib64/mozilla/native-messaging-hosts'] },
      macos: { user: [`${SUPPORT}/Mozilla/NativeMessagingHosts`], system: ['/Library/Application Support/Mozilla/NativeMessagingHosts'] },
    },
    windowsKeys: [key('Mozilla')],
    programs: { linux: ['firefox', 'firefox-esr'], macos: ['/Applications/Firefox.app/Contents/MacOS/firefox'], windows: windowsPrograms('Mozilla Firefox\\firefox.exe') },
    snap: 'firefox',
    flatpak: 'org.mozilla.firefox',
  },
};
export const BROWSER_IDS = Object.keys(BROWSERS) as readonly BrowserId[];

/** Holds a folder for each version and the record of what was written. */
const HOST_FOLDERS: Readonly<Record<HostSystem, Readonly<Record<Scope, string>>>> = {
  linux: { user: '~data/kessai/host', system: '/usr/local/lib/kessai/host' },
  macos: { user: `${SUPPORT}/Kessai/host`, system: '/Library/Application Support/Kessai/host' },
  windows: { user: '%LOCALAPPDATA%\\Kessai\\host', system: '%ProgramFiles%\\Kessai\\host' },
};

export function hostFolder(platform: Platform, scope: Scope): string {
  return placeOf(platform, HOST_FOLDERS[platform.system][scope]) ?? placeOf(platform, HOST_FOLDERS[platform.system].user) ?? platform.home;
}

/** Full paths of the folders for manifests; the first are always written, `ifParent` where the browser's channel is in use. None on Windows. */
export function manifestFolders(platform: Platform, browser: BrowserId, scope: Scope): { always: readonly string[]; ifParent: readonly string[] } {
  const { system } = platform;
  if (system === 'windows') return { always: [], ifParent: [] };
  const { manifestFolders: table, alsoManifestFolders: also = {} } = BROWSERS[browser];
  const [first = '', ...others] = table[system][scope];
  const full = (places: readonly string[]) => places.map((place) => placeOf(platform, place)).filter((place) => place !== undefined);
  return { always: full([first, ...(scope === 'user' ? (also[system] ?? []) : [])]), ifParent: full(others) };
}

/** Full names of the registry keys; none but on Windows. */
export function registryKeys({ system }: Platform, browser: BrowserId, scope: Scope): readonly string[] {
  return system === 'windows' ? BROWSERS[browser].windowsKeys.map((below) => `${scope === 'user' ? 'HKCU' : 'HKLM'}\\${below}`) : [];
}

/** A place of the tables as a full path; undefined where a variable of Windows is not set. */
export function placeOf(platform: Platform, place: string): string | undefined {
  const { environment, home } = platform;
  const paths = pathsOf(platform);
  // The XDG rules say to ignore a relative path.
  const base = (given: string | undefined, otherwise: string) => (given !== undefined && paths.isAbsolute(given) ? given : paths.join(home, otherwise));
  if (place.startsWith('~config/')) return paths.join(base(environment['XDG_CONFIG_HOME'], '.config'), place.slice('~config/'.length));
  if (place.startsWith('~data/')) return paths.join(base(environment['XDG_DATA_HOME'], '.local/share'), place.slice('~data/'.length));
  if (place.startsWith('~/')) return paths.join(home, place.slice(2));
  const [, name, rest = ''] = /^%([^%]+)%\\(.*)$/.exec(place) ?? [];
  if (name === undefined) return place;
  const folder = environment[name] ?? (name === 'LOCALAPPDATA' ? paths.join(home, 'AppData', 'Local') : undefined);
  return folder === undefined ? undefined : paths.join(folder, rest);
}
