import fc from 'fast-check';
import { describe, expect, test, vi } from 'vitest';
import { parseHex } from '#protocol/bytes.ts';
import { describeCardChannel, type ContractRig } from './card-channel.contract.ts';
import { Connector, EMPTY, EXCLUSIVE, never, PRESENT, type Answer } from './smart-card-connector.fixture.ts';
import { openSmartCardConnector } from './smart-card-connector.ts';

const SELECT = { apdu: parseHex('00A40000'), expectedStatus: 0x9000 };

describeCardChannel('the Smart Card Connector', async (): Promise<ContractRig> => {
  const connector = new Connector();
  const source = await connector.open();
  return {
    channel: await source.connect('Reader', never, 200),
    commandsSeen: () => connector.commands,
    lift: () => {
      connector.card = 'gone';
      return Promise.resolve();
    },
    reopen: () => source.connect('Reader', never, 200),
    end: () => source.close(),
  };
});

describe('the readers of the Smart Card Connector', () => {
  test('are told now and at every change, hot plug and a fast exchange of cards included', async () => {
    const connector = new Connector();
    const source = await connector.open();
    expect(source.readers).toEqual([{ name: 'Reader', state: 'present', atr: '3B8180018080' }]);
    const seen: string[] = [];
    source.onReaders((readers) => seen.push(readers.map(({ name, state }) => `${name}:${state}`).join(' ')));
    for (const [readers, expected] of [
      [[['Reader', EMPTY | 0x10000]], 'Reader:empty'],
      [[['Reader', PRESENT | 0x20000]], 'Reader:present'],
      [[['Reader', PRESENT | 0x40000]], 'Reader:empty,Reader:present'],
      [[['Reader', PRESENT | 0x40000], ['Second', EMPTY]], 'Reader:present Second:empty'],
      [[['Reader', PRESENT | EXCLUSIVE | 0x40000], ['Second', PRESENT | 0x200]], 'Reader:in-use Second:mute'],
      [[['Second', 0x8]], ''],
      [[], undefined],
    ] as [[string, number][], string | undefined][]) {
      seen.length = 0;
      const looks = connector.count('SCardListReaders');
      connector.change(readers);
      await vi.waitFor(() => expect(connector.count('SCardGetStatusChange') >= 2 && connector.count('SCardListReaders') > looks && connector.calls.at(-1)?.args[1] !== 0).toBe(true));
      expect(seen.length === 0 ? undefined : seen.join()).toBe(expected);
    }
    await source.close();
  });

  test('with our own card in use the reader is not in somebody\'s use', async () => {
    const connector = new Connector();
    const source = await connector.open();
    const channel = await source.connect('Reader', never);
    const waits = connector.count('SCardGetStatusChange');
    connector.change([['Reader', PRESENT | EXCLUSIVE]]);
    await vi.waitFor(() => expect(connector.count('SCardGetStatusChange')).toBeGreaterThan(waits + 1));
    expect(source.readers).toMatchObject([{ state: 'present' }]);
    await channel.close();
    await source.close();
  });

  test('waiting is for all readers and for new ones, without an event said twice', async () => {
    const connector = new Connector();
    connector.readers.set('Reader', PRESENT | 0x2 | 0x30000);
    const source = await connector.open();
    expect(connector.calls.map(({ name }) => name)).toEqual(['SCardEstablishContext', 'SCardListReaders', 'SCardGetStatusChange', 'SCardGetStatusChange']);
    expect(connector.calls.at(-1)?.args[2]).toEqual([
      { reader_name: 'Reader', current_state: PRESENT | 0x30000 },
      { reader_name: '\\\\?PnP?\\Notification', current_state: 1 << 16 },
    ]);
    await source.close();
  });

  test('a service that fails is a problem until it is back', async () => {
    vi.useFakeTimers();
    try {
      const connector = new Connector();
      const source = await connector.open();
      connector.instead.set('SCardListReaders', [0x8010001d]);
      connector.change([]);
      await vi.advanceTimersByTimeAsync(100);
      expect(source.problem).toMatchObject({ code: 'reader/no-service' });
      connector.instead.clear();
      connector.readers.set('Reader', PRESENT);
      await vi.advanceTimersByTimeAsync(4_000);
      connector.change([['Reader', PRESENT]]);
      await vi.advanceTimersByTimeAsync(100);
      expect(source.problem).toBeUndefined();
      expect(source.readers).toHaveLength(1);
      await source.close();
    } finally {
      vi.useRealTimers();
    }
  });

  test.each<[string, Answer, string]>([
    ['is not allowed by the person', { error: 'Permission denied' }, 'connector/refused'],
    ['has no PC/SC service', [0x8010001d], 'reader/no-service'],
    ['has none, with a signed status', [0x8010001d | 0], 'reader/no-service'],
    ['gives a context that is none', [0, 'context'], 'connector/failed'],
    ['gives nothing', [0], 'connector/failed'],
  ])('a Connector that %s is not opened', async (_, answer, code) => {
    const connector = new Connector();
    connector.instead.set('SCardEstablishContext', answer);
    await expect(connector.open()).rejects.toMatchObject({ code });
    expect(connector.disconnected).toBe(true);
  });

  test('a Connector that is not installed is no service', async () => {
    const connector = new Connector();
    connector.instead.set('SCardEstablishContext', 'nothing');
    const opening = expect(connector.open()).rejects.toMatchObject({ code: 'connector/missing' });
    connector.die();
    await opening;
    await expect(openSmartCardConnector({ connect: () => { throw new TypeError('no such extension'); }, signal: never })).rejects.toMatchObject({ code: 'connector/missing' });
  });

  test('the person has two minutes to decide, and may leave before', async () => {
    vi.useFakeTimers();
    try {
      const connector = new Connector();
      connector.instead.set('SCardEstablishContext', 'nothing');
      const opening = expect(connector.open()).rejects.toMatchObject({ code: 'connector/failed' });
      await vi.advanceTimersByTimeAsync(120_000);
      await opening;
      const abort = new AbortController();
      const aborted = expect(connector.open(abort.signal)).rejects.toMatchObject({ code: 'payment/aborted' });
      abort.abort();
      await aborted;
    } finally {
      vi.useRealTimers();
    }
  });
});

