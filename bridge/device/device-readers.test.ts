import { afterEach, expect, test, vi } from 'vitest';
import { parseHex } from '#protocol/bytes.ts';
import type { FailureCode } from '#protocol/failure.ts';
import { describeCardChannel } from '../card-channel.contract.ts';
import type { ReaderInfo } from '../reader-source.ts';
import type { ReaderPace } from './attached-reader.ts';
import { openDeviceReaders, type DeviceBus } from './device-readers.ts';
import { ScriptedDriver } from './driver.fixture.ts';

const QUICK: ReaderPace = { seekMs: 2, presenceMs: 2, reopenMs: 2, longestReopenMs: 4 };
const ECHO = { apdu: parseHex('80EE0000010100'), expectedStatus: 0x9100 };
const MUTE = { apdu: parseHex('80DD000000'), expectedStatus: 0x9100 };
const never = new AbortController().signal;

/** A bus whose devices the test plugs in and out. */
function createBus(...drivers: ScriptedDriver[]) {
  const devices = new Map<object, ScriptedDriver>(drivers.map((driver) => [{}, driver]));
  let changed = (): void => undefined;
  const bus: DeviceBus<object> = {
    devices: () => Promise.resolve([...devices.keys()]),
    onChange: (callback) => {
      changed = callback;
      return () => (changed = () => undefined);
    },
    createDriver: (device) => devices.get(device) ?? new ScriptedDriver(),
  };
  const plug = (driver: ScriptedDriver): void => {
    devices.set({}, driver);
    changed();
  };
  const unplug = (driver: ScriptedDriver): void => {
    driver.unplugged = true;
    for (const [device, candidate] of devices) if (candidate === driver) devices.delete(device);
    changed();
  };
  return { bus, plug, unplug };
}

const opened: { close(): Promise<void> }[] = [];
afterEach(async () => {
  for (const source of opened.splice(0)) await source.close();
});

function open(...buses: DeviceBus<object>[]) {
  const source = openDeviceReaders(buses, QUICK);
  opened.push(source);
  return source;
}

type Source = ReturnType<typeof open>;
const reader = (name: string, state: ReaderInfo['state'], problem?: FailureCode) => ({ name, state, problem });
const untilReaders = (source: Source, ...readers: ReaderInfo[]) => vi.waitFor(() => expect(source.readers).toEqual(readers), { interval: 1 });

describeCardChannel('a reader that the browser drives by itself', async () => {
  const driver = new ScriptedDriver();
  const source = open(createBus(driver).bus);
  await untilReaders(source, reader('Reader', 'present'));
  const connect = () => source.connect('Reader', never, 300);
  return {
    channel: await connect(),
    commandsSeen: () => driver.commands,
    lift: async () => {
      driver.cardThere = false;
      await untilReaders(source, reader('Reader', 'empty'));
    },
    reopen: async () => {
      await untilReaders(source, reader('Reader', 'present'));
      return connect();
    },
    end: () => source.close(),
  };
});

test('cards and readers are noticed as they come and go', async () => {
  const first = new ScriptedDriver('First');
  const { bus, plug, unplug } = createBus(first);
  const source = open(bus);
  await untilReaders(source, reader('First', 'present'));
  first.cardThere = false;
  await untilReaders(source, reader('First', 'empty'));
  const second = new ScriptedDriver('Second');
  plug(second);
  await untilReaders(source, reader('First', 'empty'), reader('Second', 'present'));
  unplug(first);
  await untilReaders(source, reader('Second', 'present'));
  expect(first.calls.at(-1)).toBe('close');
});

test('two readers of one name can be told apart', async () => {
  const source = open(createBus(new ScriptedDriver('Twin')).bus, createBus(new ScriptedDriver('Twin')).bus);
  await untilReaders(source, reader('Twin', 'present'), reader('Twin (2)', 'present'));
  expect((await source.connect('Twin (2)', never)).readerName).toBe('Twin (2)');
});

test.each<[FailureCode, ReaderInfo['state']]>([
  ['reader/in-use', 'in-use'],
  ['reader/permission', 'empty'],
  ['reader/driver', 'empty'],
  ['reader/failed', 'empty'],
])('a reader that cannot be opened (%s) says why, and is tried again until it can', async (code, state) => {
  const driver = new ScriptedDriver();
  driver.openFailure = code;
  const source = open(createBus(driver).bus);
  await untilReaders(source, reader('Reader', state, code));
  await expect(source.connect('Reader', never)).rejects.toMatchObject({ code });
  driver.openFailure = undefined;
  await untilReaders(source, reader('Reader', 'present'));
});

test.each<[FailureCode]>([['card/several'], ['card/unsupported'], ['card/silent']])('what lies there and cannot be used (%s) is told, and looked at again', async (code) => {
  const driver = new ScriptedDriver();
  driver.findFailure = code;
  const source = open(createBus(driver).bus);
  await untilReaders(source, reader('Reader', 'mute', code));
  expect(driver.calls).toEqual(['open']);
  driver.findFailure = undefined;
  await untilReaders(source, reader('Reader', 'present'));
});

