import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { STEPS } from '#protocol/steps.ts';
import productPackage from '../package.json' with { type: 'json' };
import { rowsOf } from './document-tables.fixture.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const read = (file: string): string => readFileSync(join(ROOT, file), 'utf8');
const decisions = readdirSync(join(ROOT, 'docs/decisions')).map((name) => `docs/decisions/${name}`);
const documents = ['README.md', 'docs/threat-model.md', 'docs/readers.md', 'docs/cards.md', 'docs/apdu-hid.md', 'docs/figures.md', ...decisions];

describe('the README', () => {
  const readme = read('README.md');

  test('has the steps as protocol/steps.ts has them, in order', () => {
    const expected = STEPS.map(({ id, from, to, does, owner }) => [id, from === to ? from : `${from} to ${to}`, does, `\`${owner}\``]);
    expect(rowsOf(readme, /^ST\d+$/)).toEqual(expected);
  });

  test('draws every step in its picture', () => {
    const [, picture = ''] = /```mermaid\n([\s\S]*?)```/.exec(readme) ?? [];
    const drawn = new Set(picture.match(/ST\d+/g));
    expect([...drawn].sort()).toEqual(STEPS.map(({ id }) => id).sort());
  });

  test('is short, its glossary too', () => {
    expect(readme.split('\n').length).toBeLessThan(250);
    const [, glossary = ''] = readme.split('## Glossary');
    expect(rowsOf(glossary.split('## ')[0] ?? '', /^(?!word$|-)/).length).toBeLessThanOrEqual(20);
  });

  test('names the two commands, and no script that is not there', () => {
    expect(readme).toContain('npm ci && npm run demo\n');
    expect(readme).toContain('npm ci && npm test\n');
    const scripts = Object.keys(productPackage.scripts);
    for (const [, name = ''] of readme.matchAll(/npm run ([a-z][a-z0-9-]*)/g)) expect(scripts).toContain(name);
    const rows = rowsOf(readme, /^`npm /).map(([cell = '']) => /npm (?:run )?([a-z0-9-]+)/.exec(cell)?.[1]);
    expect(new Set(rows)).toEqual(new Set(scripts));
  });

  test('shows pictures that are small', () => {
    for (const [, file = ''] of readme.matchAll(/!\[[^\]]*\]\(([^)]+)\)/g)) expect(readFileSync(join(ROOT, file)).length).toBeLessThan(150 * 1024);
  });
});

describe('the documents', () => {
  test.each(documents)('%s names only files that are there', (document) => {
    const named = [...read(document).matchAll(/`((?:protocol|servers|bridge|extension|card-firmware-sim|world|commands|e2e|bench|docs)\/[\w./-]+)`/g)].map(([, file = '']) => file);
    expect(named.filter((file) => !existsSync(join(ROOT, file)))).toEqual([]);
  });

  test('every test that the threat model cites exists under that title', () => {
    const cited = [...read('docs/threat-model.md').matchAll(/`([\w./-]+\.(?:test|spec|contract)\.ts)`((?:;? "[^"]+")+)/g)].flatMap(([, file = '', titles = '']) =>
      [...titles.matchAll(/"([^"]+)"/g)].map(([, title = '']) => ({ file, title })),
    );
    expect(cited.length).toBeGreaterThan(40);
    const absent = cited.filter(({ file, title }) => !read(file).replaceAll("\\'", "'").includes(title));
    expect(absent).toEqual([]);
  });

  test('decisions are numbered without a gap, and each says context, decision and consequences', () => {
    expect(decisions.map((file) => Number(/\/(\d{4})-/.exec(file)?.[1]))).toEqual(decisions.map((_, i) => i + 1));
    for (const file of decisions) expect(read(file)).toMatch(/\*\*Context\.\*\*[\s\S]*\*\*Decision\.\*\*[\s\S]*\*\*Consequences\.\*\*/);
  });
});
