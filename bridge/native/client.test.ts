import { describe, expect, test, vi } from 'vitest';
import { parseHex } from '#protocol/bytes.ts';
import { openNativeHost } from './client.ts';
import { NATIVE_PROTOCOL_VERSION } from './messages.ts';
import type { NativePort } from './port.ts';

interface Answering {
  readonly id: number;
  readonly op: string;
}
const READERS = { readers: [{ name: 'R', state: 'present', atr: '3B80800101' }] };
const HELLO = { version: '1.0.0', protocol: NATIVE_PROTOCOL_VERSION, platform: 'linux', backends: ['pcsc'] };
const never = new AbortController().signal;

/** A host of the test's making: `answer` says what comes back for a request; nothing for undefined. */
function fakePort(answer: (request: Answering) => unknown) {
  let onMessage: (message: unknown) => void = () => undefined;
  let onDisconnect: () => void = () => undefined;
  const requests: Answering[] = [];
  const port: NativePort & { disconnected: boolean; say(message: unknown): void; die(): void } = {
    disconnected: false,
    postMessage(message) {
      const request = message as Answering;
      requests.push(request);
      const given = answer(request);
      if (given !== undefined) queueMicrotask(() => onMessage(given));
    },
    disconnect() {
      port.disconnected = true;
    },
    onMessage: { addListener: (listener) => { onMessage = listener; } },
    onDisconnect: { addListener: (listener) => { onDisconnect = listener; } },
    say: (message) => onMessage(message),
    die: () => onDisconnect(),
  };
  return { port, requests };
}

const honest = (request: Answering): unknown => {
  if (request.op === 'hello') return { id: request.id, ok: HELLO };
  if (request.op === 'watch') return { id: request.id, ok: READERS };
  if (request.op === 'connect') return { id: request.id, ok: { channel: 1, atr: '3B80800101' } };
  if (request.op === 'disconnect') return { id: request.id, ok: {} };
  return undefined;
};
const open = (port: NativePort, lastError?: string) => openNativeHost({ connect: () => port, lastError: () => lastError, expectedVersion: '1.0.0', signal: never });
const SELECT = { apdu: parseHex('00A40000'), expectedStatus: 0x9000 };

