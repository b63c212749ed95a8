/** The distribution's Chromium in a guest, as it is installed, with a bare extension whose page opens our readers; driven from here. */
import { appendFile, rm } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { chromium, type Browser } from 'playwright';
import { build } from 'vite';
import { READER_PACE } from '#bridge/device/attached-reader.ts';
import type { ReaderSource } from '#bridge/reader-source.ts';
import type { UsbDescriptors } from '#card-firmware-sim/usb/usb-device.ts';
import { findBrowser } from './browser.ts';
import { pair } from './emulated-readers-browser.ts';
import { writeBareExtension, type BareExtension } from './emulated-readers.fixture.ts';
import { openPageSource } from './page-source.ts';
import { GUEST_ADDRESS, type KernelGuest } from './usb-kernel-guest.ts';

/** Emulated processors start a browser slowly. */
const START_LIMIT_MS = 300_000;
const PAGE_LIMIT_MS = 120_000;
/** From an address and a port to the same port of 127.0.0.1. */
const RELAY = 'const net = require("node:net"); const [address, port] = process.argv.slice(1); net.createServer((near) => { const far = net.connect(port, "127.0.0.1"); for (const end of [near, far]) end.on("error", () => { near.destroy(); far.destroy(); }); near.pipe(far).pipe(near); }).listen(port, address);';

export interface GuestBrowserPlan {
  readonly extension: BareExtension;
  readonly profile: string;
}

/** Before the guest boots: it sees this machine's files as they are then. `paired`: what the user has paired before. */
export async function planGuestBrowser(folder: string, paired: readonly UsbDescriptors[]): Promise<GuestBrowserPlan> {
  const profile = join(folder, 'profile');
  await rm(profile, { recursive: true, force: true });
  const extension = await writeBareExtension(join(folder, 'extension'));
  await build({
    configFile: false,
    logLevel: 'warn',
    build: { outDir: extension.folder, emptyOutDir: false, target: 'chrome120', rolldownOptions: { input: join(import.meta.dirname, 'contract-page.ts'), output: { format: 'iife', entryFileNames: 'page.js' } } },
  });
  await appendFile(join(extension.folder, 'page.html'), '<script src="page.js"></script>');
  await pair(profile, extension.origin, paired);
  return { extension, profile };
}

export interface GuestBrowser {
  /** Product and version, as it says itself. */
  readonly version: string;
  readonly source: ReaderSource;
  close(): Promise<void>;
}

/** `port` is the one that the guest was booted with. */
export async function startGuestBrowser(guest: KernelGuest, { extension, profile }: GuestBrowserPlan, port: number): Promise<GuestBrowser> {
  // No user but root is in the guest, and it has no graphics; nothing else differs from a desktop's.
  const options = ['--headless=new', '--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync', `--remote-debugging-port=${port}`, '--user-data-dir=/run/profile',
    `--load-extension=${extension.folder}`, `--disable-extensions-except=${extension.folder}`, '--disable-features=DisableLoadExtensionCommandLineSwitch', 'about:blank'];
  await guest.run(`cp -r ${profile} /run/profile && (${findBrowser()} ${options.join(' ')} > /run/browser.log 2>&1 &)`);
  // Chromium listens on the guest's own 127.0.0.1 only.
  await guest.run(`(${process.execPath} -e '${RELAY}' ${GUEST_ADDRESS} ${port} > /run/relay.log 2>&1 &)`);
  await guest.run(`until busybox wget -q -O /dev/null http://${GUEST_ADDRESS}:${port}/json/version; do sleep 1; done 2> /dev/null`, START_LIMIT_MS);
  const browser = await chromium.connectOverCDP(`http://127.0.0.1:${port}`, { timeout: START_LIMIT_MS });
  try {
    return await openPage(browser, extension.page);
  } catch (error) {
    await browser.close();
    throw error;
  }
}

async function openPage(browser: Browser, address: string): Promise<GuestBrowser> {
  const [context] = browser.contexts();
  if (context === undefined) throw new Error('the browser has no profile');
  context.setDefaultTimeout(PAGE_LIMIT_MS);
  const page = await context.newPage();
  await page.goto(address);
  const source = await openPageSource(page, READER_PACE);
  return {
    version: `Chromium ${browser.version()}`,
    source,
    close: async () => {
      await source.close();
      await browser.close();
    },
  };
}

/** Free now; QEMU takes it at once. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => resolve(port));
    });
  });
}
