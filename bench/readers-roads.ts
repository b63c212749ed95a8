/** The roads to a card that are compared: one Chromium whose page uses, one at a time, every reader kind; each with a card of its own on it. */
import { appendFile, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { chromium, type BrowserContext, type Page } from 'playwright';
import { build } from 'vite';
import { HOST_VERSION } from '#bridge/host/version.ts';
import { chromiumManifestFolder, registerNativeHost } from '#bridge/host/register.ts';
import type { HostConfig } from '#bridge/host/config.ts';
import { atrOfAts } from '#card-firmware-sim/usb/iso-dep-parameters.ts';
import { createEmulatedReader, DEVICE_KINDS, type DeviceKind } from '#card-firmware-sim/usb/device-kinds.ts';
import { Picc } from '#card-firmware-sim/usb/picc.ts';
import type { CardApplication } from '#card-firmware-sim/usb/usb-device.ts';
import { keepInserted } from '#card-firmware-sim/vpcd.ts';
import { parseHex, type Bytes } from '#protocol/bytes.ts';
import { findBrowser } from '#world/browser.ts';
import { buildNativeHost } from '#world/build.ts';
import { openEmulatedReaders, type EmulatedReaders } from '#world/emulated-readers.ts';
import { writeBareExtension, type BareExtension } from '#world/emulated-readers.fixture.ts';
import type { InProcessCard } from '#world/in-process-card.ts';
import { ensurePorts } from '#world/ports.ts';
import { startVirtualReader } from '#world/virtual-reader.ts';
import { CountingField } from './readers-air.ts';
import type { PageRoad } from './readers-page.ts';
import { CountingDevice } from './readers-usb.ts';

export type RoadKind = DeviceKind | 'pcsc' | 'sim';
export const ROAD_KINDS: readonly RoadKind[] = [...DEVICE_KINDS, 'pcsc', 'sim'];

export interface Road {
  readonly kind: RoadKind;
  /** How the page reaches it. */
  readonly page: PageRoad;
  /** The card on it: how long the simulated chip has worked so far. */
  readonly chip: WorkingChip;
  /** What is counted at it; null where there is no emulated device and no air. */
  readonly counted: { readonly device: CountingDevice; readonly field: CountingField } | null;
  /** Makes it the only reader of the browser. */
  begin(): Promise<void>;
  end(): Promise<void>;
}

export interface WorkingChip extends CardApplication {
  process(command: Bytes): Promise<Bytes>;
  readonly workedMs: number;
}

export interface Roads {
  readonly page: Page;
  readonly list: readonly Road[];
  close(): Promise<void>;
}

/** ATS of the emulated card; PC/SC is told the same by the ATR that stands for it. */
const ATS = parseHex('067777710280');
const HOST = '127.0.0.1';

/** `cardOf`: the card that lies on this kind of reader. */
export async function openRoads(folder: string, cardOf: (kind: RoadKind) => InProcessCard, log: (line: string) => void): Promise<Roads> {
  const closers: (() => Promise<void>)[] = [];
  const close = async (): Promise<void> => {
    for (const end of closers.splice(0).reverse()) await end();
  };
  try {
    log('extension page and native host');
    const extension = await buildPage(join(folder, 'extension'));
    const hostBundle = await buildNativeHost(join(folder, 'host'));
    log('emulated USB readers, PC/SC service');
    const bus = await openEmulatedReaders({ folder: join(folder, 'usb') });
    closers.push(() => bus.close());
    const usbRoads = DEVICE_KINDS.map((kind) => usbRoad(kind, bus, cardOf(kind)));
    const virtualReader = await startVirtualReader({ folder: join(folder, 'pcsc') });
    closers.push(() => virtualReader.stop());
    const { simReader } = await ensurePorts(folder);
    const profile = join(folder, 'profile');
    const register = (reader: HostConfig['reader']): Promise<unknown> =>
      registerNativeHost({
        chromiumManifestFolders: [chromiumManifestFolder(profile)],
        launcherFolder: join(folder, 'launcher'),
        bundlePath: hostBundle,
        config: { allowedOrigins: [extension.origin], allowedExtensions: [], reader },
        // The host is not to be among the emulated devices: what stands for the kernel there would only slow it.
        environment: { ...virtualReader.environment, LD_PRELOAD: '' },
      });
    const hostRoads = [
      hostRoad('pcsc', virtualReader.vpcdPorts[0] ?? 0, cardOf('pcsc'), () => register({ kind: 'pcsc' })),
      hostRoad('sim', simReader, cardOf('sim'), () => register({ kind: 'sim', port: simReader })),
    ];
    const context = await startChromium(profile, extension, bus, usbRoads);
    closers.push(() => context.close());
    const page = await context.newPage();
    await page.goto(extension.page);
    return { page, list: [...usbRoads, ...hostRoads], close };
  } catch (error) {
    await close();
    throw error;
  }
}

async function buildPage(folder: string): Promise<BareExtension> {
  const extension = await writeBareExtension(folder);
  await build({
    configFile: false,
    logLevel: 'warn',
    build: { outDir: folder, emptyOutDir: false, target: 'chrome120', rolldownOptions: { input: join(import.meta.dirname, 'readers-page.ts'), output: { format: 'iife', entryFileNames: 'page.js' } } },
  });
  await appendFile(join(folder, 'page.html'), '<script src="page.js"></script>');
  const manifest = join(folder, 'manifest.json');
  await writeFile(manifest, JSON.stringify({ ...(JSON.parse(await readFile(manifest, 'utf8')) as object), permissions: ['nativeMessaging'] }));
  return extension;
}

async function startChromium(profile: string, extension: BareExtension, bus: EmulatedReaders, roads: readonly Road[]): Promise<BrowserContext> {
  const launch = bus.launch({ paired: roads.flatMap(({ counted }) => (counted === null ? [] : [counted.device.descriptors])) });
  await launch.prepareProfile(profile, extension.origin);
  return chromium.launchPersistentContext(profile, {
    executablePath: await launch.wrapExecutable(findBrowser()),
    headless: true,
    args: ['--no-sandbox', '--disable-background-networking', `--load-extension=${extension.folder}`, `--disable-extensions-except=${extension.folder}`],
  });
}

function usbRoad(kind: DeviceKind, bus: EmulatedReaders, card: InProcessCard): Road {
  const field = new CountingField();
  const device = new CountingDevice(createEmulatedReader(kind, { field }).device);
  const chip = chipOf(card);
  field.put(new Picc({ application: chip, ats: ATS }));
  return {
    kind,
    page: { over: 'browser' },
    chip,
    counted: { device, field },
    begin: () => bus.plug(kind, device),
    end: () => bus.unplug(kind),
  };
}

function hostRoad(kind: 'pcsc' | 'sim', port: number, card: InProcessCard, register: () => Promise<unknown>): Road {
  const chip = chipOf(card);
  const inserted = { atr: atrOfAts(ATS), process: (command: Bytes) => chip.process(command), reset: () => chip.reset() };
  let lying = new AbortController();
  let lifted: Promise<void> = Promise.resolve();
  return {
    kind,
    page: { over: 'host', version: HOST_VERSION },
    chip,
    counted: null,
    begin: async () => {
      await register();
      lying = new AbortController();
      // The simulated reader is there only while the host runs: the card waits for it.
      lifted = keepInserted({ host: HOST, port, chip: inserted, signal: lying.signal, retryMs: { first: 10, longest: 20 } });
    },
    end: async () => {
      lying.abort();
      await lifted;
    },
  };
}

function chipOf(card: InProcessCard): WorkingChip {
  const { signal } = new AbortController();
  let channel = card.open();
  let workedMs = 0;
  return {
    uid: parseHex(card.cardId),
    get workedMs() {
      return workedMs;
    },
    process: async (apdu) => {
      const startedAt = performance.now();
      // One command a batch: whatever its status, it is the last.
      const [answer] = await channel.transmit([{ apdu, expectedStatus: 0x9100 }], signal);
      workedMs += performance.now() - startedAt;
      if (answer === undefined) throw new Error('the chip gave no answer');
      return answer;
    },
    reset: async () => {
      await channel.close();
      channel = card.open();
    },
  };
}
