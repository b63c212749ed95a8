/** The doctor as far as a page of the extension can see: its browser, the reader program and what that one finds, and the readers. */
import { FINDINGS, type Finding, type FindingId, type FindingState } from '#bridge/doctor-findings.ts';
import type { OperatingSystem } from '#bridge/reader-registry.ts';
import type { FailureCode } from '#protocol/failure.ts';
import { failureKey, type MessageKey } from '../language.ts';
import type { ReaderRow } from './reader-rows.ts';
import type { DeviceRoad, Environment } from './readers-page-ports.ts';
import type { System } from '../ports/system.ts';

export type ProgramState =
  | { readonly kind: 'starting' }
  | { readonly kind: 'running'; readonly version: string | null; readonly platform: string; readonly problem: FailureCode | null; readonly findings: readonly Finding[] }
  | { readonly kind: 'failed'; readonly code: FailureCode };

/** What only a page can find, beside the table that command line and page share. */
export const PAGE_FINDING_IDS = ['web-usb', 'web-hid'] as const;
export type PageFindingId = (typeof PAGE_FINDING_IDS)[number];

export interface PageFinding {
  readonly id: FindingId | PageFindingId;
  readonly state: FindingState;
  readonly about: string | null;
  /** What was seen: a message of ours, or a name or the program's own words. */
  readonly seen: { readonly key: MessageKey; readonly values: readonly string[] } | string;
}

export interface Examined {
  readonly environment: Environment;
  readonly program: ProgramState;
  readonly rows: readonly ReaderRow[];
}

/** Worst first, so that what needs doing stands on top; of equals, what is wrong with a reader that is here before what another reader would need. */
export function examine({ environment, program, rows }: Examined): PageFinding[] {
  const findings = [...rows.flatMap(rowFindings), ...roadFindings(environment), ...programFindings(program, isProgramDispensable(rows))];
  const rank: Record<FindingState, number> = { problem: 0, unknown: 1, ok: 2 };
  return findings.map((finding, at) => ({ finding, at })).sort((one, other) => rank[one.finding.state] - rank[other.finding.state] || one.at - other.at).map(({ finding }) => finding);
}

/** True while a reader serves that needs no program. */
export function isProgramDispensable(rows: readonly ReaderRow[]): boolean {
  return rows.some(({ road, state }) => road !== 'native' && (state === 'ready' || state === 'card' || state === 'connected'));
}

function roadFindings({ roads }: Environment): PageFinding[] {
  const road = (id: PageFindingId, has: DeviceRoad): PageFinding => ({ id, state: roads[has] ? 'ok' : 'unknown', about: null, seen: { key: roads[has] ? 'seenRoad' : 'seenNoRoad', values: [] } });
  return [road('web-usb', 'webusb'), road('web-hid', 'webhid')];
}

/** Where another reader serves, a missing program is no problem: it is needed for PC/SC readers only. */
function programFindings(program: ProgramState, isDispensable: boolean): PageFinding[] {
  const finding = (id: FindingId, state: FindingState, key: MessageKey, ...values: string[]): PageFinding => ({ id, state, about: null, seen: { key, values } });
  if (program.kind === 'starting') return [];
  if (program.kind === 'running') {
    const service = program.problem === null ? [] : [finding('pcsc-service', 'problem', failureKey(program.problem))];
    // The Connector is the service itself, and nothing of ours runs beside it.
    if (program.version === null) return service.length > 0 ? service : [finding('pcsc-service', 'ok', 'seenConnector')];
    const answers = finding('host-answers', 'ok', 'seenProgram', program.version);
    const told: PageFinding[] = program.findings.filter(({ id }) => id !== 'host-answers').map(({ id, state, about, seen }) => ({ id, state, about: about ?? null, seen }));
    return [answers, ...told, ...(told.some(({ id }) => id === 'pcsc-service') ? [] : service)];
  }
  const state = isDispensable ? 'unknown' : 'problem';
  if (program.code === 'host/missing') return [finding('host-registered', state, 'seenNoProgram')];
  return [finding(failedFinding(program.code), state, failureKey(program.code))];
}

function failedFinding(code: FailureCode): FindingId {
  if (code === 'host/version') return 'host-version';
  if (code === 'connector/refused') return 'extension-allowed';
  return code.startsWith('host/') ? 'host-answers' : 'pcsc-service';
}

/** Only what is wrong: the rows themselves say what is merely worth knowing. */
function rowFindings({ name, problem, advice }: ReaderRow): PageFinding[] {
  if (problem === null) return [];
  return advice.map((id) => ({ id, state: 'problem', about: name, seen: { key: problemKey(problem), values: [] } }));
}

/** What a reader's problem is called on this page, which others send people to. */
export function problemKey(code: FailureCode): MessageKey {
  if (code === 'reader/permission') return 'seenNoPermission';
  if (code === 'reader/driver') return 'seenOtherDriver';
  return code === 'reader/in-use' ? 'rowInUse' : failureKey(code);
}

/** `finding_host_registered`. */
export function titleKey(id: FindingId | PageFindingId): MessageKey {
  return `finding_${id.replaceAll('-', '_')}` as MessageKey;
}

/** `fix_pcsc_service_linux`, or `fix_card_present` where all systems have one text; undefined where there is nothing to do. */
export function fixKey(id: FindingId | PageFindingId, system: System): MessageKey | undefined {
  // What a browser lacks is said where readers are added.
  if (isPageFinding(id)) return undefined;
  const fix: Readonly<Partial<Record<OperatingSystem | 'any', string>>> = FINDINGS[id].fix;
  const own = system !== 'other' && fix[system] !== undefined;
  return own || fix.any !== undefined ? (`fix_${id.replaceAll('-', '_')}${own ? `_${system}` : ''}` as MessageKey) : undefined;
}

function isPageFinding(id: string): id is PageFindingId {
  return (PAGE_FINDING_IDS as readonly string[]).includes(id);
}
