import { connect, createServer } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { answerOfContractCard, describeCardChannel, type ContractRig } from '#bridge/card-channel.contract.ts';
import { openNativeHost, type NativeHost } from '#bridge/native/client.ts';
import type { HostConfig } from './config.ts';
import { spawnHost, TEST_ORIGIN, type HostProcess } from './host-process.fixture.ts';
import { SIM_READER_NAME } from './sim/backend.ts';
import { TestCard } from './sim/test-card.fixture.ts';
import { HOST_VERSION } from './version.ts';

const never = new AbortController().signal;
const started: HostProcess[] = [];
afterEach(async () => {
  for (const host of started) host.port.disconnect();
  await Promise.all(started.splice(0).map((host) => host.ended));
});

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  return typeof address === 'object' && address !== null ? address.port : 0;
}

const simConfig = (port: number): HostConfig => ({ allowedOrigins: [TEST_ORIGIN], allowedExtensions: [], reader: { kind: 'sim', port } });

function start(config: HostConfig, options: Parameters<typeof spawnHost>[1] = {}): HostProcess {
  const host = spawnHost(config, options);
  started.push(host);
  return host;
}

function open(host: HostProcess, expectedVersion = HOST_VERSION): Promise<NativeHost> {
  return openNativeHost({ connect: () => host.port, expectedVersion, signal: never });
}

/** The reader's state as soon as it is the wanted one. */
function untilReader(native: NativeHost, state: string): Promise<void> {
  return new Promise((resolve) => {
    const look = () => {
      if (native.readers[0]?.state !== state) return;
      stop();
      resolve();
    };
    const stop = native.onReaders(look);
    look();
  });
}

/** The host's raw messages, for what the client hides. */
function rawMessages(host: HostProcess): unknown[] {
  const messages: unknown[] = [];
  host.port.onMessage.addListener((message) => messages.push(message));
  return messages;
}

async function openRig(): Promise<ContractRig> {
  const port = await freePort();
  const host = spawnHost(simConfig(port));
  const native = await open(host);
  const card = new TestCard(answerOfContractCard);
  await card.insert(port);
  await untilReader(native, 'present');
  return {
    channel: await native.connect(SIM_READER_NAME, never, 500),
    commandsSeen: () => card.commands,
    lift: async () => {
      await card.lift();
      await untilReader(native, 'empty');
    },
    reopen: () => native.connect(SIM_READER_NAME, never, 500),
    end: async () => {
      await native.close();
      expect(await host.ended).toBe(0);
      expect(host.strayOutput()).toBeUndefined();
    },
  };
}

describeCardChannel('the native host with the simulated reader', openRig);

describe('the host process', () => {
  test('ends at once when the browser hangs up, with a card in hand or not', async () => {
    const port = await freePort();
    const host = start(simConfig(port));
    const native = await open(host);
    const card = new TestCard(answerOfContractCard);
    await card.insert(port);
    await untilReader(native, 'present');
    await native.connect(SIM_READER_NAME, never);
    const before = performance.now();
    host.port.disconnect();
    expect(await host.ended).toBe(0);
    expect(performance.now() - before).toBeLessThan(1_000);
  });

  test('refuses a caller that is not one of ours, without a byte on stdout', async () => {
    const host = start(simConfig(1), { origin: 'chrome-extension://ponmlkjihgfedcbaponmlkjihgfedcba/' });
    const messages = rawMessages(host);
    expect(await host.ended).toBe(2);
    expect(messages).toEqual([]);
    expect(host.log()).toContain('not an extension of this installation');
  });

  test.each<[string, (host: HostProcess) => void]>([
    ['a frame larger than any of ours', (host) => void host.process.stdin?.write(Buffer.from('ffffff7f', 'hex'))],
    ['text that is not JSON', (host) => void host.process.stdin?.write(Buffer.from('\x03\0\0\0{x}', 'latin1'))],
    ['a request of an unknown shape', (host) => host.port.postMessage({ id: 1, op: 'reboot' })],
    ['a request with an unknown member', (host) => host.port.postMessage({ id: 1, op: 'watch', force: true })],
    ['an APDU that is not hex', (host) => host.port.postMessage({ id: 1, op: 'transmit', channel: 1, commands: [{ apdu: 'zz', expect: '9100' }], timeoutMs: 10 })],
    ['half a frame and the end', (host) => void host.process.stdin?.end(Buffer.from('0800', 'hex'))],
  ])('ends on %s', async (_, provoke) => {
    const host = start(simConfig(await freePort()));
    const messages = rawMessages(host);
    provoke(host);
    expect(await host.ended).toBe(3);
    expect(messages).toEqual([]);
  });

  test('answers what it cannot do with a code, and goes on', async () => {
    const host = start(simConfig(await freePort()));
    const messages = rawMessages(host);
    const native = await open(host);
    await expect(native.connect('No Such Reader', never)).rejects.toMatchObject({ code: 'reader/none' });
    await expect(native.connect(SIM_READER_NAME, never)).rejects.toMatchObject({ code: 'card/absent' });
    host.port.postMessage({ id: 1_000, op: 'transmit', channel: 7, commands: [{ apdu: '00A40000', expect: '9000' }], timeoutMs: 100 });
    await expect.poll(() => messages).toContainEqual({ id: 1_000, error: { code: 'card/removed' } });
  });

  test('keeps a foreign console.log off stdout', async () => {
    const noise = `process.on('SIGUSR2', () => console.log('noise'))`;
    const host = start(simConfig(await freePort()), { environment: { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(noise)}` } });
    const native = await open(host);
    host.process.kill('SIGUSR2');
    await expect.poll(() => host.log()).toContain('noise');
    await expect(native.connect('No Such Reader', never)).rejects.toMatchObject({ code: 'reader/none' });
    expect(host.strayOutput()).toBeUndefined();
  });

  test('a host of another version is told apart', async () => {
    const host = start(simConfig(await freePort()));
    await expect(open(host, '99.0.0')).rejects.toMatchObject({ code: 'host/version' });
    expect(await host.ended).toBe(0);
  });

  test('says what it finds in its surroundings, once for all who ask at once, and watches on', async () => {
    const host = start(simConfig(await freePort()));
    const native = await open(host);
    const [findings, same] = await Promise.all([native.diagnose(), native.diagnose()]);
    expect(findings).toEqual(same);
    expect(findings).toContainEqual({ id: 'node-version', state: 'ok', seen: `Node.js ${process.versions.node}` });
    expect(findings).toContainEqual(expect.objectContaining({ id: 'pcsc-service', state: 'unknown' }));
    expect(native.readers).toEqual([{ name: SIM_READER_NAME, state: 'empty' }]);
  });

  test('two hosts want one reader: the second hears that it is in use, and has it when the first has ended', async () => {
    const port = await freePort();
    const first = start(simConfig(port));
    await open(first);
    const second = start(simConfig(port));
    const native = await open(second);
    expect(native.readers).toEqual([{ name: SIM_READER_NAME, state: 'in-use' }]);
    await expect(native.connect(SIM_READER_NAME, never)).rejects.toMatchObject({ code: 'reader/in-use' });
    first.port.disconnect();
    await untilReader(native, 'empty');
  });

  test('a thing on the reader that does not answer as a card is called mute', async () => {
    const port = await freePort();
    const native = await open(start(simConfig(port)));
    const silent = connect(port, '127.0.0.1');
    await untilReader(native, 'mute');
    await expect(native.connect(SIM_READER_NAME, never)).rejects.toMatchObject({ code: 'card/silent' });
    silent.destroy();
    await untilReader(native, 'empty');
  });
});
