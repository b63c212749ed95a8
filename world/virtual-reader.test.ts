import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { startVirtualReader, type VirtualReader } from './virtual-reader.ts';

const folder = mkdtempSync(join(tmpdir(), 'kessai-vr-'));
const running: VirtualReader[] = [];
afterEach(async () => {
  await Promise.all(running.splice(0).map((reader) => reader.stop()));
  rmSync(folder, { recursive: true, force: true });
});

/** PCSCLITE_CSOCK_NAME is read once a process: each look is a process of its own. */
function listReaders(reader: VirtualReader): string[] {
  const program = `
    import { loadPcscLibrary } from '#bridge/host/pcsc/library.ts';
    const library = loadPcscLibrary();
    const { context } = await library.establishContext();
    console.log(JSON.stringify((await library.listReaders(context)).names));
  `;
  const output = execFileSync(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', program], { env: { ...process.env, ...reader.environment }, encoding: 'utf8' });
  return JSON.parse(output) as string[];
}

function pcscdProcesses(configFolder: string): string[] {
  const found = execFileSync('ps', ['-eo', 'pid=,args='], { encoding: 'utf8' }).split('\n');
  return found.filter((line) => line.includes(configFolder) && line.includes('pcscd'));
}

test('three readers are listed by their names, each with a port on loopback alone, and nothing stays behind', async () => {
  const reader = await startVirtualReader({ folder, readers: 3 });
  running.push(reader);
  const listed = listReaders(reader);
  expect(reader.readerNames).toEqual(['Kessai Virtual Reader 1 00 00', 'Kessai Virtual Reader 2 00 00', 'Kessai Virtual Reader 3 00 00']);
  expect(listed.filter((name) => name.endsWith(' 00'))).toEqual(reader.readerNames);
  const listening = readFileSync('/proc/self/net/tcp', 'ascii').split('\n').map((line) => line.trim().split(/\s+/)).filter(([, , , state]) => state === '0A').map(([, local]) => local);
  for (const port of reader.vpcdPorts) expect(listening).toContain(`0100007F:${port.toString(16).toUpperCase().padStart(4, '0')}`);
  // vpcd itself would listen on 0.0.0.0:35963.
  expect(listening).not.toContain('00000000:8C7B');

  await reader.stop();
  expect(existsSync(reader.socketName)).toBe(false);
  expect(pcscdProcesses(folder)).toEqual([]);
  const again = createServer();
  await new Promise<void>((done) => again.listen(reader.vpcdPorts[0], '127.0.0.1', done));
  await new Promise((done) => again.close(done));
});

test('two instances do not know of each other', async () => {
  const [one, other] = await Promise.all([startVirtualReader({ folder: join(folder, 'one') }), startVirtualReader({ folder: join(folder, 'other') })]);
  running.push(one, other);
  expect(one.vpcdPorts[0]).not.toBe(other.vpcdPorts[0]);
  await one.stop();
  expect(listReaders(other)).toContain('Kessai Virtual Reader 00 00');
});

test('a folder with a name too long for a socket gets a short one', async () => {
  const reader = await startVirtualReader({ folder: join(folder, 'x'.repeat(120)) });
  running.push(reader);
  expect(reader.socketName.length).toBeLessThan(108);
  expect(listReaders(reader)).toContain('Kessai Virtual Reader 00 00');
  await reader.stop();
  expect(existsSync(reader.socketName)).toBe(false);
});
