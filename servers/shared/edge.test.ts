import { createServer, request, type IncomingMessage, type RequestOptions, type Server } from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import type { Router } from 'express';
import * as v from 'valibot';
import { afterEach, describe, expect, test } from 'vitest';
import { Failure, publicFailure, type FailureCode } from '#protocol/failure.ts';
import { createEdge, joseBody, jsonBody, requestSignal, sendJose, type EdgeLimits } from './edge.ts';
import { createLog } from './log.ts';
import { closeServer, limitConnections } from './server-limits.ts';

const servers: Server[] = [];
let logged = '';
const log = createLog({ name: 'test', level: 'debug', destination: { write: (line: string) => void (logged += line) } });

async function serve(routes: (router: Router) => void, limits: Partial<EdgeLimits> = {}): Promise<number> {
  const server = createServer(createEdge({ name: 'test', log, limits, routes }));
  limitConnections(server);
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return (server.address() as AddressInfo).port;
}

interface Answer {
  status: number;
  headers: IncomingMessage['headers'];
  text: string;
}

function send(port: number, path: string, options: RequestOptions & { body?: string | Buffer } = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const sent = request({ host: '127.0.0.1', port, path, method: options.body === undefined ? 'GET' : 'POST', agent: false, ...options }, (answer) => {
      let text = '';
      answer.setEncoding('utf8').on('data', (part: string) => (text += part)).on('end', () => resolve({ status: answer.statusCode!, headers: answer.headers, text }));
    });
    sent.once('error', reject).end(options.body);
  });
}

const json = { 'Content-Type': 'application/json' };
const jose = { 'Content-Type': 'application/jose' };

const routes = (router: Router): void => {
  router.get('/hello', (_request, response) => void response.json({ hello: true }));
  router.get('/bug', () => {
    throw new Error('S3CRET of the inside');
  });
  router.get('/late-bug', (_request, response) => {
    response.write('half');
    throw new Error('after half an answer');
  });
  router.get('/refused', () => {
    throw new Failure('bill/expired', { step: 'ST9', detail: 'S3CRET', cause: new Error('S3CRET') });
  });
  router.post('/jose', (request, response) => sendJose(response, joseBody(request)));
  router.post('/json', (request, response) => void response.json(jsonBody(request, v.strictObject({ a: v.number() }))));
};

afterEach(async () => {
  for (const server of servers.splice(0)) await closeServer(server, 0);
  logged = '';
});

function expectFailure({ status, text, headers }: Answer, code: FailureCode, expectedStatus: number): void {
  expect([status, JSON.parse(text)]).toEqual([expectedStatus, publicFailure(code)]);
  expect(headers['content-type']).toBe('application/json; charset=utf-8');
}