describe('the conversation with the Smart Card Connector', () => {
  test('a ping is answered with the number that we keep; another number of theirs ends the conversation', async () => {
    const connector = new Connector();
    const source = await connector.open();
    connector.say({ type: 'ping', data: {} });
    connector.say({ type: 'ping', data: {} });
    const pongs = connector.posted.filter(({ type }) => type === 'pong');
    expect(pongs).toHaveLength(2);
    expect(pongs[0]).toEqual(pongs[1]);
    expect(connector.posted[0]).toEqual({ type: 'ping', data: {} });
    connector.say({ type: 'pong', data: { channel_id: 7 } });
    connector.say({ type: 'pong', data: { channel_id: 7 } });
    expect(source.problem).toBeUndefined();
    connector.say({ type: 'pong', data: { channel_id: 8 } });
    expect(source.problem).toMatchObject({ code: 'connector/failed' });
    expect(source.readers).toEqual([]);
  });

  test.each<[string, unknown]>([
    ['nothing', undefined],
    ['a string', 'hello'],
    ['no type', { data: {} }],
    ['a ping with something in it', { type: 'ping', data: { a: 1 } }],
    ['a pong without a number', { type: 'pong', data: {} }],
    ['an answer to no call', { type: 'pcsc_lite_function_call::response', data: { request_id: 99, payload: [0] } }],
    ['an answer without a status', { type: 'pcsc_lite_function_call::response', data: { request_id: 1, payload: [] } }],
    ['an answer with a status that is no number', { type: 'pcsc_lite_function_call::response', data: { request_id: 1, payload: ['0'] } }],
    ['an answer that is also an error', { type: 'pcsc_lite_function_call::response', data: { request_id: 1, payload: [0], error: 'x' } }],
    ['an answer with too much', { type: 'pcsc_lite_function_call::response', data: { request_id: 1, payload: Array(9).fill(0) } }],
  ])('a Connector that says %s is not believed any more', async (_, message) => {
    const connector = new Connector();
    const source = await connector.open();
    connector.say(message);
    expect(connector.disconnected).toBe(true);
    expect(source.problem).toMatchObject({ code: 'connector/failed' });
    await expect(source.connect('Reader', never)).rejects.toMatchObject({ code: 'reader/failed' });
  });

  test('whatever it says, nothing is thrown at the browser', async () => {
    await fc.assert(fc.asyncProperty(fc.jsonValue(), fc.constantFrom('pcsc_lite_function_call::response', 'ping', 'pong', 'news'), async (data, type) => {
      const connector = new Connector();
      const source = await connector.open();
      connector.say({ type, data });
      expect(['connector/failed', undefined]).toContain(source.problem?.code);
      await source.close();
    }), { numRuns: 50 });
  });

  test('news that we do not know are left alone', async () => {
    const connector = new Connector();
    const source = await connector.open();
    connector.say({ type: 'something-new', data: 1 });
    expect(source.problem).toBeUndefined();
    await source.close();
  });
});

