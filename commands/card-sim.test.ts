/** The card-sim command as a process: what it prints, how it ends, and that its image survives it. */
import { execFile, spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { once } from 'node:events';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { tmpdir } from 'node:os';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CardUnderTest, factoryImage, NONE, usableCard, ZERO_KEY } from '#card-firmware-sim/testing-card.ts';
import { encodeCardImage } from '#card-firmware-sim/image-codec.ts';
import { FileCardMemory } from '#card-firmware-sim/file-card-memory.ts';
import { parseHex } from '#protocol/bytes.ts';
import { TestingHost } from '#card-firmware-sim/testing-host.ts';
import { TestingReader } from '#card-firmware-sim/testing-reader.ts';

const COMMAND = ['--import', 'tsx', join(import.meta.dirname, 'card-sim.ts')];

let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'card-sim-'));
});

afterAll(() => rmSync(folder, { recursive: true }));

async function run(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  try {
    return { code: 0, ...(await promisify(execFile)(process.execPath, [...COMMAND, ...args])) };
  } catch (error) {
    const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string };
    return { code, stdout, stderr };
  }
}

describe('card-sim', () => {
  it('plays a payment, prints its two steps, ends with 0 on SIGTERM, and keeps the balance', async () => {
    const reader = await TestingReader.start();
    const image = join(folder, 'usable.json');
    writeFileSync(image, encodeCardImage(usableCard(factoryImage())));
    const child = spawn(process.execPath, [...COMMAND, '--vpcd', `127.0.0.1:${reader.port}`, '--image', image, '--json'], { stdio: ['ignore', 'pipe', 'inherit'] });
    let printed = '';
    child.stdout.on('data', (chunk) => (printed += String(chunk)));
    const slot = await reader.card();
    const host = new TestingHost({ process: async (command) => (await slot.transmit(command)) ?? NONE });
    await host.select();
    await host.authenticate(1, ZERO_KEY);
    await host.send(0x8b, [1, 0, 0, 0, 16, 0, 0], new Uint8Array(16), 'full', 'mac');
    await host.send(0xdc, [3], parseHex('64000000'), 'full', 'mac');
    expect((await host.send(0xc7, [], new Uint8Array([1]), 'mac', 'mac')).status).toBe(0x9100);
    child.kill('SIGTERM');
    expect(await once(child, 'close')).toEqual([0, null]);
    await reader.stop();
    const steps = printed.trim().split('\n').map((line) => JSON.parse(line) as { step: string; party: string });
    expect(steps.map(({ step, party }) => `${step} ${party}`)).toEqual(['ST17 card', 'ST18 card']);
    const memory = await FileCardMemory.open(image);
    expect(new CardUnderTest(undefined, { memory }).fileOf('value').value).toBe(4900);
    memory.close();
    expect(readdirSync(folder)).toEqual(['usable.json']);
  });

  it('makes a factory card when asked, waits for the reader, and says so once', async () => {
    const image = join(folder, 'new', 'factory.json');
    const child = spawn(process.execPath, [...COMMAND, '--vpcd', '127.0.0.1:1', '--image', image, '--factory', '--uid', '04010203040506'], { stdio: ['ignore', 'ignore', 'pipe'] });
    let said = '';
    const waits = new Promise<void>((resolve) => {
      child.stderr.on('data', (chunk) => {
        said += String(chunk);
        if (said.includes('\n')) resolve();
      });
    });
    await waits;
    child.kill('SIGINT');
    expect(await once(child, 'close')).toEqual([0, null]);
    expect(said).toMatch(/^card 04010203040506: waiting for the virtual reader at 127\.0\.0\.1:1 \(.*\)\n$/);
    const other = await run('--vpcd', '127.0.0.1:1', '--image', image, '--uid', '04010203040507');
    expect(other).toMatchObject({ code: 1, stdout: '' });
    expect(other.stderr).toContain('holds card 04010203040506, not 04010203040507');
  });

  it.concurrent.each([
    ['no reader', ['--image', 'x'], 2, "required option '--vpcd"],
    ['an address without a port', ['--vpcd', 'localhost', '--image', 'x'], 2, 'HOST:PORT'],
    ['a short UID', ['--vpcd', 'localhost:1', '--image', 'x', '--uid', '04'], 2, '14 hex digits'],
    ['an unknown option', ['--vpcd', 'localhost:1', '--image', 'x', '--nope'], 2, 'unknown option'],
    ['no such image', ['--vpcd', 'localhost:1', '--image', '/nonexistent/card.json'], 1, 'there is no such card image'],
  ])('with %s it ends with a reason', async (_, args, code, reason) => {
    const ended = await run(...args);
    expect(ended.code).toBe(code);
    expect(ended.stderr).toContain(reason);
  });

  it('explains itself', async () => {
    const { code, stdout } = await run('--help');
    expect(code).toBe(0);
    for (const option of ['--vpcd', '--image', '--factory', '--uid', '--json']) expect(stdout).toContain(option);
  });
});