describe('the native host, seen from the extension', () => {
  test('tells the readers now and whenever they change', async () => {
    const { port } = fakePort(honest);
    const host = await open(port);
    expect(host.readers).toEqual(READERS.readers);
    const seen: unknown[] = [];
    const stop = host.onReaders((readers) => seen.push(readers));
    port.say({ event: 'readers', readers: [] });
    port.say({ event: 'readers', readers: [], problem: 'reader/no-service' });
    expect(host.problem).toMatchObject({ code: 'reader/no-service' });
    stop();
    port.say({ event: 'readers', ...READERS });
    expect(seen).toEqual([[], []]);
    expect(host.readers).toEqual(READERS.readers);
    expect(host.problem).toBeUndefined();
  });

  test.each([
    ['Specified native messaging host not found.', 'host/missing'],
    ['Access to the specified native messaging host is forbidden.', 'host/missing'],
    ['No such native application dev.kessai.host', 'host/missing'],
    ['Native host has exited.', 'host/failed'],
    [undefined, 'host/failed'],
  ])('a port that closes with "%s" before the first word is %s', async (reason, code) => {
    const { port } = fakePort(() => undefined);
    const opening = open(port, reason);
    port.die();
    await expect(opening).rejects.toMatchObject({ code });
  });

  test('a browser without native messaging has no host', async () => {
    await expect(openNativeHost({ connect: () => { throw new TypeError('connectNative is not a function'); }, expectedVersion: '1.0.0', signal: never })).rejects.toMatchObject({ code: 'host/missing' });
  });

  test.each([
    ['another version', { ...HELLO, version: '1.0.1' }, 'host/version'],
    ['another protocol', { ...HELLO, protocol: NATIVE_PROTOCOL_VERSION + 1 }, 'host/version'],
    ['no version', {}, 'host/malformed'],
  ])('a host of %s is refused and closed', async (_, hello, code) => {
    const { port } = fakePort((request) => ({ id: request.id, ok: hello }));
    await expect(open(port)).rejects.toMatchObject({ code });
    expect(port.disconnected).toBe(true);
  });

  test.each<[string, unknown]>([
    ['no message', 'hello'],
    ['an unknown event', { event: 'update' }],
    ['an answer to no request', { id: 99, ok: {} }],
    ['an unknown member', { event: 'readers', readers: [], extra: 1 }],
    ['too many readers', { event: 'readers', readers: Array.from({ length: 17 }, () => READERS.readers[0]) }],
    ['a state that there is not', { event: 'readers', readers: [{ name: 'R', state: 'hot' }] }],
  ])('a host that says %s is not believed any more', async (_, message) => {
    const { port } = fakePort(honest);
    const host = await open(port);
    port.say(message);
    expect(port.disconnected).toBe(true);
    expect(host.problem).toMatchObject({ code: 'host/malformed' });
    await expect(host.connect('R', never)).rejects.toMatchObject({ code: 'host/malformed' });
  });

  test('a host that dies in the middle of a batch leaves it unknown', async () => {
    const { port } = fakePort(honest);
    const host = await open(port);
    const channel = await host.connect('R', never);
    const batch = channel.transmit([SELECT], never);
    port.die();
    await expect(batch).rejects.toMatchObject({ name: 'TransmitFailure', code: 'host/failed', responses: [] });
    await expect(channel.transmit([SELECT], never)).rejects.toMatchObject({ code: 'card/removed' });
    expect(host.problem).toMatchObject({ code: 'host/failed' });
  });

  test.each<[string, unknown, string]>([
    ['more answers than commands', { ok: { responses: ['9000', '9000'] } }, 'host/malformed'],
    ['no answer at all', { ok: { responses: [] } }, 'host/malformed'],
    ['an answer that is not hex', { ok: { responses: ['zz'] } }, 'host/malformed'],
    ['a code that there is not', { error: { code: 'card/stolen' } }, 'host/malformed'],
    ['a lost card', { error: { code: 'card/removed', responses: [] } }, 'card/removed'],
  ])('a batch answered with %s fails with %s', async (_, answer, code) => {
    const { port } = fakePort((request) => (request.op === 'transmit' ? { id: request.id, ...(answer as object) } : honest(request)));
    const channel = await (await open(port)).connect('R', never);
    await expect(channel.transmit([SELECT], never)).rejects.toMatchObject({ name: 'TransmitFailure', code });
  });

  test('the whole batch is one message', async () => {
    const { port, requests } = fakePort((request) => (request.op === 'transmit' ? { id: request.id, ok: { responses: ['9000', '6A82'] } } : honest(request)));
    const channel = await (await open(port)).connect('R', never);
    await channel.transmit([SELECT, SELECT, SELECT], never);
    expect(requests.filter(({ op }) => op === 'transmit')).toHaveLength(1);
  });

  test('a host that does not answer is given up in time', async () => {
    vi.useFakeTimers();
    try {
      const { port } = fakePort(() => undefined);
      const opening = expect(open(port)).rejects.toMatchObject({ code: 'host/failed' });
      await vi.advanceTimersByTimeAsync(15_000);
      await opening;
      expect(port.disconnected).toBe(true);
    } finally {
      vi.useRealTimers();
    }
  });

  test('a channel that opens after the customer has left is given back', async () => {
    const { port, requests } = fakePort(honest);
    const host = await open(port);
    const abort = new AbortController();
    const connecting = host.connect('R', abort.signal);
    abort.abort();
    await expect(connecting).rejects.toMatchObject({ code: 'payment/aborted' });
    expect(requests.at(-1)).toMatchObject({ op: 'disconnect', channel: 1 });
  });

  const FINDING = { id: 'port100', state: 'problem', about: 'RC-S380', seen: 'held' };
  test('tells what the host finds in its surroundings', async () => {
    const { port } = fakePort((request) => (request.op === 'diagnose' ? { id: request.id, ok: { findings: [FINDING, { id: 'pcsc-service', state: 'ok', seen: 'it answers' }] } } : honest(request)));
    expect(await (await open(port)).diagnose()).toEqual([FINDING, { id: 'pcsc-service', state: 'ok', seen: 'it answers' }]);
  });

  test.each<[string, unknown]>([
    ['an id that there is not', { findings: [{ ...FINDING, id: 'haunted' }] }],
    ['a state that there is not', { findings: [{ ...FINDING, state: 'bad' }] }],
    ['a member of its own', { findings: [{ ...FINDING, path: '/home/a' }] }],
    ['a text without end', { findings: [{ ...FINDING, seen: 'x'.repeat(401) }] }],
    ['a name without end', { findings: [{ ...FINDING, about: 'x'.repeat(121) }] }],
    ['too many', { findings: Array.from({ length: 65 }, () => FINDING) }],
    ['none', {}],
  ])('findings with %s are not believed', async (_, answer) => {
    const { port } = fakePort((request) => (request.op === 'diagnose' ? { id: request.id, ok: answer } : honest(request)));
    await expect((await open(port)).diagnose()).rejects.toMatchObject({ code: 'host/malformed' });
    expect(port.disconnected).toBe(true);
  });
});
