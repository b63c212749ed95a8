import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { useFreshDatabase } from '../shared/database-for-tests.ts';
import { callShop, prepareShop, type PreparedShop } from './running-shop.fixture.ts';

const databaseUrl = useFreshDatabase();
const program = join(import.meta.dirname, 'main.ts');
let prepared: PreparedShop;

beforeAll(async () => {
  prepared = await prepareShop(databaseUrl());
});

afterAll(() => prepared.remove());

function start(config: object) {
  const file = join(prepared.folder, 'shop.json');
  writeFileSync(file, JSON.stringify(config));
  const child = spawn(process.execPath, ['--import', 'tsx', program, '--config', file], { stdio: ['ignore', 'pipe', 'pipe'] });
  let errors = '';
  child.stderr.on('data', (chunk: Buffer) => (errors += chunk.toString('utf8')));
  const ended = new Promise<number | null>((resolve) => child.once('exit', resolve));
  return { child, lines: createInterface(child.stdout)[Symbol.asyncIterator](), ended, errors: () => errors };
}

test('the program says once that it is ready, journals, and ends on SIGTERM', async () => {
  const { child, lines, ended } = start(prepared.config);
  try {
    expect(JSON.parse((await lines.next()).value as string)).toEqual({ ready: true, addresses: { shop: prepared.config.public.origin } });
    const { call, agent } = callShop(prepared);
    expect((await call('/')).status).toBe(200);
    await call('/kessai/decisions', { method: 'POST', body: 'x', headers: { 'Content-Type': 'application/jose' } });
    expect(JSON.parse((await lines.next()).value as string)).toMatchObject({ journal: true, step: 'ST3', party: 'shop', failed: 'message/malformed' });
    agent.destroy();
    child.kill('SIGTERM');
    expect(await ended).toBe(0);
    expect((await lines.next()).done).toBe(true);
  } finally {
    child.kill('SIGKILL');
  }
});

test('every mistake of a configuration is named, and ends with code 2', async () => {
  const { ended, errors } = start({ ...prepared.config, shopId: 'X', minimumVersion: 1, surprise: true, extensionUrl: 'http://x.example' });
  expect(await ended).toBe(2);
  for (const name of ['shopId', 'minimumVersion', 'extensionUrl', 'surprise: unknown setting']) expect(errors()).toContain(name);
});
