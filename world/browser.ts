/** A real Chromium with our unpacked extension, our native host and a profile that trusts this world; everything in the world's folder. */
import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { chromium, type BrowserContext, type Page, type Worker } from 'playwright';
import { chromiumManifestFolder, registerNativeHost } from '#bridge/host/register.ts';
import type { HostConfig } from '#bridge/host/config.ts';
import { OPTIONS_PAGE } from '../extension/manifest.ts';
import type { JournalEntry } from '#protocol/step.ts';
import { prepareBrowserProfile } from './browser-trust.ts';
import type { World } from './world.ts';

const BROWSERS = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome', '/Applications/Chromium.app/Contents/MacOS/Chromium'];

/** Nothing of the browser's own goes out to the network. */
const QUIET = ['--disable-background-networking', '--disable-component-update', '--disable-sync', '--disable-quic', '--no-first-run', '--disable-features=Translate,OptimizationHints'];

export interface BrowserOptions {
  readonly world: World;
  /** Name of the profile below the world's folder; default `browser`. */
  readonly profile?: string;
  readonly extensionDir: string;
  readonly extensionId: string;
  /** The built native host; null leaves it out, as on a machine where it was never installed. */
  readonly hostBundle: string | null;
  readonly reader: HostConfig['reader'];
  /** Of the reader, for PC/SC clients. */
  readonly environment?: Readonly<Record<string, string>>;
  readonly language?: 'en' | 'ja';
  readonly headless?: boolean;
  readonly viewport?: { readonly width: number; readonly height: number } | null;
  readonly colorScheme?: 'light' | 'dark';
  /** More of Chromium's own options, for example to reach a server by a detour. */
  readonly browserArguments?: readonly string[];
  /** Another way to start it, for example among emulated devices. */
  readonly launch?: BrowserLaunch;
}

export interface BrowserLaunch {
  /** A program that runs the browser with the parameters it is given, as the same process. */
  wrapExecutable(executablePath: string): Promise<string>;
  /** Before the browser runs. */
  prepareProfile(userDataDir: string, extensionOrigin: string): Promise<void>;
}

export interface Browser {
  readonly context: BrowserContext;
  readonly extensionId: string;
  /** `chrome-extension://…/`. */
  readonly extensionOrigin: string;
  openOptions(): Promise<Page>;
  /** Also the page that opens by itself after installation: an open one uses the reader. */
  closeOptions(): Promise<void>;
  /** The page that opens next from the extension's payment window. */
  nextPaymentWindow(): Promise<Page>;
  /** Steps and signatures of the present payment, from the extension's session storage. */
  journal(): Promise<{ journal: JournalEntry[]; tally: { kind: 'made' | 'verified'; typ: string }[] }>;
  close(): Promise<void>;
}

export async function startBrowser(options: BrowserOptions): Promise<Browser> {
  const { world, extensionDir, extensionId, hostBundle, reader, environment = {}, language = 'en', headless = true, colorScheme = 'light', launch } = options;
  const extensionOrigin = `chrome-extension://${extensionId}/`;
  const browserPath = findBrowser();
  const folder = join(world.folder, options.profile ?? 'browser');
  const [homeFolder, userDataDir] = [join(folder, 'home'), join(folder, 'profile')];
  await mkdir(userDataDir, { recursive: true });
  const origins = [...world.shops.map((shop) => shop.origin), world.origins.application];
  const profile = await prepareBrowserProfile({ homeFolder, userDataDir, pki: world.pki, clientCertificateFor: origins });
  if (hostBundle !== null) {
    await registerNativeHost({
      chromiumManifestFolders: [chromiumManifestFolder(userDataDir)],
      launcherFolder: join(folder, 'host'),
      bundlePath: hostBundle,
      config: { allowedOrigins: [extensionOrigin], allowedExtensions: [], reader },
    });
  }
  await launch?.prepareProfile(userDataDir, extensionOrigin);
  const locale = language === 'ja' ? 'ja_JP.UTF-8' : 'en_US.UTF-8';
  const context = await chromium.launchPersistentContext(userDataDir, {
    executablePath: await launch?.wrapExecutable(browserPath) ?? browserPath,
    headless,
    colorScheme,
    viewport: options.viewport === undefined ? { width: 1100, height: 800 } : options.viewport,
    args: [...QUIET, ...(process.getuid?.() === 0 ? ['--no-sandbox'] : []), `--load-extension=${extensionDir}`, `--disable-extensions-except=${extensionDir}`, ...(options.browserArguments ?? [])],
    // LANGUAGE switches the extension's messages, the interface and Intl together.
    env: { ...definedOnly(process.env), ...profile.environment, ...environment, LANGUAGE: language, LANG: locale },
  });
  const worker = async (): Promise<Worker> => context.serviceWorkers().find((candidate) => candidate.url().startsWith(extensionOrigin)) ?? context.waitForEvent('serviceworker');
  await worker();
  return {
    context,
    extensionId,
    extensionOrigin,
    openOptions: async () => {
      const page = await context.newPage();
      await page.goto(`${extensionOrigin}${OPTIONS_PAGE}`);
      return page;
    },
    closeOptions: async () => {
      for (const page of context.pages().filter((candidate) => candidate.url().startsWith(`${extensionOrigin}${OPTIONS_PAGE}`))) await page.close();
    },
    nextPaymentWindow: () => context.waitForEvent('page', { predicate: (page) => page.url().startsWith(extensionOrigin) }),
    journal: async () => readJournal(await worker()),
    close: () => context.close(),
  };
}

/** Throws an Error that says how to get one. */
export function findBrowser(): string {
  const executablePath = process.env['KESSAI_BROWSER'] ?? BROWSERS.find((file) => existsSync(file));
  if (executablePath === undefined) throw new Error('no Chromium was found: on Debian, apt install chromium; elsewhere set KESSAI_BROWSER to its path');
  return executablePath;
}

async function readJournal(worker: Worker): ReturnType<Browser['journal']> {
  const stored = await worker.evaluate(() => chrome.storage.session.get(['journal', 'tally']));
  return { journal: (stored['journal'] ?? []) as JournalEntry[], tally: (stored['tally'] ?? []) as { kind: 'made' | 'verified'; typ: string }[] };
}

function definedOnly(environment: NodeJS.ProcessEnv): Record<string, string> {
  return Object.fromEntries(Object.entries(environment).filter((entry): entry is [string, string] => entry[1] !== undefined));
}
