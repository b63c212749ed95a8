/** A world ready for a payment in a browser: servers, reader, issued and loaded card, enrolled Chromium. The same folder gives the same again. */
import { join } from 'node:path';
import * as v from 'valibot';
import { createPcscBackend } from '#bridge/host/pcsc/backend.ts';
import { createSimBackend } from '#bridge/host/sim/backend.ts';
import { load } from '#protocol/load.ts';
import type { JournalEntry } from '#protocol/step.ts';
import { startBrowser, type Browser, type BrowserOptions } from './browser.ts';
import { buildExtension, buildNativeHost, type ExtensionBuild } from './build.ts';
import { issueCard } from './card-issue.ts';
import { enrol, isEnrolled } from './checkout.ts';
import { openOperatorDesk, type OperatorDesk } from './operator-desk.ts';
import { readText, writeWhole } from './pki-store.ts';
import type { WorldEvents } from './server-process.ts';
import { slotOf } from './card-place.ts';
import { openSimulatedCard, type SimulatedCard } from './simulated-card.ts';
import { startVirtualReader, type VirtualReader } from './virtual-reader.ts';
import { startWorld, type World, type WorldOptions } from './world.ts';

type Signature = Parameters<WorldEvents['onSignature']>[0];

export interface StageOptions extends Pick<WorldOptions, 'folder' | 'merged' | 'clientCertificates' | 'secondShop' | 'log'> {
  /** `pcsc`: a private pcscd with the virtual reader. `sim`: the native host reaches the simulated card without PC/SC. */
  readonly reader: 'pcsc' | 'sim';
  readonly openingBalanceMinor: bigint;
}

export interface Stage {
  readonly world: World;
  readonly card: SimulatedCard;
  /** Where a card connects as a vpcd client. */
  readonly readerPort: number;
  readonly extension: ExtensionBuild;
  readonly hostBundle: string;
  /** The one-time code that came with the issued card; used up once a browser is enrolled. */
  readonly enrolmentCode: string;
  /** What a PC/SC client of this stage's reader needs in its environment. */
  readonly readerEnvironment: Readonly<Record<string, string>>;
  /** What all parties but the browser have told since the last `forget`. */
  readonly journal: readonly JournalEntry[];
  readonly signatures: readonly Signature[];
  forget(): void;
  /** A browser on this stage, enrolled unless told otherwise. */
  openBrowser(options?: Partial<Omit<BrowserOptions, 'world'>> & { readonly enrolled?: boolean }): Promise<Browser>;
  /** Another card in this stage's folder, on the same reader port; not issued. */
  openCard(name: string): Promise<SimulatedCard>;
  /** Issues the card that lies on the reader, and answers its customer's one-time code. */
  issue(balanceMinor: bigint): Promise<string>;
  close(): Promise<void>;
}

const customerSchema = v.strictObject({ cardId: v.string(), enrolmentCode: v.string() });

