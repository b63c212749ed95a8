import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { FAILURES, type FailureCode } from '#protocol/failure.ts';
import { FINDING_IDS, FINDINGS, fixFor } from '#bridge/doctor-findings.ts';
import type { OperatingSystem } from '#bridge/reader-registry.ts';
import { failureKey } from './language.ts';
import { readMessages } from './messages.fixture.ts';
import { fixKey, PAGE_FINDING_IDS, titleKey } from './readers/page-doctor.ts';

vi.mock('webextension-polyfill', async () => (await import('./messages.fixture.ts')).polyfillWith('en'));

const [en, ja] = [readMessages('en'), readMessages('ja')];
const SYSTEMS: readonly OperatingSystem[] = ['linux', 'windows', 'macos', 'chromeos'];
const codes = Object.keys(FAILURES) as FailureCode[];

test('both languages have the same messages, none empty', () => {
  expect(Object.keys(ja)).toEqual(Object.keys(en));
  for (const messages of [en, ja]) expect(Object.entries(messages).filter(([, { message }]) => message.trim() === '')).toEqual([]);
});

test('both languages fill in the same places', () => {
  const places = (text: string) => [...text.matchAll(/\$\d/g)].map(([place]) => place).sort();
  for (const [key, { message }] of Object.entries(en)) expect(places(ja[key]!.message), key).toEqual(places(message));
});

test('every failure code has a text in both languages, and no text is without its code', () => {
  expect(Object.keys(en).filter((key) => key.startsWith('failure_')).sort()).toEqual(codes.map(failureKey).sort());
});

test('the English texts are those of the one table', () => {
  for (const code of codes) expect(en[failureKey(code)]!.message).toBe(FAILURES[code].text);
});

test('every finding of the doctor has its title and its fixes in both languages, and no text is without its finding', () => {
  const fixes = FINDING_IDS.flatMap((id) => [fixKey(id, 'other'), ...SYSTEMS.map((system) => fixKey(id, system))]);
  const expected = new Set([...[...FINDING_IDS, ...PAGE_FINDING_IDS].map(titleKey), ...fixes.filter((key) => key !== undefined)]);
  expect(Object.keys(en).filter((key) => /^(finding|fix)_/.test(key)).sort()).toEqual([...expected].sort());
});

test('the English words of a finding are those of the one table', () => {
  for (const id of FINDING_IDS) {
    expect(en[titleKey(id)]!.message).toBe(FINDINGS[id].title);
    for (const system of SYSTEMS) {
      const key = fixKey(id, system);
      expect(key === undefined ? undefined : en[key]!.message, `${id} on ${system}`).toBe(fixFor(id, system));
    }
  }
});

test('what is typed as it is stands in both languages', () => {
  const typed = (text: string) => [...text.matchAll(/`[^`]*`/g)].map(([command]) => command).sort();
  for (const key of Object.keys(en).filter((name) => name.startsWith('fix_'))) expect(typed(ja[key]!.message), key).toEqual(typed(en[key]!.message));
});

test('no Japanese text is left in English', () => {
  const foreign = ['productName', 'language', 'times', 'minus', 'plus'];
  for (const [key, { message }] of Object.entries(ja)) if (!foreign.includes(key)) expect(message, key).toMatch(/[\u3040-\u30ff\u4e00-\u9fff]/);
});

test('every message is used', () => {
  const sources = readdirSync(import.meta.dirname, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts') && !file.includes('.test.'));
  const code = sources.map((file) => readFileSync(join(import.meta.dirname, file), 'utf8')).join('\n');
  const manifestOnly = ['extensionName', 'extensionDescription'];
  const unused = Object.keys(en).filter((key) => !/^(failure|finding|fix)_/.test(key) && !manifestOnly.includes(key) && !code.includes(`'${key}'`));
  expect(unused).toEqual([]);
});
