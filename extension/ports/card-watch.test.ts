import { expect, test, vi } from 'vitest';
import type { NativeHost } from '#bridge/native/client.ts';
import type { ReaderInfo } from '#bridge/reader-source.ts';
import { Failure, type FailureCode } from '#protocol/failure.ts';
import { createCardWatch, type ReaderView } from './card-watch.ts';
import { createReaders } from './readers.ts';
import { createSource } from './source.fixture.ts';

const FELICA = 'SONY RC-S300';
const OTHER = 'ACR1252';

function createHost(readers: readonly ReaderInfo[]) {
  const { source, ...moves } = createSource(readers);
  return { host: source, ...moves };
}

const watchReaders = (open: () => Promise<NativeHost>, chosen: string | null) => createCardWatch(createReaders(open, undefined), chosen);
const reader = (state: ReaderInfo['state'], name = FELICA): ReaderInfo => ({ name, state });
const settled = () => new Promise((resolve) => setImmediate(resolve));
const patient = () => new AbortController().signal;
const noCommands = () => undefined;

test('a card that lies there already is opened', async () => {
  const { host } = createHost([reader('present')]);
  const watch = watchReaders(() => Promise.resolve(host), null);
  expect((await watch.awaitCard(patient(), noCommands)).readerName).toBe(FELICA);
});

test('it waits until a card is put on any reader', async () => {
  const { host, connect, move } = createHost([reader('empty'), reader('empty', OTHER)]);
  const watch = watchReaders(() => Promise.resolve(host), null);
  const card = watch.awaitCard(patient(), noCommands);
  await settled();
  expect(connect).not.toHaveBeenCalled();
  move([reader('empty'), reader('present', OTHER)]);
  expect((await card).readerName).toBe(OTHER);
});

test('with a chosen reader a card elsewhere is left alone; a chosen reader that is away is no obstacle', async () => {
  const { host, connect, move } = createHost([reader('empty'), reader('present', OTHER)]);
  const watch = watchReaders(() => Promise.resolve(host), FELICA);
  const card = watch.awaitCard(patient(), noCommands);
  await settled();
  expect(watch.view.chosen).toBe(FELICA);
  expect(connect).not.toHaveBeenCalled();
  move([reader('present', OTHER)]);
  expect((await card).readerName).toBe(OTHER);
});

test.each<[FailureCode]>([['host/missing'], ['host/version'], ['host/failed'], ['host/malformed']])('%s is shown, and tried again only when the customer says so', async (code) => {
  const { host } = createHost([reader('present')]);
  const open = vi.fn<() => Promise<NativeHost>>().mockRejectedValueOnce(new Failure(code)).mockResolvedValueOnce(host);
  const watch = watchReaders(open, null);
  const card = watch.awaitCard(patient(), noCommands);
  await settled();
  expect(watch.view).toMatchObject({ problem: code, starting: false, readers: [] });
  expect(open).toHaveBeenCalledTimes(1);
  watch.retry();
  await card;
  expect(watch.view.problem).toBeNull();
});

test('no service, no reader, a mute card and a busy reader have their own codes', async () => {
  const { host, move } = createHost([]);
  const watch = watchReaders(() => Promise.resolve(host), null);
  const seen: (string | null)[] = [];
  watch.onView = (view: ReaderView) => void seen.push(view.problem);
  await settled();
  move([], 'reader/no-service');
  move([reader('mute')]);
  move([reader('in-use')]);
  move([reader('empty')]);
  expect(seen).toEqual(['reader/none', 'reader/no-service', 'card/silent', 'reader/in-use', null]);
});

test('a card that could not be opened is left alone until it is taken away or the customer tries again', async () => {
  const { host, connect, move } = createHost([reader('present')]);
  connect.mockRejectedValueOnce(new Failure('card/silent'));
  const watch = watchReaders(() => Promise.resolve(host), null);
  const card = watch.awaitCard(patient(), noCommands);
  await settled();
  expect(watch.view.problem).toBe('card/silent');
  move([reader('present')]);
  await settled();
  expect(connect).toHaveBeenCalledTimes(1);
  move([reader('empty')]);
  expect(watch.view.problem).toBeNull();
  move([reader('present')]);
  await card;
  expect(connect).toHaveBeenCalledTimes(2);
});