test('a reader that fails while it looks for a card is opened anew', async () => {
  const driver = new ScriptedDriver();
  driver.cardThere = false;
  const source = open(createBus(driver).bus);
  await untilReaders(source, reader('Reader', 'empty'));
  driver.findFailure = 'reader/failed';
  await untilReaders(source, reader('Reader', 'empty', 'reader/failed'));
  driver.findFailure = undefined;
  await untilReaders(source, reader('Reader', 'empty'));
  expect(driver.calls.slice(0, 3)).toEqual(['open', 'close', 'open']);
});

test('a card is lent to one at a time', async () => {
  const source = open(createBus(new ScriptedDriver()).bus);
  await untilReaders(source, reader('Reader', 'present'));
  const channel = await source.connect('Reader', never);
  await expect(source.connect('Reader', never)).rejects.toMatchObject({ code: 'reader/in-use' });
  await channel.close();
  await untilReaders(source, reader('Reader', 'present'));
  await vi.waitFor(async () => (await source.connect('Reader', never)).close());
});

test('a card that is lifted between two batches is told without a command', async () => {
  const driver = new ScriptedDriver();
  const source = open(createBus(driver).bus);
  await untilReaders(source, reader('Reader', 'present'));
  await source.connect('Reader', never);
  driver.cardThere = false;
  await untilReaders(source, reader('Reader', 'empty'));
  expect(driver.commands).toEqual([]);
});

test('a look at the card that fails breaks the channel, and the reader is brought in order', async () => {
  const driver = new ScriptedDriver();
  const source = open(createBus(driver).bus);
  await untilReaders(source, reader('Reader', 'present'));
  const channel = await source.connect('Reader', never);
  driver.presenceFailure = 'reader/failed';
  await vi.waitFor(() => expect(driver.calls).toContain('close'));
  driver.presenceFailure = undefined;
  await expect(channel.transmit([ECHO], never)).rejects.toMatchObject({ code: 'card/removed' });
  await untilReaders(source, reader('Reader', 'present'));
});

test('unplugged in the middle of a command: it fails with what came before, and nothing is sent again', async () => {
  const driver = new ScriptedDriver();
  const { bus, unplug } = createBus(driver);
  const source = open(bus);
  await untilReaders(source, reader('Reader', 'present'));
  const channel = await source.connect('Reader', never);
  const transmission = channel.transmit([ECHO, MUTE, ECHO], never).catch((thrown: unknown) => thrown);
  await vi.waitFor(() => expect(driver.commands).toHaveLength(2));
  unplug(driver);
  expect(await transmission).toMatchObject({ code: 'reader/failed', responses: [parseHex('019100')] });
  await untilReaders(source);
  expect(driver.commands).toHaveLength(2);
});

test('unplugged while the last card is let go of: whoever waits for the next one is told', async () => {
  const driver = new ScriptedDriver();
  const { bus, unplug } = createBus(driver);
  const source = open(bus);
  await untilReaders(source, reader('Reader', 'present'));
  let letGo = (): void => undefined;
  driver.releasing = new Promise((resolve) => (letGo = resolve));
  await (await source.connect('Reader', never)).close();
  await vi.waitFor(() => expect(driver.calls).toContain('release'));
  const waiting = expect(source.connect('Reader', never)).rejects.toMatchObject({ code: 'reader/failed' });
  unplug(driver);
  await waiting;
  letGo();
  await untilReaders(source);
});

test('a source that is closed in the middle of a command gives the reader back', async () => {
  const driver = new ScriptedDriver();
  const source = open(createBus(driver).bus);
  await untilReaders(source, reader('Reader', 'present'));
  const transmission = (await source.connect('Reader', never)).transmit([MUTE], never).catch((thrown: unknown) => thrown);
  await vi.waitFor(() => expect(driver.commands).toHaveLength(1));
  const closed = source.close();
  expect(await transmission).toMatchObject({ code: 'reader/failed' });
  await closed;
  expect(driver.calls.at(-1)).toBe('close');
});

test('closed is closed: only then is the reader free for the next source, and every caller of close waits for it', async () => {
  const driver = new ScriptedDriver();
  const source = open(createBus(driver).bus);
  await untilReaders(source, reader('Reader', 'present'));
  let release = (): void => undefined;
  const [close, held] = [driver.close.bind(driver), new Promise<void>((resolve) => (release = resolve))];
  driver.close = () => held.then(close);
  let isClosed = false;
  const closed = Promise.all([source.close(), source.close()]).then(() => (isClosed = true));
  await new Promise((resolve) => setImmediate(resolve));
  expect(isClosed).toBe(false);
  release();
  await closed;
  expect(driver.calls.at(-1)).toBe('close');
});

test('two callers of one channel take turns', async () => {
  const driver = new ScriptedDriver();
  const source = open(createBus(driver).bus);
  await untilReaders(source, reader('Reader', 'present'));
  const channel = await source.connect('Reader', never);
  const answers = await Promise.all([channel.transmit([ECHO, ECHO], never), channel.transmit([ECHO], never)]);
  expect(answers.map((answer) => answer.length)).toEqual([2, 1]);
});
