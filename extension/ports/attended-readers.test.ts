import { expect, test, vi } from 'vitest';
import type { ReaderInfo } from '#bridge/reader-source.ts';
import { createAttendedReaders } from './attended-readers.ts';
import { createSource } from './source.fixture.ts';

const settled = () => new Promise((resolve) => setImmediate(resolve));
const never = new AbortController().signal;
const PASORI: ReaderInfo = { name: 'PaSoRi', state: 'present' };

/** Sources that take until the test says so to give their readers back. */
function createSlowSources() {
  const finish: (() => void)[] = [];
  const sources: ReturnType<typeof createSource>[] = [];
  const open = vi.fn(() => {
    const slow = createSource([PASORI]);
    slow.source.close.mockImplementation(() => new Promise((resolve) => finish.push(resolve)));
    sources.push(slow);
    return slow.source;
  });
  return { open, sources, finish: () => finish.shift()?.() };
}

test('nothing is opened before somebody attends, and once however often it is said', () => {
  const { open } = createSlowSources();
  const readers = createAttendedReaders(open);
  expect(open).not.toHaveBeenCalled();
  readers.attend(true);
  readers.attend(true);
  expect(open).toHaveBeenCalledOnce();
  expect(readers.readers).toEqual([PASORI]);
});

test('without attention there are no readers, and whoever follows hears of it at once', async () => {
  const { open, sources } = createSlowSources();
  const readers = createAttendedReaders(open);
  const seen = vi.fn();
  readers.onReaders(seen);
  readers.attend(true);
  readers.attend(false);
  expect(seen.mock.lastCall).toEqual([[]]);
  expect(sources[0]?.source.close).toHaveBeenCalledOnce();
  await expect(readers.connect('PaSoRi', never)).rejects.toMatchObject({ code: 'reader/none' });
  // Late news of what is being given back are nobody's.
  sources[0]?.move([PASORI]);
  expect(seen).toHaveBeenCalledOnce();
});

test('readers are taken again only when they have been given back, and by the last word', async () => {
  const { open, finish } = createSlowSources();
  const readers = createAttendedReaders(open);
  readers.attend(true);
  readers.attend(false);
  readers.attend(true);
  await settled();
  expect(open).toHaveBeenCalledOnce();
  finish();
  await settled();
  expect(open).toHaveBeenCalledTimes(2);
  readers.attend(false);
  readers.attend(true);
  readers.attend(false);
  finish();
  await settled();
  expect(open).toHaveBeenCalledTimes(2);
});

test('news and cards are those of the readers that are held', async () => {
  const { open, sources } = createSlowSources();
  const readers = createAttendedReaders(open);
  const seen = vi.fn();
  const stop = readers.onReaders(seen);
  readers.attend(true);
  sources[0]?.move([{ ...PASORI, state: 'empty' }]);
  expect(seen).toHaveBeenCalledWith([{ name: 'PaSoRi', state: 'empty' }]);
  expect((await readers.connect('PaSoRi', never, 500)).readerName).toBe('PaSoRi');
  expect(sources[0]?.connect).toHaveBeenCalledWith('PaSoRi', never, 500);
  stop();
  sources[0]?.move([]);
  expect(seen).toHaveBeenCalledOnce();
});

test('closed, it waits for the readers to be given back, and never takes them again', async () => {
  const { open, finish } = createSlowSources();
  const readers = createAttendedReaders(open);
  readers.attend(true);
  const over = vi.fn();
  const closed = readers.close().then(over);
  readers.attend(true);
  await settled();
  expect(over).not.toHaveBeenCalled();
  finish();
  await closed;
  expect(open).toHaveBeenCalledOnce();
});
