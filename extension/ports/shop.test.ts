import { expect, test, vi } from 'vitest';
import { createShop, openPageLink } from './shop.ts';

const JWS = `eyJh.e30.${'A'.repeat(86)}`;

function createPort() {
  const listeners: { message?: (message: unknown) => void; gone?: () => void } = {};
  const sent: unknown[] = [];
  const port = {
    postMessage: (message: unknown) => void sent.push(message),
    disconnect: vi.fn(),
    onMessage: { addListener: (listener: (message: unknown) => void) => void (listeners.message = listener) },
    onDisconnect: { addListener: (listener: () => void) => void (listeners.gone = listener) },
  };
  return { port, sent, listeners };
}

test('messages are carried to their endpoints, and answers find their way by number', async () => {
  const { port, sent, listeners } = createPort();
  const shop = createShop({ origin: 'https://shop.example', statement: JWS }, openPageLink(port));
  const decided = shop.decide('decision');
  const billed = shop.requestBill('request');
  expect(sent).toEqual([
    { type: 'carry', exchange: 1, endpoint: 'decisions', message: 'decision' },
    { type: 'carry', exchange: 2, endpoint: 'bill-requests', message: 'request' },
  ]);
  listeners.message?.({ exchange: 2, message: JWS });
  listeners.message?.({ exchange: 1, message: null });
  await expect(billed).resolves.toBe(JWS);
  await expect(decided).rejects.toMatchObject({ code: 'shop/unreachable' });
  await expect(shop.introduce()).resolves.toBe(JWS);
});

test('what is not signed is no answer, and an answer to nothing is ignored', async () => {
  const { port, listeners } = createPort();
  const link = openPageLink(port);
  const answer = link.carry('decisions', 'x');
  listeners.message?.({ exchange: 9, message: JWS });
  listeners.message?.({ exchange: 1, message: 'no jws' });
  await expect(answer).rejects.toMatchObject({ code: 'shop/unreachable' });
});

test('a page that has gone answers nothing, and is told nothing any more', async () => {
  const { port, sent, listeners } = createPort();
  const link = openPageLink(port);
  const waiting = link.carry('decisions', 'x');
  listeners.gone?.();
  await expect(waiting).rejects.toMatchObject({ code: 'shop/unreachable' });
  await expect(link.carry('decisions', 'y')).rejects.toMatchObject({ code: 'shop/unreachable' });
  link.settle({ outcome: 'not-paid' });
  expect(sent).toHaveLength(1);
});

test('a page that never answers is given up in time', async () => {
  vi.useFakeTimers();
  try {
    const { port } = createPort();
    const answer = expect(openPageLink(port).carry('decisions', 'x')).rejects.toMatchObject({ code: 'shop/unreachable' });
    await vi.advanceTimersByTimeAsync(25_000);
    await answer;
  } finally {
    vi.useRealTimers();
  }
});
