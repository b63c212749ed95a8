import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { describe, expect, it } from 'vitest';
import { STEPS } from './steps.ts';

const ROOT = join(import.meta.dirname, '..');
/** Where a party's code is; tests, tools and measurements may name steps as they like. */
const PARTY_FOLDERS = ['protocol', 'bridge', 'extension', 'servers', 'card-firmware-sim'];

function sourcesIn(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return entry.name === 'node_modules' ? [] : sourcesIn(path);
    return /\.ts$/.test(entry.name) && !/\.(test|contract|fixture)\.ts$/.test(entry.name) ? [path] : [];
  });
}

/** `step('ST9', ...)`, `stepOfPayment('ST12', ...)` and the simulator's `write({ step: 'ST17' ...`; not types, not comments. */
const JOURNALED = /(?:\bstep\w*\(\s*|\bstep:\s*)'(ST\d+)'(?!\s*\|)/g;

function journaledSteps(): { id: string; file: string }[] {
  return PARTY_FOLDERS.flatMap((folder) => sourcesIn(join(ROOT, folder))).flatMap((path) => {
    const file = relative(ROOT, path).replaceAll('\\', '/');
    const code = readFileSync(path, 'utf8').replaceAll(/\/\*[\s\S]*?\*\//g, '').replaceAll(/(^|\s)\/\/.*$/gm, '');
    return [...code.matchAll(JOURNALED)].map(([, id = '']) => ({ id, file }));
  });
}

describe('the steps', () => {
  it('are ST1 to ST20, in order', () => {
    expect(STEPS.map(({ id }) => id)).toEqual(Array.from({ length: 20 }, (_, i) => `ST${i + 1}`));
  });

  it('are each journaled in exactly one place, in the file that owns them', () => {
    const journaled = journaledSteps();
    const found = STEPS.map(({ id }) => ({ id, files: journaled.filter((one) => one.id === id).map(({ file }) => file) }));
    expect(found).toEqual(STEPS.map(({ id, owner }) => ({ id, files: [owner] })));
    expect(journaled).toHaveLength(STEPS.length);
  });

  it('are journaled by the party that acts, except those that the card is seen to do', () => {
    const partyOf = { 'protocol/payment.ts': 'extension', 'servers/shop/service.ts': 'shop', 'servers/application/service.ts': 'application', 'servers/security/service.ts': 'security', 'card-firmware-sim/journal.ts': 'card' } as const;
    // ST13 is the card's answer, deciphered by the security server.
    for (const { id, from, owner } of STEPS) expect([id, partyOf[owner]]).toEqual([id, id === 'ST13' ? 'security' : from]);
  });
});
