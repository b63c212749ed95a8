import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { answerOfContractCard, describeCardChannel, type ContractRig } from '#bridge/card-channel.contract.ts';
import { encodeHex, parseHex } from '#protocol/bytes.ts';
import { PCSC_CONFIG, spawnHost, type HostProcess } from '#bridge/host/host-process.fixture.ts';
import { TEST_ATR, TestCard } from '#bridge/host/sim/test-card.fixture.ts';
import { HOST_VERSION } from '#bridge/host/version.ts';
import { openNativeHost, type NativeHost } from '#bridge/native/client.ts';
import type { ReaderInfo } from '#bridge/reader-source.ts';
import { startVirtualReader, type VirtualReader } from './virtual-reader.ts';

/** Far beyond what a busy machine needs; each wait says what it was for, long before the test itself is stopped in silence. */
const WAIT_LIMIT_MS = 15_000;
vi.setConfig({ testTimeout: 60_000 });

const never = new AbortController().signal;
const echo = (byte: string) => ({ apdu: parseHex(`80EE000001${byte}00`), expectedStatus: 0x9100 });
const MUTE = { apdu: parseHex('80DD000000'), expectedStatus: 0x9100 };
const folder = mkdtempSync(join(tmpdir(), 'kessai-pcsc-'));
const cards: TestCard[] = [];
const desks: Desk[] = [];
let reader: VirtualReader;

beforeAll(async () => {
  reader = await startVirtualReader({ folder });
});
afterEach(async () => {
  // Lifted first, as a person would: a driver that still waits for a mute card's answer blocks the reader for everyone.
  for (const card of cards.splice(0)) await card.lift();
  await Promise.all(desks.splice(0).map(leaveDesk));
});
afterAll(async () => {
  await reader.stop();
  rmSync(folder, { recursive: true, force: true });
});

interface Desk {
  readonly host: HostProcess;
  readonly native: NativeHost;
  readonly name: string;
  readonly stateNow: () => ReaderInfo['state'] | 'gone';
  readonly until: (state: ReaderInfo['state'] | 'gone') => Promise<ReaderInfo | undefined>;
  /** Hangs up as the browser does; resolves to the host's exit code or signal. */
  readonly leave: () => Promise<number | string>;
}

async function inTime<T>(work: Promise<T>, waitedFor: () => string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<never>((_, fail) => {
    timer = setTimeout(() => fail(new Error(`waited ${WAIT_LIMIT_MS} ms for ${waitedFor()}`)), WAIT_LIMIT_MS);
  });
  try {
    return await Promise.race([work, limit]);
  } finally {
    clearTimeout(timer);
  }
}

/** A host at a reader that it sees empty: what an earlier test left behind is gone. */
async function openDeskAtEmptyReader(on: VirtualReader = reader): Promise<Desk> {
  const desk = await openDesk(on);
  await desk.until('empty');
  return desk;
}

async function openDesk(on: VirtualReader): Promise<Desk> {
  const host = spawnHost(PCSC_CONFIG, { environment: { ...on.environment } });
  const native = await openNativeHost({ connect: () => host.port, expectedVersion: HOST_VERSION, signal: never }).catch((reason: unknown) => {
    host.process.kill('SIGKILL');
    throw reason;
  });
  const [name = ''] = on.readerNames;
  const infoNow = () => native.readers.find((each) => each.name === name);
  const stateNow = () => infoNow()?.state ?? 'gone';
  const until = (state: ReaderInfo['state'] | 'gone') => {
    let stop = () => {};
    const seen = new Promise<ReaderInfo | undefined>((resolve) => {
      const look = () => {
        if (stateNow() === state) resolve(infoNow());
      };
      stop = native.onReaders(look);
      look();
    });
    return inTime(seen, () => `the reader to be ${state}; it is ${stateNow()} (${native.problem?.code ?? 'no problem'}), the host says "${host.log()}"`).finally(stop);
  };
  const leave = () => {
    void native.close();
    return inTime(host.ended, () => `the host to end; it says "${host.log()}"`);
  };
  const desk: Desk = { host, native, name, stateNow, until, leave };
  desks.push(desk);
  return desk;
}

