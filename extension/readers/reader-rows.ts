/** The rows of the pairing page as data: every reader that is here, every one that was, and every family that could be added. */
import type { FindingId } from '#bridge/doctor-findings.ts';
import { KNOWN_READERS, type DeviceReaderKind, type KnownReader, type KnownTrouble } from '#bridge/reader-registry.ts';
import type { ReaderInfo } from '#bridge/reader-source.ts';
import type { FailureCode } from '#protocol/failure.ts';
import { roadOf } from './pairing.ts';
import type { DeviceRoad, PairedReader } from './readers-page-ports.ts';
import type { System } from '../ports/system.ts';

export type RowState =
  /** Works; no card, or a card, lies on it. */
  | 'ready'
  | 'card'
  | 'in-use'
  | 'mute'
  /** Cannot be used now: `problem` says why. */
  | 'blocked'
  /** Paired and plugged in; nothing is known yet of how it does. */
  | 'connected'
  /** Paired, and not plugged in. */
  | 'away'
  /** Not plugged in, or forgotten by the browser: it does not say which. */
  | 'away-or-forgotten'
  /** The browser has forgotten it, because it has no serial number. */
  | 'forgotten';

export interface ReaderRow {
  readonly id: string;
  readonly name: string;
  readonly kind: DeviceReaderKind | 'pcsc';
  readonly road: DeviceRoad | 'native';
  readonly state: RowState;
  readonly problem: FailureCode | null;
  /** The one button of the row. */
  readonly act: 'test' | 'look-again' | 'pair' | null;
  /** Paired readers can be forgotten, absent ones taken off the list. */
  readonly canForget: boolean;
  /** The name by which its source knows it, and the card on it. */
  readonly sourceName: string | null;
  /** What to do, from the doctor's table. */
  readonly advice: readonly FindingId[];
}

export interface AddableFamily {
  readonly kind: DeviceReaderKind;
  readonly title: string;
  readonly road: DeviceRoad;
  /** What is known to go wrong on this system. */
  readonly troubles: readonly KnownTrouble[];
}

export interface KnownToUs {
  readonly system: System;
  readonly paired: readonly PairedReader[];
  /** Of the readers that this page drives. */
  readonly devices: readonly ReaderInfo[];
  /** Of the reader program. */
  readonly program: readonly ReaderInfo[];
}

export function readerRows({ system, paired, devices, program }: KnownToUs): ReaderRow[] {
  const left = [...devices];
  const rows = paired.map((reader) => {
    const at = left.findIndex(({ name }) => isNameOf(name, reader.driverName));
    return pairedRow(reader, at < 0 ? undefined : left.splice(at, 1)[0], system);
  });
  return [...rows, ...program.map(programRow)];
}

/** Two readers of one name are told apart by a number behind it. */
function isNameOf(name: string, driverName: string | undefined): boolean {
  return driverName !== undefined && (name === driverName || (name.startsWith(`${driverName} (`) && /^\d+\)$/.test(name.slice(driverName.length + 2))));
}

function pairedRow(reader: PairedReader, live: ReaderInfo | undefined, system: System): ReaderRow {
  const state = reader.isConnected ? (live === undefined ? 'connected' : liveState(live)) : awayState(reader);
  return {
    id: reader.id,
    name: reader.name,
    kind: reader.kind,
    road: roadOf(reader.kind),
    state,
    problem: live === undefined ? null : problemOf(live),
    act: actFor(state),
    canForget: true,
    sourceName: live?.name ?? null,
    advice: adviceFor(reader, state, live?.problem, troublesOf(reader.kind, system), system),
  };
}

function programRow(info: ReaderInfo): ReaderRow {
  return { id: `pcsc-${info.name}`, name: info.name, kind: 'pcsc', road: 'native', state: liveState(info), problem: problemOf(info), act: actFor(liveState(info)), canForget: false, sourceName: info.name, advice: [] };
}

function liveState({ state, problem }: ReaderInfo): RowState {
  if (state === 'in-use') return 'in-use';
  if (problem !== undefined && !problem.startsWith('card/')) return 'blocked';
  return state === 'mute' ? 'mute' : state === 'present' ? 'card' : 'ready';
}

/** The one button: what can be done here. */
function actFor(state: RowState): ReaderRow['act'] {
  if (state === 'ready' || state === 'card' || state === 'mute') return 'test';
  if (state === 'blocked' || state === 'in-use') return 'look-again';
  return state === 'away-or-forgotten' || state === 'forgotten' ? 'pair' : null;
}

function problemOf({ state, problem }: ReaderInfo): FailureCode | null {
  return problem ?? (state === 'in-use' ? 'reader/in-use' : state === 'mute' ? 'card/silent' : null);
}

function awayState({ isKept }: PairedReader): RowState {
  return isKept === undefined ? 'away-or-forgotten' : isKept ? 'away' : 'forgotten';
}

function adviceFor(reader: PairedReader, state: RowState, problem: FailureCode | undefined, troubles: readonly KnownTrouble[], system: System): FindingId[] {
  const known = (...wanted: KnownTrouble[]): FindingId[] => wanted.filter((trouble) => troubles.includes(trouble));
  if (problem === 'reader/permission') return system === 'linux' ? ['device-access'] : known('not-winusb');
  if (problem === 'reader/driver') return known('port100', 'not-winusb');
  if (state === 'in-use') return known('shared-with-pcsc');
  if (problem === 'reader/failed') return known('pass-through-locked');
  return reader.isKept === false ? ['permission-forgotten'] : [];
}

function troublesOf(kind: DeviceReaderKind, system: System): readonly KnownTrouble[] {
  return system === 'other' ? [] : (entryOf(kind)?.troubles[system] ?? []);
}

function entryOf(kind: DeviceReaderKind): KnownReader | undefined {
  return KNOWN_READERS.find((reader) => reader.kind === kind);
}

/** Every family that the browser can drive; one that is paired may be paired a second time, so it stays. */
export function addableFamilies(system: System, roads: Readonly<Record<DeviceRoad, boolean>>): AddableFamily[] {
  return KNOWN_READERS.flatMap(({ kind, title, road }) => (kind === 'ccid' || road === 'native' || !roads[road] ? [] : [{ kind, title, road, troubles: troublesOf(kind, system) }]));
}

/** Makers and models that only the reader program reaches. */
export function programOnlyTitles(): string[] {
  return KNOWN_READERS.filter(({ road }) => road === 'native').map(({ title }) => title);
}

/** Makers and models that a browser with these roads drives by itself. */
export function deviceTitles(): string[] {
  return KNOWN_READERS.filter(({ road }) => road !== 'native').map(({ title }) => title);
}
