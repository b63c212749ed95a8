/** The card-sim command at a real card's speed: what it prints of a payment, and which options go together. */
import { execFile, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { once } from 'node:events';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { tmpdir } from 'node:os';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { factoryImage, NONE, usableCard, ZERO_KEY } from '#card-firmware-sim/testing/card.ts';
import { FileCardMemory } from '#card-firmware-sim/file-card-memory.ts';
import { parseHex } from '#protocol/bytes.ts';
import { TestingHost } from '#card-firmware-sim/testing/host.ts';
import { TestingReader } from '#card-firmware-sim/testing/vpcd-reader.ts';
import type { PaymentFieldTime } from '#card-firmware-sim/timing/card.ts';

const COMMAND = ['--import', 'tsx', join(import.meta.dirname, 'card-sim.ts')];

let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'card-sim-speed-'));
});

afterAll(() => rmSync(folder, { recursive: true }));

/** Standard output of a card that paid once. */
async function outputOfPayment(...args: string[]): Promise<string> {
  const reader = await TestingReader.start();
  const image = join(folder, `${args.join('')}.card`);
  (await FileCardMemory.open(image, () => usableCard(factoryImage()))).close();
  const child = spawn(process.execPath, [...COMMAND, '--vpcd', `127.0.0.1:${reader.port}`, '--image', image, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  let printed = '';
  child.stdout.on('data', (chunk) => (printed += String(chunk)));
  const slot = await reader.card();
  const host = new TestingHost({ process: async (command) => (await slot.transmit(command)) ?? NONE });
  await host.select();
  await host.authenticate(1, ZERO_KEY);
  await host.send(0x8b, [1, 0, 0, 0, 16, 0, 0], new Uint8Array(16), 'full', 'mac');
  await host.send(0xdc, [3], parseHex('64000000'), 'full', 'mac');
  await host.send(0xc7, [], new Uint8Array([1]), 'mac', 'mac');
  child.kill('SIGTERM');
  expect(await once(child, 'close')).toEqual([0, null]);
  await reader.stop();
  return printed;
}

it('tells the card-field time of a payment after its steps, as JSON, with the pages that the file wrote', async () => {
  const [first, second, third, ...more] = (await outputOfPayment('--speed', 'real', '--rate', '424', '--json')).trim().split('\n').map((line) => JSON.parse(line) as object);
  expect([first, second]).toMatchObject([{ step: 'ST17', party: 'card' }, { step: 'ST18', party: 'card' }]);
  const { party, bitRate, commands, ...times } = (third as { fieldTime: PaymentFieldTime & { party: string } }).fieldTime;
  expect({ party, bitRate }).toEqual({ party: 'card', bitRate: 424 });
  expect(commands.map(({ command }) => command)).toEqual(['ISOSelectFile', 'AuthenticateEV2First', 'AuthenticateEV2First', 'WriteRecord', 'Debit', 'CommitTransaction']);
  expect(times.airMs + times.chipMs + times.memoryMs).toBeCloseTo(times.totalMs, 3);
  expect(commands.at(-1)?.pageWrites).toBeGreaterThan(0);
  expect(more).toEqual([]);
});

it('tells it in words', async () => {
  expect(await outputOfPayment('--speed', 'real')).toMatch(/ST18 card .*\nfield time card \d+\.\d ms for 6 commands at 106 kbit\/s, modelled: air \d+\.\d \(activation \d+\.\d\), chip \d+\.\d, memory \d+\.\d\n$/);
});

it.concurrent.each([
  ['a rate without a speed', ['--rate', '424'], '--rate needs --speed real'],
  ['a rate that there is not', ['--speed', 'real', '--rate', '425'], 'one of 106, 212, 424, 848'],
])('%s is wrong usage', async (_, args, reason) => {
  const ended = promisify(execFile)(process.execPath, [...COMMAND, '--vpcd', 'localhost:1', '--image', 'x', ...args]);
  await expect(ended).rejects.toMatchObject({ code: 2, stderr: expect.stringContaining(reason) as string });
});
