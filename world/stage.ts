/** A world ready for a payment in a browser: servers, reader, issued and loaded card, enrolled Chromium. The same folder gives the same again. */
import { join } from 'node:path';
import * as v from 'valibot';
import type { JournalEntry } from '#protocol/step.ts';
import { startBrowser, type Browser, type BrowserOptions } from './browser.ts';
import { buildExtension, buildNativeHost, type ExtensionBuild } from './build.ts';
import { issueCard, loadCard, type IssuedCard, type IssueWish } from './card-desk.ts';
import { enrol, isEnrolled } from './checkout.ts';
import { openOperatorDesk, type OperatorDesk } from './operator-desk.ts';
import { readText, writeWhole } from './pki-store.ts';
import type { WorldEvents } from './server-process.ts';
import { openStageReader, type StageReader, type StageReaderKind } from './stage-reader.ts';
import type { ProfileName } from '#card-firmware-sim/profile.ts';
import { openSimulatedCard, type SimulatedCard } from './simulated-card.ts';
import { startWorld, type World, type WorldOptions } from './world.ts';

type Signature = Parameters<WorldEvents['onSignature']>[0];

export interface StageOptions extends Pick<WorldOptions, 'folder' | 'merged' | 'clientCertificates' | 'secondShop' | 'log'> {
  /** `pcsc`: a private pcscd with the virtual reader. `sim`: the native host reaches the simulated card without PC/SC. Else: an emulated USB reader. */
  readonly reader: StageReaderKind;
  readonly openingBalanceMinor: bigint;
  /** The card's model; default: a Light. */
  readonly card?: ProfileName;
}

export interface Stage {
  readonly world: World;
  readonly card: SimulatedCard;
  readonly reader: StageReader;
  readonly extension: ExtensionBuild;
  readonly hostBundle: string;
  /** The one-time code that came with the issued card; used up once a browser is enrolled. */
  readonly enrolmentCode: string;
  /** What all parties but the browser have told since the last `forget`. */
  readonly journal: readonly JournalEntry[];
  readonly signatures: readonly Signature[];
  forget(): void;
  /** A browser on this stage, enrolled unless told otherwise. */
  openBrowser(options?: Partial<Omit<BrowserOptions, 'world'>> & { readonly enrolled?: boolean }): Promise<Browser>;
  /** Another card in this stage's folder, for the same reader; not issued. */
  openCard(name: string): Promise<SimulatedCard>;
  /** Issues the card that lies on the operator's reader, and answers its customer's one-time code. */
  issue(balanceMinor: bigint): Promise<string>;
  /** The same without a customer; answers the card's activation code. */
  issueForBearer(balanceMinor: bigint): Promise<string>;
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
    log(reader === 'pcsc' ? 'PC/SC service with a virtual reader' : reader === 'sim' ? 'simulated reader' : `emulated USB reader ${reader}`);
    const stageReader = await openStageReader(reader, folder, world.ports.simReader);
    closers.push(() => stageReader.close());
    const onJournal = (entry: JournalEntry): void => events.onJournal(entry);
    const openCard = (name: string): Promise<SimulatedCard> => openSimulatedCard({ folder: world.folder, name, profile: options.card, place: stageReader.place, onJournal });
    const card = await openCard('card');
    closers.push(() => card.close());
    const desk: Desk = { world, reader: stageReader, log };
    const issue = async (balanceMinor: bigint): Promise<string> => codeOf((await issueAtDesk(desk, balanceMinor, { is: 'new-customer', name: null })).enrolmentCode);
    const issueForBearer = async (balanceMinor: bigint): Promise<string> => codeOf((await issueAtDesk(desk, balanceMinor, { is: 'bearer-of-code' })).activationCode);
    await card.insert(stageReader.deskPlace);
    const code = await ensureIssued(world, card, () => issue(openingBalanceMinor));
    await ensureLoaded(desk, card, openingBalanceMinor);
    if (stageReader.place !== stageReader.deskPlace) {
      await card.lift();
      await card.insert();
    }
    const browsers = new Set<Browser>();
    closers.push(async () => {
      for (const browser of browsers) await browser.close();
    });
    return {
      world, card, reader: stageReader, extension, hostBundle, enrolmentCode: code, journal, signatures, openCard, issue, issueForBearer, close,
      forget: () => {
        journal.length = 0;
        signatures.length = 0;
      },
      openBrowser: async ({ enrolled = true, ...changes } = {}) => {
        const { extensionDir, extensionId } = extension;
        const browser = await startBrowser({ world, extensionDir, extensionId, hostBundle, ...stageReader.browserOptions, ...changes });
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

interface Desk {
  readonly world: World;
  readonly reader: StageReader;
  readonly log: (line: string) => void;
}

async function atDesk<T>({ world, reader }: Desk, act: (desk: OperatorDesk) => Promise<T>): Promise<T> {
  const desk = await openOperatorDesk(world.desk, reader.openDesk());
  try {
    return await act(desk);
  } finally {
    await desk.close();
  }
}

async function issueAtDesk(desk: Desk, balanceMinor: bigint, holder: IssueWish['holder']): Promise<IssuedCard> {
  const issued = await atDesk(desk, (at) => issueCard(at, { currency: 'JPY', limitMinor: 50_000n, holder, balanceMinor }, (line) => desk.log(`card: ${line}`)));
  if (issued.loadFailure !== null) throw issued.loadFailure;
  return issued;
}

function codeOf(code: string | null): string {
  if (code === null) throw new Error('the card was issued without a one-time code');
  return code;
}

/** A card that earlier starts have paid with is loaded again when less than half is left, by an order like any other. */
async function ensureLoaded(desk: Desk, card: SimulatedCard, wantedMinor: bigint): Promise<void> {
  const missingMinor = wantedMinor - card.balanceMinor();
  if (2n * missingMinor <= wantedMinor) return;
  desk.log('card: loading again');
  await atDesk(desk, (at) => loadCard(at, { currency: 'JPY', amountMinor: missingMinor }));
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
