import { beforeEach, expect, test, vi } from 'vitest';
import { Connector } from '#bridge/smart-card-connector.fixture.ts';
import { SMART_CARD_CONNECTOR_ID } from '#bridge/smart-card-connector.ts';
import { Failure } from '#protocol/failure.ts';
import { connectReaderProgram } from './reader-program.ts';
import { createReaders } from './readers.ts';
import { createSource } from './source.fixture.ts';

const runtime = vi.hoisted(() => ({ connect: vi.fn<(id: string) => unknown>(), lastError: undefined as { message: string } | undefined }));
const native = vi.hoisted(() => ({ connectNativeHost: vi.fn() }));
vi.mock('webextension-polyfill', () => ({ default: { runtime } }));
vi.mock('./native.ts', () => native);

const settled = () => new Promise((resolve) => setImmediate(resolve));

beforeEach(() => vi.clearAllMocks());

test.each(['linux', 'windows', 'macos', 'other'] as const)('on %s it is the native host, with its version and its doctor', async (system) => {
  const host = createSource([{ name: 'ACR1252', state: 'empty' }]);
  native.connectNativeHost.mockResolvedValueOnce(host.source);
  const program = await connectReaderProgram(system);
  expect(program).toMatchObject({ source: host.source, version: '0.1.0', platform: 'linux' });
  expect(await program.diagnose()).toEqual([]);
  expect(runtime.connect).not.toHaveBeenCalled();
});

test('on ChromeOS it is the Smart Card Connector: its readers stand in the list, and a card on one is opened', async () => {
  const connector = new Connector();
  runtime.connect.mockReturnValueOnce(connector.port);
  const readers = createReaders(async () => (await connectReaderProgram('chromeos')).source, undefined);
  await vi.waitFor(() => expect(readers.list).toMatchObject([{ name: 'Reader', state: 'present' }]));
  expect(runtime.connect).toHaveBeenCalledWith(SMART_CARD_CONNECTOR_ID);
  expect(native.connectNativeHost).not.toHaveBeenCalled();
  const { channel } = await readers.connect('Reader', new AbortController().signal);
  expect(connector.connected).toBe(true);
  await channel.close();
  readers.close();
  expect(connector.disconnected).toBe(true);
});

test('a Connector that is not installed closes the port, and is tried again only when somebody says so', async () => {
  const missing = new Connector();
  runtime.connect.mockReturnValueOnce(missing.port);
  const readers = createReaders(async () => (await connectReaderProgram('chromeos')).source, undefined);
  runtime.lastError = { message: 'Could not establish connection. Receiving end does not exist.' };
  missing.die();
  await settled();
  runtime.lastError = undefined;
  expect(readers).toMatchObject({ problem: 'connector/missing', list: [] });
  const installed = new Connector();
  runtime.connect.mockReturnValueOnce(installed.port);
  readers.retry();
  await vi.waitFor(() => expect(readers.list).toHaveLength(1));
  installed.die();
  expect(readers).toMatchObject({ problem: 'connector/failed', list: [] });
  expect(runtime.connect).toHaveBeenCalledTimes(2);
  readers.close();
});

test('a person who does not let us use the Connector is told what to do', async () => {
  const connector = new Connector();
  connector.instead.set('SCardEstablishContext', { error: 'Permission denied' });
  runtime.connect.mockReturnValueOnce(connector.port);
  await expect(connectReaderProgram('chromeos')).rejects.toMatchObject({ code: 'connector/refused' });
});

test('a host that cannot be started fails as it does', async () => {
  native.connectNativeHost.mockRejectedValueOnce(new Failure('host/missing'));
  await expect(connectReaderProgram('linux')).rejects.toMatchObject({ code: 'host/missing' });
});