describe('a card through the Smart Card Connector', () => {
  test('is connected exclusively on a context of its own, reset when it is given back, and the context released', async () => {
    const connector = new Connector();
    const source = await connector.open();
    const channel = await source.connect('Reader', never);
    expect(connector.calls.at(-1)?.args.slice(1)).toEqual(['Reader', 1, 3]);
    expect(connector.heldContexts.size).toBe(2);
    await channel.transmit([SELECT], never);
    expect(connector.calls.at(-1)?.args.slice(1)).toEqual([{ protocol: 2 }, [0x00, 0xa4, 0x00, 0x00], null]);
    await channel.close();
    expect(connector.calls.slice(-2).map(({ name, args }) => [name, args[1]])).toEqual([['SCardDisconnect', 1], ['SCardReleaseContext', undefined]]);
    expect(connector.heldContexts.size).toBe(1);
    await source.close();
  });

  test.each<[number, string]>([
    [0x8010000b, 'reader/in-use'],
    [0x8010000c, 'card/absent'],
    [0x80100066, 'card/silent'],
    [0x80100009, 'reader/none'],
    [0x80100001, 'reader/failed'],
  ])('status %i of connecting is %s, and the context is released', async (status, code) => {
    const connector = new Connector();
    const source = await connector.open();
    connector.instead.set('SCardConnect', [status]);
    await expect(source.connect('Reader', never)).rejects.toMatchObject({ code });
    expect(connector.heldContexts.size).toBe(1);
    await source.close();
  });

  test.each<[string, Answer, string]>([
    ['removed', [0x80100069], 'card/removed'],
    ['reset', [0x80100068], 'card/removed'],
    ['lost on the way', [0x8010002f], 'card/removed'],
    ['on a reader that was unplugged', [0x80100017], 'reader/failed'],
    ['answering one byte', [0, {}, [0x90]], 'card/removed'],
    ['answering what are no bytes', [0, {}, [0x90, 256]], 'reader/failed'],
    ['answering too much', [0, {}, Array(259).fill(0)], 'reader/failed'],
    ['answering nothing at all', [0], 'reader/failed'],
  ])('a card %s: %j is %s', async (_, answer, code) => {
    const connector = new Connector();
    const source = await connector.open();
    const channel = await source.connect('Reader', never);
    connector.instead.set('SCardTransmit', answer);
    await expect(channel.transmit([SELECT, SELECT], never)).rejects.toMatchObject({ name: 'TransmitFailure', code, responses: [] });
    await expect(channel.transmit([SELECT], never)).rejects.toMatchObject({ code: 'card/removed' });
    expect(connector.count('SCardTransmit')).toBe(1);
    await source.close();
  });

  test('a Connector that dies in the middle of a batch leaves it unknown', async () => {
    const connector = new Connector();
    const source = await connector.open();
    const channel = await source.connect('Reader', never);
    connector.instead.set('SCardTransmit', 'nothing');
    const batch = expect(channel.transmit([SELECT], never)).rejects.toMatchObject({ name: 'TransmitFailure', code: 'reader/failed', responses: [] });
    await vi.waitFor(() => expect(connector.count('SCardTransmit')).toBe(1));
    connector.die();
    await batch;
    await channel.close();
    expect(source.problem).toMatchObject({ code: 'connector/failed' });
  });

  test('a card that is connected after the customer has left is given back', async () => {
    const connector = new Connector();
    const source = await connector.open();
    const abort = new AbortController();
    connector.onCall = (name) => {
      if (name === 'SCardConnect') abort.abort();
    };
    await expect(source.connect('Reader', abort.signal)).rejects.toMatchObject({ code: 'payment/aborted' });
    expect(connector.connected).toBe(false);
    expect(connector.heldContexts.size).toBe(1);
    await source.close();
  });

  test('two batches at once go one after the other', async () => {
    const connector = new Connector();
    const source = await connector.open();
    const channel = await source.connect('Reader', never);
    const echo = (byte: string) => ({ apdu: parseHex(`80EE000001${byte}00`), expectedStatus: 0x9100 });
    await Promise.all([channel.transmit([echo('01'), echo('02')], never), channel.transmit([echo('03')], never)]);
    expect(connector.commands).toEqual(['80EE0000010100', '80EE0000010200', '80EE0000010300']);
    await source.close();
  });
});