/** Ends what a test left running, by its id if it must. */
async function leaveDesk({ host, leave }: Desk): Promise<void> {
  try {
    await leave();
  } finally {
    host.process.kill('SIGKILL');
  }
  expect(host.strayOutput()).toBeUndefined();
}

async function putCard(on: VirtualReader = reader): Promise<TestCard> {
  const card = new TestCard(answerOfContractCard);
  cards.push(card);
  await card.insert(on.vpcdPorts[0] ?? 0);
  return card;
}

async function openRig(): Promise<ContractRig> {
  const { native, name, until } = await openDeskAtEmptyReader();
  const card = await putCard();
  await until('present');
  return {
    channel: await native.connect(name, never, 1_000),
    commandsSeen: () => card.commands,
    lift: async () => {
      await card.lift();
      await until('empty');
    },
    reopen: () => native.connect(name, never, 1_000),
    // The virtual reader is no USB device that could be pulled: the service dies with it, which a client sees in the same way.
    unplug: async () => {
      await reader.crash();
      await until('gone');
    },
    replug: async () => {
      await card.lift();
      await reader.restart();
      await until('empty');
      await card.insert(reader.vpcdPorts[0] ?? 0);
      await until('present');
      return native.connect(name, never, 1_000);
    },
    // The card is lifted and the host ended after every test, however it ends.
    end: () => Promise.resolve(),
  };
}

describeCardChannel('the native host over PC/SC', openRig);

describe('the native host over PC/SC', () => {
  test('reports the card with its ATR, its use by ourselves as present, and its going', async () => {
    const { native, name, stateNow, until, leave } = await openDeskAtEmptyReader();
    const card = await putCard();
    expect(await until('present')).toEqual({ name, state: 'present', atr: TEST_ATR });
    const channel = await native.connect(name, never);
    expect(stateNow()).toBe('present');
    await channel.close();
    await card.lift();
    await until('empty');
    expect(await leave()).toBe(0);
  });

  test('gives the card back reset, so that the next program finds no session', async () => {
    const { native, name, until, leave } = await openDeskAtEmptyReader();
    const card = await putCard();
    await until('present');
    const channel = await native.connect(name, never);
    await channel.transmit([echo('01')], never);
    const before = card.resets;
    await channel.close();
    await expect.poll(() => card.resets, { timeout: WAIT_LIMIT_MS }).toBeGreaterThan(before);
    expect(await leave()).toBe(0);
  });

  test('two hosts compete for one reader: the second is told so, and has it once the first lets go', async () => {
    const [one, other] = await Promise.all([openDeskAtEmptyReader(), openDeskAtEmptyReader()]);
    await putCard();
    await Promise.all([one.until('present'), other.until('present')]);
    const channel = await one.native.connect(one.name, never);
    await other.until('in-use');
    await expect(other.native.connect(other.name, never)).rejects.toMatchObject({ code: 'reader/in-use' });
    await channel.close();
    await other.until('present');
    const second = await other.native.connect(other.name, never);
    expect((await second.transmit([echo('05')], never)).map(encodeHex)).toEqual(['059100']);
    expect(await Promise.all([one.leave(), other.leave()])).toEqual([0, 0]);
  });

  test('a card that was swapped for another is not the card that the channel was opened on', async () => {
    const { native, name, until, leave } = await openDeskAtEmptyReader();
    const card = await putCard();
    await until('present');
    const channel = await native.connect(name, never);
    await card.lift();
    await until('empty');
    const other = await putCard();
    await until('present');
    await expect(channel.transmit([echo('01')], never)).rejects.toMatchObject({ code: 'card/removed', responses: [] });
    expect(other.commands).toEqual([]);
    expect(await leave()).toBe(0);
  });

  test('a card that is put back at once is seen to go and to come', async () => {
    const { native, name, until, leave } = await openDeskAtEmptyReader();
    const card = await putCard();
    await until('present');
    const channel = await native.connect(name, never);
    await card.lift();
    await putCard();
    await until('empty');
    await until('present');
    await channel.close();
    const next = await native.connect(name, never);
    expect((await next.transmit([echo('03')], never)).map(encodeHex)).toEqual(['039100']);
    await next.close();
    expect(await leave()).toBe(0);
  });

  test('a host that ends while its card is lifted leaves a reader that sees the next card', async () => {
    const first = await openDeskAtEmptyReader();
    const card = await putCard();
    await first.until('present');
    await first.native.connect(first.name, never);
    await card.lift();
    expect(await first.leave()).toBe(0);
    await putCard();
    const second = await openDesk(reader);
    await second.until('present');
    const channel = await second.native.connect(second.name, never);
    expect((await channel.transmit([echo('09')], never)).map(encodeHex)).toEqual(['099100']);
  });

  test('answers and ends while a card is mute', async () => {
    const { native, name, until, leave } = await openDeskAtEmptyReader();
    await putCard();
    await until('present');
    const channel = await native.connect(name, never, 300);
    await expect(channel.transmit([MUTE], never)).rejects.toMatchObject({ code: 'card/silent' });
    await expect(native.connect('No Such Reader', never)).rejects.toMatchObject({ code: 'reader/none' });
    // A native call never came back, and Node would wait for its thread: the card is lifted only after this.
    expect(await leave()).toBe('SIGKILL');
  });

  test('the same reader serves again after a mute card was lifted', async () => {
    const { native, name, until, leave } = await openDeskAtEmptyReader();
    const card = await putCard();
    await until('present');
    const channel = await native.connect(name, never, 300);
    await expect(channel.transmit([MUTE], never)).rejects.toMatchObject({ code: 'card/silent' });
    await card.lift();
    await until('empty');
    await putCard();
    await until('present');
    const next = await native.connect(name, never);
    expect((await next.transmit([echo('07')], never)).map(encodeHex)).toEqual(['079100']);
    await next.close();
    expect(await leave()).toBe(0);
  });
});

