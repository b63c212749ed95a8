/** A bench of emulated readers beside the house's: any number of kinds, plugged in as the test says, and one browser that is paired with all of them. */
import { join } from 'node:path';
import type { Page } from 'playwright';
import { chromiumManifestFolder, registerNativeHost } from '#bridge/host/register.ts';
import { createEmulatedReader, type DeviceKind, type EmulatedReader } from '#card-firmware-sim/usb/device-kinds.ts';
import type { Browser, BrowserOptions } from '#world/browser.ts';
import { fieldOf, type CardPlace } from '#world/card-place.ts';
import { openEmulatedReaders, type PlugOptions } from '#world/emulated-readers.ts';
import { openCopy, type House } from './house.ts';

export interface BenchReader {
  readonly emulated: EmulatedReader;
  /** Where the customer's card lies on it. */
  readonly place: CardPlace;
  plug(options?: PlugOptions): Promise<void>;
  unplug(): Promise<void>;
}

export interface ReaderBench<Kind extends DeviceKind> {
  readonly browser: Browser;
  /** None is plugged in at the beginning. */
  readonly readers: Readonly<Record<Kind, BenchReader>>;
  /** As after a walk around the desk: no reader plugged in, no card anywhere, no page open that holds a reader. */
  clear(): Promise<void>;
  /** As `npx kessai-host install` leaves it, for this browser: it had none until now. */
  installHost(): Promise<void>;
  close(): Promise<void>;
}

/** `name` tells the benches of one house apart. */
export async function openReaderBench<Kind extends DeviceKind>({ stage }: House, name: string, kinds: readonly Kind[], changes: Partial<BrowserOptions> = {}): Promise<ReaderBench<Kind>> {
  const bus = await openEmulatedReaders({ folder: join(stage.world.folder, name) });
  const readers = Object.fromEntries(kinds.map((kind) => [kind, benchReader(kind)])) as Record<Kind, BenchReader>;
  const profile = `${name}-browser`;
  const paired = Object.values<BenchReader>(readers).map(({ emulated }) => emulated.device.descriptors);
  const browser = await openCopy(stage, profile, { hostBundle: null, launch: bus.launch({ paired }), ...changes });

  function benchReader(kind: DeviceKind): BenchReader {
    const emulated = createEmulatedReader(kind);
    return { emulated, place: fieldOf(emulated.field), plug: (options) => bus.plug(kind, emulated.device, options), unplug: () => bus.unplug(kind) };
  }

  return {
    browser,
    readers,
    clear: async () => {
      await stage.card.lift();
      for (const reader of Object.values<BenchReader>(readers)) await reader.unplug();
      await closeOwnPages(browser);
    },
    installHost: async () => {
      const folder = join(stage.world.folder, profile);
      await registerNativeHost({
        chromiumManifestFolders: [chromiumManifestFolder(join(folder, 'profile'))],
        launcherFolder: join(folder, 'host'),
        bundlePath: stage.hostBundle,
        config: { allowedOrigins: [browser.extensionOrigin], allowedExtensions: [], reader: { kind: 'pcsc' } },
      });
    },
    close: async () => {
      await stage.card.lift();
      await browser.close();
      await bus.close();
    },
  };
}

/** A browser without pages may end; the shops' pages stay. */
async function closeOwnPages({ context, extensionOrigin }: Browser): Promise<void> {
  const own = context.pages().filter((page) => page.url().startsWith(extensionOrigin));
  if (own.length === context.pages().length) await context.newPage();
  for (const page of own) await page.close();
}

/** Playwright gives every page the focus; this one is told that it has it, or not, as a browser with a screen would tell it; several changes at once. */
export async function lookAt(page: Page, ...isLookedAt: readonly boolean[]): Promise<void> {
  await page.evaluate((changes) => {
    for (const hasFocus of changes) {
      document.hasFocus = () => hasFocus;
      window.dispatchEvent(new Event(hasFocus ? 'focus' : 'blur'));
    }
  }, isLookedAt);
}
