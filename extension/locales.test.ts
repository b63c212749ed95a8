import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { FAILURES, type FailureCode } from '#protocol/failure.ts';
import { failureKey } from './language.ts';
import { readMessages } from './messages.fixture.ts';

vi.mock('webextension-polyfill', async () => (await import('./messages.fixture.ts')).polyfillWith('en'));

const [en, ja] = [readMessages('en'), readMessages('ja')];
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

test('no Japanese text is left in English', () => {
  const foreign = ['productName', 'language', 'times', 'minus'];
  for (const [key, { message }] of Object.entries(ja)) if (!foreign.includes(key)) expect(message, key).toMatch(/[\u3040-\u30ff\u4e00-\u9fff]/);
});

test('every message is used', () => {
  const sources = readdirSync(import.meta.dirname, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts') && !file.includes('.test.'));
  const code = sources.map((file) => readFileSync(join(import.meta.dirname, file), 'utf8')).join('\n');
  const manifestOnly = ['extensionName', 'extensionDescription'];
  const unused = Object.keys(en).filter((key) => !key.startsWith('failure_') && !manifestOnly.includes(key) && !code.includes(`'${key}'`));
  expect(unused).toEqual([]);
});