describe('on a reader that announces nothing', () => {
  test('a card that was put back before the service looked, after a reset that found none, is found and woken', async () => {
    const polled = await startVirtualReader({ folder: join(folder, 'polled'), missesGaps: true });
    try {
      const { native, name, until, leave } = await openDeskAtEmptyReader(polled);
      const card = await putCard(polled);
      await until('present');
      const channel = await native.connect(name, never);
      await card.lift();
      // Its reset finds no card, which the service notes without counting a removal.
      await channel.close();
      await putCard(polled);
      await until('empty');
      await until('present');
      const next = await native.connect(name, never);
      expect((await next.transmit([echo('0B')], never)).map(encodeHex)).toEqual(['0B9100']);
      await next.close();
      expect(await leave()).toBe(0);
    } finally {
      await polled.stop();
    }
  });
});

describe('without a PC/SC service', () => {
  test('a service that dies is told as that, and nothing about a card', async () => {
    const { native, until, leave } = await openDeskAtEmptyReader();
    await reader.crash();
    try {
      await until('gone');
      // Its last words may still be about a reader that does not answer.
      await expect.poll(() => native.problem?.code).toBe('reader/no-service');
    } finally {
      await reader.restart();
    }
    await until('empty');
    expect(await leave()).toBe(0);
  });

  test('the host says so, and finds the readers when the service comes up', async () => {
    const place = join(folder, 'late');
    const trial = await startVirtualReader({ folder: place });
    await trial.stop();
    const { native, until, leave } = await openDesk(trial);
    expect(native.problem).toMatchObject({ code: 'reader/no-service' });
    await expect(native.connect('Any', never)).rejects.toMatchObject({ code: 'reader/no-service' });
    const late = await startVirtualReader({ folder: place });
    try {
      await until('empty');
      expect(native.problem).toBeUndefined();
    } finally {
      await late.stop();
    }
    await until('gone');
    await expect.poll(() => native.problem, { timeout: WAIT_LIMIT_MS }).toMatchObject({ code: 'reader/no-service' });
    expect(await leave()).toBe(0);
  });
});