test('a failure about a card that was changed meanwhile is not held against the one that lies there now', async () => {
  const { host, connect, move } = createHost([reader('present')]);
  let fail: (failure: Failure) => void = () => undefined;
  connect.mockImplementationOnce(() => new Promise((_, reject) => (fail = reject)));
  const watch = watchReaders(() => Promise.resolve(host), null);
  const card = watch.awaitCard(patient(), noCommands);
  await vi.waitFor(() => expect(connect).toHaveBeenCalledTimes(1));
  move([reader('empty')]);
  move([reader('present')]);
  fail(new Failure('card/silent'));
  await card;
  expect(connect).toHaveBeenCalledTimes(2);
});

test.each<[FailureCode]>([['card/absent'], ['card/removed']])('a reader that says "present" a moment too long (%s) is asked again', async (code) => {
  vi.useFakeTimers({ toFake: ['setTimeout'] });
  try {
    const { host, connect } = createHost([reader('present')]);
    connect.mockRejectedValueOnce(new Failure(code));
    const watch = watchReaders(() => Promise.resolve(host), null);
    const card = watch.awaitCard(patient(), noCommands);
    await settled();
    expect(watch.view.problem).toBe(code);
    await vi.advanceTimersByTimeAsync(1_000);
    await card;
    expect(watch.view.problem).toBeNull();
  } finally {
    vi.useRealTimers();
  }
});

test('a card that another program had for a moment is opened as soon as it is free', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout'] });
  try {
    const { host, connect } = createHost([reader('present')]);
    connect.mockRejectedValueOnce(new Failure('reader/in-use'));
    const watch = watchReaders(() => Promise.resolve(host), null);
    const card = watch.awaitCard(patient(), noCommands);
    await settled();
    expect(watch.view.problem).toBe('reader/in-use');
    await vi.advanceTimersByTimeAsync(1_000);
    await card;
    expect(connect).toHaveBeenCalledTimes(2);
  } finally {
    vi.useRealTimers();
  }
});

test('a host that dies while the card is opened is not started again by itself', async () => {
  const { host, connect } = createHost([reader('present')]);
  connect.mockRejectedValueOnce(new Failure('host/failed'));
  const open = vi.fn(() => Promise.resolve(host));
  const watch = watchReaders(open, null);
  void watch.awaitCard(patient(), noCommands).catch(() => undefined);
  await settled();
  expect(watch.view.problem).toBe('host/failed');
  expect(open).toHaveBeenCalledTimes(1);
});

test('the card that lies there can be held back until it has been away', async () => {
  const { host, connect, move } = createHost([reader('present')]);
  const watch = watchReaders(() => Promise.resolve(host), null);
  await settled();
  watch.holdPresentCard();
  const card = watch.awaitCard(patient(), noCommands);
  move([reader('in-use')]);
  move([reader('present')]);
  await settled();
  expect(connect).not.toHaveBeenCalled();
  move([reader('empty')]);
  move([reader('present')]);
  await card;
});

test('only the customer ends the waiting', async () => {
  const { host } = createHost([reader('empty')]);
  const controller = new AbortController();
  const watch = watchReaders(() => Promise.resolve(host), null);
  const card = watch.awaitCard(controller.signal, noCommands);
  await settled();
  controller.abort(new Failure('payment/aborted'));
  await expect(card).rejects.toMatchObject({ code: 'payment/aborted' });
});

test('closing ends the host, also one that is still starting', async () => {
  const { host } = createHost([]);
  let started: (host: NativeHost) => void = () => undefined;
  const watch = watchReaders(() => new Promise((resolve) => (started = resolve)), null);
  watch.close();
  started(host);
  await settled();
  expect(host.close).toHaveBeenCalledOnce();
});
