/** The card-sim command as a process: what it prints, how it ends, and that its image survives it. */
import { execFile, spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { once } from 'node:events';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { tmpdir } from 'node:os';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CardUnderTest, factoryImage, NONE, usableCard, ZERO_KEY } from '#card-firmware-sim/testing/card.ts';
import { FileCardMemory } from '#card-firmware-sim/file-card-memory.ts';
import { askOnce, TestingUsbIpHost } from '#card-firmware-sim/usb/testing-usbip-host.ts';
import { encodeHex, parseHex } from '#protocol/bytes.ts';
import { encodeRequest } from '#card-firmware-sim/usb/usbip-messages.ts';
import { LegacyHost } from '#card-firmware-sim/testing/legacy-host.ts';
import { TestingHost } from '#card-firmware-sim/testing/host.ts';
import { TestingReader } from '#card-firmware-sim/testing/vpcd-reader.ts';

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
    (await FileCardMemory.open(image, () => usableCard(factoryImage()))).close();
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

  it('lies on an emulated USB reader that a USB/IP host finds, attaches and asks, and says how', async () => {
    const image = join(folder, 'usb.json');
    const child = spawn(process.execPath, [...COMMAND, '--usbip', '0', '--device', 'apdu-hid', '--image', image, '--factory', '--uid', '04010203040506', '--json'], { stdio: ['ignore', 'ignore', 'pipe'] });
    let said = '';
    await new Promise<void>((resolve) => {
      child.stderr.on('data', (chunk) => {
        said += String(chunk);
        if (said.includes('attach')) resolve();
      });
    });
    const port = Number(/USB\/IP 127\.0\.0\.1:(\d+), bus id 1-1/.exec(said)?.[1]);
    expect(said).toContain(`sudo modprobe vhci-hcd\n  sudo usbip --tcp-port ${port} attach -r 127.0.0.1 -b 1-1\n`);
    const list = await askOnce(port, encodeRequest({ kind: 'devlist' }));
    expect(encodeHex(list.subarray(0, 12))).toBe('011100050000000000000001');
    const host = await TestingUsbIpHost.attach(port, '1-1');
    const ask = async (packet: string): Promise<string> => {
      await host.out(1, parseHex(packet.padEnd(128, '0')));
      return encodeHex((await host.in(1, 64)).data);
    };
    const channel = (await ask('010101')).slice(6, 10);
    expect(await ask(`${channel}0500000005FFCA000000`)).toMatch(new RegExp(`^${channel}0500000009040102030405069000(00)*$`));
    expect(await ask(`${channel}05000000059060000000`)).toMatch(new RegExp(`^${channel}050000000904.{12}91AF(00)*$`));
    child.kill('SIGTERM');
    expect(await once(child, 'close')).toEqual([0, null]);
    await host.closed;
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
    expect(other.stderr).toContain('holds card 04010203040506 (light), not 04010203040507 (light)');
  });

  it('makes a blank EV2 or EV3 when asked, and takes an image of another model for an error', async () => {
    const reader = await TestingReader.start();
    const image = join(folder, 'ev3.card');
    const child = spawn(process.execPath, [...COMMAND, '--vpcd', `127.0.0.1:${reader.port}`, '--image', image, '--factory', '--profile', 'ev3', '--uid', '04010203040506'], { stdio: 'ignore' });
    const slot = await reader.card();
    const host = new TestingHost({ process: async (command) => (await slot.transmit(command)) ?? NONE });
    expect(encodeHex((await host.native(0x60)).data)).toBe('04010133001805');
    await host.raw(parseHex('90AF000000'));
    await host.raw(parseHex('90AF000000'));
    const legacy = new LegacyHost(host);
    expect(await legacy.authenticate(ZERO_KEY)).toBe(0x9100);
    expect((await legacy.send(0xca, parseHex('01534B0F85'))).status).toBe(0x9100);
    child.kill('SIGTERM');
    expect(await once(child, 'close')).toEqual([0, null]);
    await reader.stop();
    const other = await run('--vpcd', '127.0.0.1:1', '--image', image, '--profile', 'light', '--factory');
    expect(other).toMatchObject({ code: 1, stdout: '' });
    expect(other.stderr).toContain('holds card 04010203040506 (ev3), not 04010203040506 (light)');
    const memory = await FileCardMemory.open(image);
    expect(memory.image.applications.map(({ aid, keys }) => [aid, keys.length])).toEqual([[0x4b5301, 5]]);
    memory.close();
  });

  it.concurrent.each([
    ['no reader', ['--image', 'x'], 2, 'one of the options --vpcd'],
    ['a USB/IP port and no device', ['--usbip', '0', '--image', 'x'], 2, '--device KIND'],
    ['both roads', ['--vpcd', 'localhost:1', '--usbip', '0', '--device', 'magtek', '--image', 'x'], 2, 'cannot be used with option'],
    ['an unknown device', ['--usbip', '0', '--device', 'acr122', '--image', 'x'], 2, 'Allowed choices are rc-s300, rc-s380, magtek, vivotech, apdu-hid'],
    ['no port', ['--usbip', 'usb', '--device', 'magtek', '--image', 'x'], 2, 'port number'],
    ['an address without a port', ['--vpcd', 'localhost', '--image', 'x'], 2, 'HOST:PORT'],
    ['a short UID', ['--vpcd', 'localhost:1', '--image', 'x', '--uid', '04'], 2, '14 hex digits'],
    ['an unknown model', ['--vpcd', 'localhost:1', '--image', 'x', '--profile', 'ev1'], 2, 'Allowed choices are light, ev2, ev3'],
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
    for (const option of ['--vpcd', '--usbip', '--device', '--host', '--image', '--factory', '--profile', '--uid', '--json']) expect(stdout).toContain(option);
  });
});
