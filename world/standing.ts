/** A world that stays up for a person with a browser of their own: servers, extension to load, native host registered, and a reader, real or simulated. */
import { join, resolve } from 'node:path';
import type { HostConfig } from '#bridge/host/config.ts';
import { registerNativeHost, unregisterNativeHost, userManifestFolders, type RegisteredNativeHost } from '#bridge/host/register.ts';
import { buildExtension, buildNativeHost, type ExtensionBuild } from './build.ts';
import { openStage } from './stage.ts';
import { startWorld, type World, type WorldOptions } from './world.ts';

export interface StandingOptions extends Required<Pick<WorldOptions, 'folder' | 'merged' | 'secondShop' | 'clientCertificates' | 'log'>> {
  /** `own`: this computer's PC/SC service. `virtual`: a private one with a virtual reader. `sim`: no PC/SC at all. The last two hold a simulated card. */
  readonly reader: 'own' | 'virtual' | 'sim';
  /** In the user's own folders of Chrome and Chromium, until the world ends. */
  readonly register: boolean;
}

export interface StandingWorld {
  readonly world: World;
  readonly extension: ExtensionBuild;
  /** Null where it was not asked for. */
  readonly nativeHost: RegisteredNativeHost | null;
  /** The simulated card and its customer's one-time code; null with one's own reader. */
  readonly card: { readonly cardId: string; readonly enrolmentCode: string } | null;
  /** What a PC/SC client of this world's reader needs in its environment. */
  readonly readerEnvironment: Readonly<Record<string, string>>;
  stop(): Promise<void>;
}

const OPENING_BALANCE_MINOR = 10_000n;

/** Throws as startWorld does; nothing is left running then. */
export async function openStandingWorld(options: StandingOptions): Promise<StandingWorld> {
  const opened = options.reader === 'own' ? await openWithOwnReader(options) : await openSimulated(options, options.reader);
  try {
    const nativeHost = options.register ? await register(opened) : null;
    const stop = async (): Promise<void> => {
      if (nativeHost !== null) await unregisterNativeHost(nativeHost);
      await opened.close();
    };
    const { world, extension, card, readerEnvironment } = opened;
    return { world, extension, nativeHost, card, readerEnvironment, stop };
  } catch (error) {
    await opened.close();
    throw error;
  }
}

interface Opened extends Pick<StandingWorld, 'world' | 'extension' | 'card' | 'readerEnvironment'> {
  readonly hostBundle: string;
  readonly reader: HostConfig['reader'];
  close(): Promise<void>;
}

async function openWithOwnReader(options: StandingOptions): Promise<Opened> {
  const folder = resolve(options.folder);
  const built: { extension?: ExtensionBuild } = {};
  // Nobody listens: the demo and the tests play payments step by step, a person looks at screens.
  const events = { onJournal: () => undefined, onSignature: () => undefined };
  const world = await startWorld({ ...options, events }, async (deploymentFile) => {
    options.log('extension');
    built.extension = await buildExtension({ deploymentFile, outDir: join(folder, 'build', 'extension') });
    return built.extension.pageScript;
  });
  try {
    const { extension } = built;
    if (extension === undefined) throw new Error('the extension was not built');
    const hostBundle = await buildNativeHost(join(folder, 'build', 'host'));
    return { world, extension, hostBundle, card: null, reader: { kind: 'pcsc' }, readerEnvironment: {}, close: () => world.stop() };
  } catch (error) {
    await world.stop();
    throw error;
  }
}

async function openSimulated(options: StandingOptions, reader: 'virtual' | 'sim'): Promise<Opened> {
  const stage = await openStage({ ...options, reader: reader === 'virtual' ? 'pcsc' : 'sim', openingBalanceMinor: OPENING_BALANCE_MINOR });
  const { world, extension, hostBundle, card, enrolmentCode, reader: stageReader } = stage;
  return {
    world,
    extension,
    hostBundle,
    card: { cardId: card.cardId, enrolmentCode },
    reader: reader === 'virtual' ? { kind: 'pcsc' } : { kind: 'sim', port: world.ports.simReader },
    readerEnvironment: stageReader.environment,
    close: () => stage.close(),
  };
}

function register({ world, extension, hostBundle, reader, readerEnvironment }: Opened): Promise<RegisteredNativeHost> {
  return registerNativeHost({
    chromiumManifestFolders: userManifestFolders().chromium,
    launcherFolder: join(world.folder, 'host'),
    bundlePath: hostBundle,
    config: { allowedOrigins: [`chrome-extension://${extension.extensionId}/`], allowedExtensions: [], reader },
    environment: readerEnvironment,
  });
}
