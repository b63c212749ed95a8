import { expect, test, vi } from 'vitest';
import type { ReaderInfo, ReaderSource } from '#bridge/reader-source.ts';
import { Failure, type FailureCode } from '#protocol/failure.ts';
import { createCardWatch } from './card-watch.ts';
import { createReaders } from './readers.ts';
import { createSource } from './source.fixture.ts';

const settled = () => new Promise((resolve) => setImmediate(resolve));
const never = new AbortController().signal;
const pasori = (state: ReaderInfo['state'], problem?: FailureCode): ReaderInfo => ({ name: 'PaSoRi', state, problem });
const noHost = () => Promise.reject<ReaderSource>(new Failure('host/missing'));

test('readers of both roads stand in one list, those that the browser drives first', async () => {
  const host = createSource([{ name: 'ACR1252', state: 'present' }]);
  const devices = createSource([pasori('empty')]);
  const readers = createReaders(() => Promise.resolve(host.source), () => devices.source);
  await settled();
  expect(readers.list.map(({ name }) => name)).toEqual(['PaSoRi', 'ACR1252']);
  expect((await readers.connect('ACR1252', never)).source).toBe(host.source);
});

test('one name on two roads is told apart, and each opens its own', async () => {
  const host = createSource([pasori('present')]);
  const devices = createSource([pasori('present')]);
  const readers = createReaders(() => Promise.resolve(host.source), () => devices.source);
  await settled();
  expect(readers.list.map(({ name }) => name)).toEqual(['PaSoRi', 'PaSoRi (PC/SC)']);
  await readers.connect('PaSoRi (PC/SC)', never);
  expect(host.connect).toHaveBeenCalledWith('PaSoRi', never);
  expect(devices.connect).not.toHaveBeenCalled();
});

test('a missing host is no problem while the browser has a reader by itself, and when that goes, it is the reader that is missing', async () => {
  const devices = createSource([]);
  const readers = createReaders(noHost, () => devices.source);
  await settled();
  expect(readers).toMatchObject({ problem: 'host/missing', starting: false });
  devices.move([pasori('empty')]);
  expect(readers.problem).toBeNull();
  devices.move([]);
  expect(readers.problem).toBe('reader/none');
});

test('whoever has paired a reader is asked for the reader, not for a program; another problem of the program is told', async () => {
  const isPaired = () => Promise.resolve(true);
  const without = createReaders(noHost, () => createSource([]).source, isPaired);
  const old = createReaders(() => Promise.reject<ReaderSource>(new Failure('host/version')), () => createSource([]).source, isPaired);
  await settled();
  expect([without.problem, old.problem]).toEqual(['reader/none', 'host/version']);
});

test('while the host starts nothing is missing yet', async () => {
  const readers = createReaders(() => new Promise(() => undefined), undefined);
  await settled();
  expect(readers).toMatchObject({ problem: null, starting: true });
});

test('a host that answers nonsense is ended, and started again only when somebody says so', async () => {
  const host = createSource([{ name: 'ACR1252', state: 'present' }]);
  host.connect.mockRejectedValueOnce(new Failure('host/malformed'));
  const open = vi.fn(() => Promise.resolve(host.source));
  const readers = createReaders(open, undefined);
  await settled();
  await expect(readers.connect('ACR1252', never)).rejects.toMatchObject({ code: 'host/malformed' });
  expect(host.source.close).toHaveBeenCalledOnce();
  expect(readers).toMatchObject({ problem: 'host/malformed', list: [] });
  readers.retry();
  await settled();
  expect(open).toHaveBeenCalledTimes(2);
  expect(readers.problem).toBeNull();
});

test('closed while the host starts: it is ended as soon as it runs', async () => {
  const host = createSource([]);
  const devices = createSource([]);
  const readers = createReaders(() => Promise.resolve(host.source), () => devices.source);
  readers.close();
  await settled();
  expect(host.source.close).toHaveBeenCalledOnce();
  expect(devices.source.close).toHaveBeenCalledOnce();
});

test('the card is opened where it is: on the reader of one road or of the other', async () => {
  const host = createSource([{ name: 'ACR1252', state: 'empty' }]);
  const devices = createSource([pasori('empty')]);
  const watch = createCardWatch(createReaders(() => Promise.resolve(host.source), () => devices.source), null);
  await settled();
  const card = watch.awaitCard(never, () => undefined);
  devices.move([pasori('present')]);
  expect((await card).readerName).toBe('PaSoRi');
});

test.each<[FailureCode]>([['reader/permission'], ['reader/driver'], ['reader/in-use'], ['card/several'], ['card/unsupported']])('what is wrong with the only reader (%s) is what the customer is told', async (code) => {
  const watch = createCardWatch(createReaders(noHost, () => createSource([pasori('empty', code)]).source), null);
  await settled();
  expect(watch.view.problem).toBe(code);
});

test.each<[FailureCode]>([['host/failed'], ['connector/failed']])('a program that dies (%s) is started again only when somebody says so', async (code) => {
  const program = createSource([{ name: 'ACR1252', state: 'empty' }]);
  const open = vi.fn(() => Promise.resolve(program.source));
  const readers = createReaders(open, undefined);
  await settled();
  program.move([], code);
  expect(readers).toMatchObject({ problem: code, list: [] });
  expect(open).toHaveBeenCalledOnce();
  program.move([{ name: 'ACR1252', state: 'empty' }]);
  readers.retry();
  await settled();
  expect(readers.list).toHaveLength(1);
});

test('without attention the browser holds no reader, and the program serves all the same', async () => {
  const host = createSource([{ name: 'ACR1252', state: 'present' }]);
  const devices = createSource([pasori('present')]);
  const readers = createReaders(() => Promise.resolve(host.source), () => devices.source);
  await settled();
  readers.attend(false);
  expect(devices.source.close).toHaveBeenCalledOnce();
  expect(readers.list.map(({ name }) => name)).toEqual(['ACR1252']);
  await expect(readers.connect('PaSoRi', never)).rejects.toMatchObject({ code: 'reader/none' });
  readers.attend(true);
  await settled();
  expect(readers.list.map(({ name }) => name)).toEqual(['PaSoRi', 'ACR1252']);
});

test('of several readers one that does not work is told where it stands, and where none works the first says why', async () => {
  const devices = createSource([pasori('empty', 'reader/permission'), { name: 'DynaFlex', state: 'empty' }]);
  const watch = createCardWatch(createReaders(noHost, () => devices.source), null);
  await settled();
  expect(watch.view).toMatchObject({ problem: null, readers: [{ problem: 'reader/permission' }, { state: 'empty' }] });
  watch.choose('PaSoRi');
  expect(watch.view.problem).toBe('reader/permission');
  watch.choose(null);
  devices.move([pasori('empty', 'reader/permission'), { name: 'DynaFlex', state: 'in-use', problem: 'reader/in-use' }]);
  expect(watch.view.problem).toBe('reader/permission');
});
