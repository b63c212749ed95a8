import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { answerOfContractCard, describeCardChannel, type ContractRig } from '#bridge/card-channel.contract.ts';
import { encodeHex, parseHex } from '#protocol/bytes.ts';
import { PCSC_CONFIG, spawnHost, type HostProcess } from '#bridge/host/host-process.fixture.ts';
import { TEST_ATR, TestCard } from '#bridge/host/sim/test-card.fixture.ts';
import { HOST_VERSION } from '#bridge/host/version.ts';
import { openNativeHost, type NativeHost, type ReaderInfo } from '#bridge/native/client.ts';
import { startVirtualReader, type VirtualReader } from './virtual-reader.ts';

const never = new AbortController().signal;
const echo = (byte: string) => ({ apdu: parseHex(`80EE000001${byte}00`), expectedStatus: 0x9100 });
const MUTE = { apdu: parseHex('80DD000000'), expectedStatus: 0x9100 };
const folder = mkdtempSync(join(tmpdir(), 'kessai-pcsc-'));
let reader: VirtualReader;

beforeAll(async () => {
  reader = await startVirtualReader({ folder });
});
afterAll(async () => {
  await reader.stop();
  rmSync(folder, { recursive: true, force: true });
});

interface Desk {
  readonly host: HostProcess;
  readonly native: NativeHost;
  readonly name: string;
  readonly until: (state: ReaderInfo['state'] | 'gone') => Promise<ReaderInfo | undefined>;
}

async function openDesk(on: VirtualReader = reader): Promise<Desk> {
  const host = spawnHost(PCSC_CONFIG, { environment: { ...on.environment } });
  const native = await openNativeHost({ connect: () => host.port, expectedVersion: HOST_VERSION, signal: never });
  const [name = ''] = on.readerNames;
  const until = (state: ReaderInfo['state'] | 'gone') =>
    new Promise<ReaderInfo | undefined>((resolve) => {
      const look = () => {
        const info = native.readers.find((each) => each.name === name);
        if ((info?.state ?? 'gone') !== state) return;
        stop();
        resolve(info);
      };
      const stop = native.onReaders(look);
      look();
    });
  return { host, native, name, until };
}

async function putCard(): Promise<TestCard> {
  const card = new TestCard(answerOfContractCard);
  await card.insert(reader.vpcdPorts[0] ?? 0);
  return card;
}

async function openRig(): Promise<ContractRig> {
  const { host, native, name, until } = await openDesk();
  await until('empty');
  const card = await putCard();
  await until('present');
  return {
    channel: await native.connect(name, never, 500),
    commandsSeen: () => card.commands,
    lift: async () => {
      await card.lift();
      await until('empty');
    },
    reopen: () => native.connect(name, never, 500),
    end: async () => {
      // Lifted first, as a person would: a driver that still waits for a mute card's answer blocks the reader for everyone.
      await card.lift();
      native.close();
      await host.ended;
      expect(host.strayOutput()).toBeUndefined();
    },
  };
}

describeCardChannel('the native host over PC/SC', openRig);

describe('the native host over PC/SC', () => {
  test('reports the card with its ATR, its use by ourselves as present, and its going', async () => {
    const { host, native, name, until } = await openDesk();
    await until('empty');
    const card = await putCard();
    expect(await until('present')).toEqual({ name, state: 'present', atr: TEST_ATR });
    const channel = await native.connect(name, never);
    expect(native.readers.find((each) => each.name === name)?.state).toBe('present');
    await channel.close();
    await card.lift();
    await until('empty');
    native.close();
    expect(await host.ended).toBe(0);
  });

  test('gives the card back reset, so that the next program finds no session', async () => {
    const { host, native, name, until } = await openDesk();
    const card = await putCard();
    await until('present');
    const channel = await native.connect(name, never);
    await channel.transmit([echo('01')], never);
    const before = card.resets;
    await channel.close();
    await expect.poll(() => card.resets).toBeGreaterThan(before);
    await card.lift();
    native.close();
    expect(await host.ended).toBe(0);
  });

  test('two hosts compete for one reader: the second is told so, and has it once the first lets go', async () => {
    const one = await openDesk();
    const other = await openDesk();
    const card = await putCard();
    await Promise.all([one.until('present'), other.until('present')]);
    const channel = await one.native.connect(one.name, never);
    await other.until('in-use');
    await expect(other.native.connect(other.name, never)).rejects.toMatchObject({ code: 'reader/in-use' });
    await channel.close();
    await other.until('present');
    const second = await other.native.connect(other.name, never);
    expect((await second.transmit([echo('05')], never)).map(encodeHex)).toEqual(['059100']);
    await card.lift();
    for (const desk of [one, other]) {
      desk.native.close();
      expect(await desk.host.ended).toBe(0);
    }
  });

  test('a card that was swapped for another is not the card that the channel was opened on', async () => {
    const { host, native, name, until } = await openDesk();
    const card = await putCard();
    await until('present');
    const channel = await native.connect(name, never);
    await card.lift();
    await until('empty');
    const other = await putCard();
    await until('present');
    await expect(channel.transmit([echo('01')], never)).rejects.toMatchObject({ code: 'card/removed', responses: [] });
    expect(other.commands).toEqual([]);
    await other.lift();
    native.close();
    expect(await host.ended).toBe(0);
  });

  test('answers and ends while a card is mute', async () => {
    const { host, native, name, until } = await openDesk();
    const card = await putCard();
    await until('present');
    const channel = await native.connect(name, never, 300);
    await expect(channel.transmit([MUTE], never)).rejects.toMatchObject({ code: 'card/silent' });
    await expect(native.connect('No Such Reader', never)).rejects.toMatchObject({ code: 'reader/none' });
    const before = performance.now();
    native.close();
    // A native call never came back, and Node would wait for its thread.
    expect(await host.ended).toBe('SIGKILL');
    expect(performance.now() - before).toBeLessThan(1_500);
    await card.lift();
  });

  test('the same reader serves again after a mute card was lifted', async () => {
    const { host, native, name, until } = await openDesk();
    const card = await putCard();
    await until('present');
    const channel = await native.connect(name, never, 300);
    await expect(channel.transmit([MUTE], never)).rejects.toMatchObject({ code: 'card/silent' });
    await card.lift();
    await until('empty');
    const other = await putCard();
    await until('present');
    const next = await native.connect(name, never);
    expect((await next.transmit([echo('07')], never)).map(encodeHex)).toEqual(['079100']);
    await other.lift();
    native.close();
    expect(await host.ended).toBe(0);
  });
});

describe('without a PC/SC service', () => {
  test('the host says so, and finds the readers when the service comes up', async () => {
    const place = join(folder, 'late');
    const trial = await startVirtualReader({ folder: place });
    await trial.stop();
    const { host, native, until } = await openDesk(trial);
    expect(native.problem).toMatchObject({ code: 'reader/no-service' });
    await expect(native.connect('Any', never)).rejects.toMatchObject({ code: 'reader/no-service' });
    const late = await startVirtualReader({ folder: place });
    await until('empty');
    expect(native.problem).toBeUndefined();
    await late.stop();
    await until('gone');
    await expect.poll(() => native.problem).toMatchObject({ code: 'reader/no-service' });
    native.close();
    expect(await host.ended).toBe(0);
  });
});
