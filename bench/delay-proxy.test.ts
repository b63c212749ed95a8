import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startDelayProxy, type DelayProxy } from './delay-proxy.ts';

describe('a proxy that stands for distance', () => {
  const server = createServer((socket) => socket.pipe(socket).on('error', () => undefined));
  let proxy: DelayProxy;

  beforeAll(async () => {
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()));
    proxy = await startDelayProxy((server.address() as AddressInfo).port);
  });
  afterAll(async () => {
    await proxy.close();
    await new Promise((resolve) => server.close(resolve));
  });

  const open = (): Promise<Socket> => new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port: proxy.port }, () => resolve(socket));
  });
  const echo = (socket: Socket, text: string): Promise<{ text: string; ms: number }> => {
    const startedAt = performance.now();
    let heard = '';
    return new Promise((resolve) => {
      const listen = (chunk: Buffer): void => {
        heard += chunk.toString();
        if (heard.length < text.length) return;
        socket.off('data', listen);
        resolve({ text: heard, ms: performance.now() - startedAt });
      };
      socket.on('data', listen);
      socket.write(text);
    });
  };

  test('the first exchange of a connection costs two round trips, as TCP asks, and the next one costs one', async () => {
    proxy.setRoundTripMs(40);
    const startedAt = performance.now();
    const socket = await open();
    await echo(socket, 'a');
    const untilFirstMs = performance.now() - startedAt;
    const second = await echo(socket, 'b');
    socket.destroy();
    expect(untilFirstMs).toBeGreaterThanOrEqual(79);
    expect(second.ms).toBeGreaterThanOrEqual(39);
  });

  test('bytes keep their order', async () => {
    proxy.setRoundTripMs(4);
    const socket = await open();
    const text = Array.from({ length: 2_000 }, (_, i) => String(i)).join(' ');
    expect((await echo(socket, text)).text).toBe(text);
    socket.destroy();
  });

  test('connections are counted, and end when they are dropped', async () => {
    proxy.takeConnectionCount();
    const socket = await open();
    await echo(socket, 'x');
    const ended = new Promise((resolve) => socket.on('error', () => undefined).once('close', resolve));
    proxy.dropConnections();
    await ended;
    expect(proxy.takeConnectionCount()).toBe(1);
    expect(proxy.takeConnectionCount()).toBe(0);
  });
});
