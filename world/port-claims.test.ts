import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { claimPort } from './port-claims.ts';

const folder = mkdtempSync(join(tmpdir(), 'kessai-claims-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test('a port is claimed once, and stays its owner\'s', async () => {
  expect(await claimPort(20_001, folder)).toBe(true);
  expect(await claimPort(20_001, folder)).toBe(true);
  expect(readFileSync(join(folder, '20001'), 'utf8')).toBe(String(process.pid));
});

test('what another living process has claimed is left alone, and taken over when it has ended', async () => {
  const other = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)']);
  const ended = new Promise((resolve) => other.once('exit', resolve));
  writeFileSync(join(folder, '20002'), String(other.pid));
  expect(await claimPort(20_002, folder)).toBe(false);
  other.kill('SIGKILL');
  await ended;
  expect(await claimPort(20_002, folder)).toBe(true);
});

test('a claim that says nobody is nobody\'s', async () => {
  writeFileSync(join(folder, '20003'), 'nobody');
  expect(await claimPort(20_003, folder)).toBe(true);
});