describe('the edge', () => {
  test('sends its security headers, a request id of its own, and not the name of its software', async () => {
    const { headers } = await send(await serve(routes), '/hello', { headers: { 'X-Request-Id': 'forged' } });
    expect(headers).toMatchObject({
      'x-content-type-options': 'nosniff',
      'referrer-policy': 'no-referrer',
      'cache-control': 'no-store',
      'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
      'x-request-id': expect.stringMatching(/^[0-9a-f-]{36}$/) as string,
    });
    expect(headers).not.toHaveProperty('x-powered-by');
    expect(headers).not.toHaveProperty('etag');
  });

  test('a failure crosses as code, text and step with the status of the table', async () => {
    const { status, text } = await send(await serve(routes), '/refused');
    expect([status, JSON.parse(text)]).toEqual([410, publicFailure('bill/expired', 'ST9')]);
    expect(logged).toContain('bill/expired');
  });

  test('an unknown error is a bug: the caller learns nothing of it, our log everything', async () => {
    const answer = await send(await serve(routes), '/bug');
    expectFailure(answer, 'internal/bug', 500);
    const line = logged.split('\n').find((text) => text.includes('"bug"'))!;
    expect(line).toContain('S3CRET of the inside');
    expect(line).toContain(answer.headers['x-request-id']);
  });

  test('an answer that fails half-way is cut off', async () => {
    await expect(send(await serve(routes), '/late-bug')).rejects.toThrow(/aborted|hang up|ECONNRESET/);
  });

  test.each(['/nothing', '/hello/', '/Hello', '/json'])('GET %s is not there', async (path) => {
    expectFailure(await send(await serve(routes), path), 'message/address', 404);
  });

  test('bodies of both types arrive', async () => {
    const port = await serve(routes);
    expect(await send(port, '/jose', { body: 'a.b.c', headers: jose })).toMatchObject({ status: 200, text: 'a.b.c', headers: { 'content-type': 'application/jose; charset=utf-8' } });
    expect(await send(port, '/json', { body: '{"a":1}', headers: { 'Content-Type': 'application/json; charset=utf-8' } })).toMatchObject({ status: 200, text: '{"a":1}' });
  });

  test.each<[string, string, string | Buffer, object, FailureCode, number]>([
    ['a duplicate key', '/json', '{"a":1,"a":2}', json, 'message/malformed', 400],
    ['a trailing byte', '/json', '{"a":1} ', json, 'message/malformed', 400],
    ['half a value', '/json', '{"a":', json, 'message/malformed', 400],
    ['an unknown field', '/json', '{"a":1,"b":2}', json, 'message/malformed', 400],
    ['an empty body', '/json', '', json, 'message/malformed', 400],
    ['invalid UTF-8', '/jose', Buffer.from([0x61, 0xff]), jose, 'message/malformed', 400],
    ['another type', '/json', '{"a":1}', { 'Content-Type': 'text/plain' }, 'message/wrong-type', 400],
    ['no type', '/json', '{"a":1}', {}, 'message/wrong-type', 400],
    ['JOSE for JSON', '/json', '{"a":1}', jose, 'message/wrong-type', 400],
    ['JSON for JOSE', '/jose', '{"a":1}', json, 'message/wrong-type', 400],
    ['another charset', '/json', '{"a":1}', { 'Content-Type': 'application/json; charset=utf-16' }, 'message/wrong-type', 400],
    ['a compressed body', '/json', '{"a":1}', { ...json, 'Content-Encoding': 'gzip' }, 'message/wrong-type', 400],
    ['a body over the limit', '/jose', 'x'.repeat(1_001), jose, 'message/too-large', 413],
    ['a body over the limit in pieces', '/jose', 'x'.repeat(1_001), { ...jose, 'Transfer-Encoding': 'chunked' }, 'message/too-large', 413],
    ['an address that cannot be decoded', '/%zz', '{"a":1}', json, 'message/address', 404],
  ])('%s is refused', async (_what, path, body, headers, code, status) => {
    expectFailure(await send(await serve(routes, { maxBodyBytes: 1_000 }), path, { method: 'POST', body, headers: headers as Record<string, string> }), code, status);
  });

  test('no body is refused', async () => {
    expectFailure(await send(await serve(routes), '/jose', { method: 'POST', headers: { 'Content-Length': '0' } }), 'message/wrong-type', 400);
  });

  test('a request that takes too long is answered, and what it waits for is aborted', async () => {
    let aborted: unknown;
    const port = await serve((router) => {
      router.get('/slow', async (_request, response) => {
        await new Promise((_resolve, reject) => requestSignal(response).addEventListener('abort', () => reject((aborted = requestSignal(response).reason) as Error)));
      });
    }, { requestTimeoutMs: 50 });
    expectFailure(await send(port, '/slow'), 'internal/busy', 503);
    expect(aborted).toMatchObject({ code: 'internal/busy' });
  });

  test('more requests at one time than the limit are turned away at once', async () => {
    let release = (): void => undefined;
    let entered = (): void => undefined;
    const hasEntered = new Promise<void>((resolve) => (entered = resolve));
    const port = await serve((router) => {
      router.get('/wait', async (_request, response) => {
        await new Promise<void>((resolve) => {
          release = resolve;
          entered();
        });
        response.json(true);
      });
    }, { maxRequestsInFlight: 1 });
    const first = send(port, '/wait');
    await hasEntered;
    const second = await send(port, '/wait');
    expectFailure(second, 'internal/busy', 503);
    expect(second.headers['retry-after']).toBe('1');
    release();
    expect(await first).toMatchObject({ status: 200 });
    const third = send(port, '/nothing');
    expect(await third).toMatchObject({ status: 404 });
  });
});

describe('a server that closes', () => {
  test('finishes the answer in progress, and ends idle connections', async () => {
    let release = (): void => undefined;
    let entered = (): void => undefined;
    const hasEntered = new Promise<void>((resolve) => (entered = resolve));
    const port = await serve((router) => {
      router.get('/wait', async (_request, response) => {
        await new Promise<void>((resolve) => {
          release = resolve;
          entered();
        });
        response.json(true);
      });
    });
    const idle = connect(port, '127.0.0.1');
    const idleEnded = new Promise((resolve) => idle.once('close', resolve).resume());
    const active = send(port, '/wait');
    await hasEntered;
    const closed = closeServer(servers[0]!, 10_000);
    release();
    expect(await active).toMatchObject({ status: 200, text: 'true' });
    await Promise.all([closed, idleEnded]);
    await expect(send(port, '/hello')).rejects.toThrow(/ECONNREFUSED/);
  });

  test('cuts off what does not finish in time', async () => {
    let entered = (): void => undefined;
    const hasEntered = new Promise<void>((resolve) => (entered = resolve));
    const port = await serve((router) => {
      router.get('/for-ever', async () => {
        entered();
        await new Promise(() => undefined);
      });
    });
    const active = expect(send(port, '/for-ever')).rejects.toThrow(/hang up|ECONNRESET/);
    await hasEntered;
    await closeServer(servers[0]!, 50);
    await active;
  });
});
