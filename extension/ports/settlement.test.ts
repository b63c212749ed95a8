import { createServer, type IncomingMessage, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { createSettlement } from './settlement.ts';

const JWS = `eyJh.e30.${'A'.repeat(86)}`;
const PAYMENT = '5f0c2d1e-8a67-4b8e-9a53-0d3f9d3f7c11';
let server: Server | undefined;

afterEach(() => server?.close());

async function serve(listener: RequestListener): Promise<string> {
  server = createServer(listener);
  await new Promise<void>((resolve) => server?.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  let text = '';
  for await (const chunk of request) text += String(chunk);
  return text;
}

const answer = (status: number, type: string, body: string): RequestListener => (_, response) => response.writeHead(status, { 'Content-Type': type }).end(body);
const unreachable = expect.objectContaining({ code: 'settlement/unreachable' }) as Error;

test('each round goes to its own address as application/jose', async () => {
  const seen: unknown[] = [];
  const origin = await serve((request, response) => {
    void bodyOf(request).then((body) => {
      seen.push([request.method, request.url, request.headers['content-type'], body]);
      response.writeHead(200, { 'Content-Type': 'application/jose' }).end(JWS);
    });
  });
  const settlement = createSettlement(origin, fetch);
  await settlement.requestPayment('a');
  await settlement.requestReading('b');
  await settlement.answerCard(PAYMENT, 'c');
  expect(await settlement.complete(PAYMENT, 'd')).toBe(JWS);
  const post = (url: string, body: string) => ['POST', url, 'application/jose', body];
  expect(seen).toEqual([post('/v1/payments', 'a'), post('/v1/readings', 'b'), post(`/v1/payments/${PAYMENT}/answers`, 'c'), post(`/v1/payments/${PAYMENT}/completion`, 'd')]);
});

test('a signed refusal is handed to the flow whatever the status', async () => {
  const origin = await serve(answer(409, 'application/jose', JWS));
  await expect(createSettlement(origin, fetch).requestPayment('a')).resolves.toBe(JWS);
});

test.each([
  ['an unsigned error', answer(500, 'text/html', '<h1>no</h1>')],
  ['an unsigned success', answer(200, 'application/json', '{}')],
  ['a redirection', (_: unknown, response: Parameters<RequestListener>[1]) => response.writeHead(302, { Location: '/elsewhere' }).end()],
  ['an answer without end', answer(200, 'application/jose', 'A'.repeat(40_000))],
  ['a broken connection', (request: IncomingMessage) => request.socket.destroy()],
])('unreachable: %s', async (_, listener) => {
  const origin = await serve(listener);
  await expect(createSettlement(origin, fetch).requestPayment('a')).rejects.toEqual(unreachable);
});

test('connecting asks for the health and nothing else', async () => {
  const origin = await serve((request, response) => response.writeHead(request.method === 'GET' && request.url === '/health' ? 204 : 500).end());
  await expect(createSettlement(origin, fetch).connect()).resolves.toBeUndefined();
});

test('a server that is not well is not connected to', async () => {
  const origin = await serve(answer(503, 'text/plain', ''));
  await expect(createSettlement(origin, fetch).connect()).rejects.toEqual(unreachable);
});
