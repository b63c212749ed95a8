/** Image files under kill -9: a process that commits without end is killed at any moment, and the next one finds all of a commit or nothing of it. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { build } from 'vite';
import { changeFile, factoryImage, usableCard, walletOf } from '../testing/card.ts';
import { FileCardMemory } from '../file-card-memory.ts';
import { join } from 'node:path';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { once } from 'node:events';
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { tmpdir } from 'node:os';
import FORMAT_1 from './former-images/format-1.json' with { type: 'json' };
import type { CardFile, CardImage } from '../card-image.ts';

const folder = mkdtempSync(join(tmpdir(), 'card-kill-'));
const COMMITTER = 'committer.mjs';

beforeAll(async () => {
  // One file that node starts at once: a kill takes a process, and there are many.
  await build({
    configFile: false,
    root: join(import.meta.dirname, '../..'),
    logLevel: 'warn',
    ssr: { noExternal: true, target: 'node' },
    build: {
      ssr: fileURLToPath(new URL('./testing-committer.ts', import.meta.url)),
      outDir: join(folder, 'out'),
      emptyOutDir: true,
      target: 'node20',
      minify: false,
      rolldownOptions: { external: /^node:/, output: { entryFileNames: COMMITTER, format: 'es', codeSplitting: false } },
    },
  });
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Runs until it has said so many lines, and is killed while it goes on; returns the last line it said. */
async function killAfter(lines: number, task: string, path: string): Promise<number> {
  const child = spawn(process.execPath, [join(folder, 'out', COMMITTER), task, path], { stdio: ['ignore', 'pipe', 'inherit'] });
  const closed = once(child, 'close');
  let said = '';
  let isKilled = false;
  child.stdout.on('data', (chunk: Buffer) => {
    said += chunk.toString();
    if (!isKilled && said.split('\n').length > lines) isKilled = child.kill('SIGKILL');
  });
  expect(await closed).toEqual([null, 'SIGKILL']);
  return Number(said.trimEnd().split('\n').at(-1));
}

/** Over all kills. */
const found = { acknowledged: 0, next: 0, redone: 0 };

/** What every part of the image says; one number if it is all of one commit. */
function numbersIn(image: CardImage): Set<number> {
  return new Set(walletOf(image).files.flatMap(numbersOf));
}

function numbersOf(file: CardFile): number[] {
  switch (file.type) {
    case 'value':
      return [file.value & 0xff];
    case 'cyclic':
      return file.records.flatMap((record, index) => [...record].map((byte) => (byte + index) & 0xff));
    case 'transaction-mac':
      return [file.counter & 0xff, ...file.tmv, ...file.readerId];
    case 'standard':
      return [...file.content];
    case 'backup':
    case 'linear':
      return [];
  }
}

it.each(['first', 'second'])('all of a commit or nothing of it, and never less than was acknowledged: %s card', { concurrent: true, timeout: 120_000 }, async (name) => {
  const path = join(folder, `${name}.image`);
  (await FileCardMemory.open(path, factoryImage)).close();
  for (let kills = 0; kills < 16; kills++) {
    const acknowledged = await killAfter(5 + ((kills * 7) % 12), 'commit', path);
    let writes = 0;
    const memory = await FileCardMemory.open(path, undefined, () => writes++);
    const value = walletOf(memory.image).files.find((file) => file.type === 'value')?.value ?? 0;
    expect([acknowledged, acknowledged + 1]).toContain(value);
    expect([...numbersIn(memory.image)]).toEqual([value & 0xff]);
    memory.close();
    found[value === acknowledged ? 'acknowledged' : 'next']++;
    if (writes > 0) found.redone++;
  }
});

it('a conversion leaves the former image or the converted one', { concurrent: true, timeout: 120_000 }, async () => {
  const path = join(folder, 'former.image');
  for (let kills = 0; kills < 8; kills++) {
    writeFileSync(path, JSON.stringify(FORMAT_1));
    await killAfter(1 + kills, 'convert', path);
    const memory = await FileCardMemory.open(path);
    expect(memory.image).toEqual(changeFile(changeFile(usableCard(factoryImage()), 'transaction-mac', { counterLimit: 9, counter: 2 }), 'value', { lower: -5 }));
    memory.close();
  }
});

it('some of the kills came in the middle of a commit', () => {
  expect(found.acknowledged + found.next).toBe(32);
  expect(found.redone).toBeGreaterThan(0);
  process.stdout.write(`killed 32 times: ${JSON.stringify(found)}\n`);
});
