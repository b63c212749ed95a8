/** What docs/readers.md says of readers, troubles and findings is what the code has; and the commands that documents name exist. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { FINDING_IDS } from '#bridge/doctor-findings.ts';
import { KNOWN_READERS, type KnownReader, type OperatingSystem } from '#bridge/reader-registry.ts';
import { DEVICE_KINDS } from '#card-firmware-sim/usb/device-kinds.ts';
import { isFailureCode } from '#protocol/failure.ts';
import productPackage from '../package.json' with { type: 'json' };
import { rowsOf } from './document-tables.fixture.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const read = (file: string): string => readFileSync(join(ROOT, file), 'utf8');
const text = read('docs/readers.md');
const ROADS = { webusb: 'WebUSB', webhid: 'WebHID', native: 'native host' } as const;
const code = (word: string): string => `\`${word}\``;

function sectionOf(heading: string): string {
  const [, section = ''] = new RegExp(`^## ${heading}\\n([\\s\\S]*?)(?=^## |$(?![\\s\\S]))`, 'm').exec(text) ?? [];
  expect(section).not.toBe('');
  return section;
}

function recognisedBy({ vendorId, productIds, usagePage }: KnownReader): string {
  const hex = (id: number): string => id.toString(16).padStart(4, '0');
  if (vendorId === undefined) return `usage page ${hex(usagePage ?? 0)}`;
  return productIds.length === 0 ? `${hex(vendorId)}, any product` : productIds.map((id) => `${hex(vendorId)}:${hex(id)}`).join(', ');
}

describe('the page about readers', () => {
  test('has every known reader, by what it is recognised, and its road', () => {
    const expected = KNOWN_READERS.map((reader) => [code(reader.kind), reader.title, recognisedBy(reader), ROADS[reader.road]]);
    expect(rowsOf(sectionOf('Which reader, over which road'), /^`/)).toEqual(expected);
    expect(new Set(KNOWN_READERS.map(({ kind }) => kind))).toEqual(new Set([...DEVICE_KINDS, 'ccid']));
  });

  test('has what is known to go wrong, reader by reader and system by system', () => {
    const systems: readonly OperatingSystem[] = ['linux', 'windows', 'macos'];
    const driven = KNOWN_READERS.filter(({ road }) => road !== 'native');
    const cell = ({ troubles }: KnownReader, system: OperatingSystem): string => (troubles[system] ?? []).map(code).join(', ') || '-';
    const expected = driven.map((reader) => [code(reader.kind), ...systems.map((system) => cell(reader, system))]);
    expect(rowsOf(sectionOf('What goes wrong'), /^`/).slice(0, driven.length)).toEqual(expected);
    // "On ChromeOS nothing is known yet."
    expect(KNOWN_READERS.flatMap(({ troubles }) => troubles.chromeos ?? [])).toEqual([]);
  });

  test('names every finding of the doctor once, and those of the page', () => {
    const rows = rowsOf(sectionOf('What goes wrong'), /^`/).filter((row) => row.length === 3);
    expect(rows.map(([cell]) => cell)).toEqual(FINDING_IDS.map(code));
    const page = read('extension/readers/page-doctor.ts');
    for (const id of ['web-usb', 'web-hid']) {
      expect(text).toContain(code(id));
      expect(page).toContain(`'${id}'`);
    }
  });

  test('names only failures that there are', () => {
    const named = [...text.matchAll(/`((?:card|reader|host|connector)\/[a-z-]+)`/g)].map(([, failure = '']) => failure);
    expect(named.length).toBeGreaterThan(2);
    expect(named.filter((failure) => !isFailureCode(failure))).toEqual([]);
  });

  test('says on which day nothing had run on hardware, and has a form to report with', () => {
    expect(text).toContain('Nothing here has run on a reader or a card of silicon. State of 2026-11-22');
    expect(sectionOf('For somebody with the hardware')).toMatch(/```\nReader \(maker, model, firmware\):\n[\s\S]*\n```/);
  });
});

interface NamedCommand {
  readonly source: string;
  readonly command: string;
  readonly options: readonly string[];
}

/** `npm run X -- --a B`, `npm start -- --a`, `npx kessai-host X --a`, with the options that stand behind it; in a row of a table, all of the row's. */
function commandsIn(document: string): NamedCommand[] {
  return [...document.matchAll(/(?<row>^\| `)?(?:npm (?<script>run [a-z][a-z0-9-]*|start|test)|npx kessai-host (?<host>[a-z]+))(?<behind>[^`|#\n]*)(?<others>[^\n]*)/gm)].flatMap(({ groups = {} }) => {
    const { row, script, host, behind = '', others = '' } = groups;
    const name = script?.replace('run ', '');
    const source = name === undefined ? 'bridge/host/command-line.ts' : ((productPackage.scripts as Record<string, string>)[name]?.split(' ').at(-1) ?? '');
    const options = `${behind}${row === undefined ? '' : others}`.match(/--[a-z][a-z0-9-]*/g) ?? [];
    // Several commands may stand in one line.
    return [{ source, command: host ?? name ?? '', options }, ...(row === undefined ? commandsIn(others) : [])];
  });
}

function exists({ source, command, options }: NamedCommand): boolean {
  if (!source.endsWith('.ts') || !existsSync(join(ROOT, source))) return false;
  // The commands of an operator's desk share their common options.
  const words = `${read(source)}${read(source).includes("from './desk.ts'") ? read('commands/desk.ts') : ''}${read(source).includes("from './key-store-place.ts'") ? read('commands/key-store-place.ts') : ''}`;
  if (source === 'bridge/host/command-line.ts' && !words.includes(`.command('${command}')`)) return false;
  return options.every((option) => new RegExp(`['"]${option}(?![\\w-])`).test(words));
}

describe('commands', () => {
  test.each(['README.md', 'docs/readers.md', 'docs/cards.md'])('that %s names exist, with their options', (document) => {
    const named = commandsIn(read(document));
    expect(named.length).toBeGreaterThan(10);
    expect(named.filter((each) => !exists(each))).toEqual([]);
  });

  test('in the README play a payment over every emulated reader', () => {
    const [row = []] = rowsOf(read('README.md'), /^`npm run demo`/);
    for (const kind of DEVICE_KINDS) expect(row.join(' ')).toContain(code(kind));
  });

  test('that are misspelt are noticed', () => {
    const wrong = '`npm run dmo` `npm run demo -- --raeder sim` `npx kessai-host doktor`\n| `npm run pki` | x; `--pkcs FILE` |';
    expect(commandsIn(wrong).map((each) => [each.command, exists(each)])).toEqual([['dmo', false], ['demo', false], ['doktor', false], ['pki', false]]);
  });
});