export async function openStage(options: StageOptions): Promise<Stage> {
  const { folder, reader, openingBalanceMinor, log = () => undefined } = options;
  const journal: JournalEntry[] = [];
  const signatures: Signature[] = [];
  const events: WorldEvents = { onJournal: (entry) => void journal.push(entry), onSignature: (event) => void signatures.push(event) };
  const closers: (() => Promise<void>)[] = [];
  const close = async (): Promise<void> => {
    for (const end of closers.splice(0).reverse()) await end();
  };
  try {
    const built: { extension?: ExtensionBuild } = {};
    const world = await startWorld({ ...options, events }, async (deploymentFile) => {
      log('extension');
      built.extension = await buildExtension({ deploymentFile, outDir: join(folder, 'build', 'extension') });
      return built.extension.pageScript;
    });
    closers.push(() => world.stop());
    const { extension } = built;
    if (extension === undefined) throw new Error('the extension was not built');
    const hostBundle = await buildNativeHost(join(folder, 'build', 'host'));
    log(reader === 'pcsc' ? 'PC/SC service with a virtual reader' : 'simulated reader');
    const virtualReader = reader === 'pcsc' ? await startVirtualReader({ folder: join(folder, 'reader') }) : null;
    if (virtualReader !== null) closers.push(() => virtualReader.stop());
    const onJournal = (entry: JournalEntry): void => events.onJournal(entry);
    const port = portOf(virtualReader, world);
    const openCard = (name: string): Promise<SimulatedCard> => openSimulatedCard({ folder: world.folder, name, place: slotOf(port), onJournal });
    const card = await openCard('card');
    closers.push(() => card.close());
    await card.insert();
    const issue = (balanceMinor: bigint): Promise<string> => issueOnReader(world, virtualReader, balanceMinor, log);
    const code = await ensureIssued(world, card, () => issue(openingBalanceMinor));
    await ensureLoaded(world, virtualReader, card, openingBalanceMinor, log);
    const browsers = new Set<Browser>();
    closers.push(async () => {
      for (const browser of browsers) await browser.close();
    });
    return {
      world, card, readerPort: port, extension, hostBundle, enrolmentCode: code, readerEnvironment: virtualReader?.environment ?? {}, journal, signatures, openCard, issue, close,
      forget: () => {
        journal.length = 0;
        signatures.length = 0;
      },
      openBrowser: async ({ enrolled = true, ...changes } = {}) => {
        const { extensionDir, extensionId } = extension;
        const readerConfig = reader === 'pcsc' ? ({ kind: 'pcsc' } as const) : ({ kind: 'sim', port: world.ports.simReader } as const);
        const browser = await startBrowser({ world, extensionDir, extensionId, hostBundle, reader: readerConfig, environment: virtualReader?.environment ?? {}, ...changes });
        browsers.add(browser);
        browser.context.once('close', () => browsers.delete(browser));
        if (enrolled && !(await isEnrolled(browser))) await enrol(browser, code);
        return browser;
      },
    };
  } catch (error) {
    await close();
    throw error;
  }
}

function portOf(virtualReader: VirtualReader | null, world: World): number {
  if (virtualReader === null) return world.ports.simReader;
  const [port] = virtualReader.vpcdPorts;
  if (port === undefined) throw new Error('the virtual reader has no port');
  return port;
}

async function atDesk<T>(world: World, virtualReader: VirtualReader | null, act: (desk: OperatorDesk) => Promise<T>): Promise<T> {
  if (virtualReader !== null) Object.assign(process.env, virtualReader.environment); // libpcsclite reads it when it connects
  const desk = await openOperatorDesk(world.desk, virtualReader === null ? createSimBackend(world.ports.simReader) : createPcscBackend());
  try {
    return await act(desk);
  } finally {
    await desk.close();
  }
}

async function issueOnReader(world: World, virtualReader: VirtualReader | null, balanceMinor: bigint, log: (line: string) => void): Promise<string> {
  const { enrolmentCode } = await atDesk(world, virtualReader, (desk) => issueCard(desk, { currency: 'JPY', limitMinor: 50_000n, customerName: null, balanceMinor }, (line) => log(`card: ${line}`)));
  return enrolmentCode;
}

/** A card that earlier starts have paid with is loaded again when less than half is left, by an order like any other. */
async function ensureLoaded(world: World, virtualReader: VirtualReader | null, card: SimulatedCard, wantedMinor: bigint, log: (line: string) => void): Promise<void> {
  const missingMinor = wantedMinor - card.balanceMinor();
  if (2n * missingMinor <= wantedMinor) return;
  log('card: loading again');
  await atDesk(world, virtualReader, (desk) => desk.withCard(1, (contact, on) => load({ currency: 'JPY', amountMinor: missingMinor }, contact, on, desk.ports)));
}

/** Answers the one-time code that came with the card; a card of an earlier start keeps its own. */
async function ensureIssued(world: World, card: SimulatedCard, issue: () => Promise<string>): Promise<string> {
  const file = join(world.folder, 'customer.json');
  const text = await readText(file);
  const known = text === undefined ? undefined : v.parse(customerSchema, JSON.parse(text));
  if (known?.cardId === card.cardId) return known.enrolmentCode;
  const enrolmentCode = await issue();
  await writeWhole(file, JSON.stringify({ cardId: card.cardId, enrolmentCode }), 'replace');
  return enrolmentCode;
}
