import { createServer, type Server } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import type { Request } from 'express';
import { afterEach, beforeAll, expect, test } from 'vitest';
import { Failure } from '#protocol/failure.ts';
import { verifyAnswer } from '#protocol/answer.ts';
import { issueLeaf, issueRoot } from '#protocol/certificate-issue.ts';
import { certificateThumbprint, createCertificateVerifier, type CertificateVerifier } from '#protocol/certificates.ts';
import { failureNotice } from '#protocol/messages/failure-notice.ts';
import { shopStatement } from '#protocol/messages/shop-statement.ts';
import { byCertificate, createOneTimeSigner, createSigner, digestOf, signMessage, verifyMessage, type Jws, type Signer } from '#protocol/signed.ts';
import { createEdge } from './edge.ts';
import { createLog } from './log.ts';
import { answerSigned } from './signed-answers.ts';

const STATEMENT = { shopId: 'shop', origin: 'https://shop.example', minimumVersion: '1.0.0' };
let signer: Signer;
let verifier: CertificateVerifier;
let request: Jws;
let logged: string;
const log = createLog({ name: 'test', destination: { write: (line: string) => void (logged += line) } });
const servers: Server[] = [];

beforeAll(async () => {
  const make = () => crypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, ['sign', 'verify']);
  const [rootKeys, keys] = [await make(), await make()];
  const validity = { notBeforeMs: Date.UTC(2026, 0), notAfterMs: Date.UTC(2027, 0) };
  const root = await issueRoot({ ...validity, keyPair: rootKeys, commonName: 'Root', pathLength: 0 });
  const leaf = await issueLeaf({ ...validity, issuer: { certificate: root, privateKey: rootKeys.privateKey }, publicKey: keys.publicKey, role: 'settlement', commonName: 'settlement' });
  signer = createSigner({ privateKey: keys.privateKey, chain: [leaf], thumbprint: await certificateThumbprint(leaf) });
  verifier = createCertificateVerifier({ anchors: [root], now: null });
  request = await signMessage(shopStatement, STATEMENT, await createOneTimeSigner());
});

afterEach(() => {
  for (const server of servers.splice(0)) server.close().closeAllConnections();
});

/** Posts `body` to an edge whose one handler is `handle`. */
async function ask(body: string, handle: (jws: Jws, request: Request) => Promise<Jws>, by = signer, limits = {}): Promise<{ status: number; type: string | null; text: string }> {
  logged = '';
  const server = createServer(createEdge({ name: 'test', log, limits, routes: (router) => router.post('/messages', answerSigned({ signer: by, log }, handle)) }));
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const answer = await fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}/messages`, { method: 'POST', body, headers: { 'Content-Type': 'application/jose' } });
  return { status: answer.status, type: answer.headers.get('content-type'), text: await answer.text() };
}

test('what the handler signs is the answer', async () => {
  const answer = await ask(request, (jws) => Promise.resolve(jws));
  expect(answer).toEqual({ status: 200, type: 'application/jose; charset=utf-8', text: request });
});

test('a failure is signed, about this request, with its step and the status of the table', async () => {
  const answer = await ask(request, () => Promise.reject(new Failure('bill/expired', { step: 'ST9', detail: 'S3CRET' })));
  expect(answer.status).toBe(410);
  const { body } = await verifyMessage(failureNotice, answer.text, byCertificate(verifier, 'settlement'));
  expect(body).toEqual({ request: await digestOf(request), code: 'bill/expired', step: 'ST9' });
  const understood = verifyAnswer(shopStatement, { request, answer: answer.text, sender: byCertificate(verifier, 'settlement') });
  await expect(understood).rejects.toMatchObject({ code: 'bill/expired', step: 'ST9' });
  expect(JSON.parse(logged)).toMatchObject({ level: 'info', msg: 'refused' });
});

test('a bug is signed as one, loud in the log, with nothing of its text in the answer', async () => {
  const answer = await ask(request, () => Promise.reject(new TypeError('S3CRET')));
  expect(answer.status).toBe(500);
  const { body } = await verifyMessage(failureNotice, answer.text, byCertificate(verifier, 'settlement'));
  expect(body).toEqual({ request: await digestOf(request), code: 'internal/bug', step: null });
  expect(JSON.parse(logged)).toMatchObject({ level: 'error', msg: 'bug', err: { causes: [{ type: 'TypeError' }] } });
});

test('what is no compact JWS is refused without a signature', async () => {
  for (const body of ['x', 'a.b.c', `${request} `, request.slice(0, -1)]) {
    const answer = await ask(body, () => Promise.reject(new Failure('message/malformed')));
    expect({ ...answer, text: JSON.parse(answer.text) as unknown }).toMatchObject({ status: 400, type: 'application/json; charset=utf-8', text: { code: 'message/malformed' } });
  }
});

test('when signing itself fails the edge answers', async () => {
  const broken: Signer = { ...signer, sign: () => Promise.reject(new Error('S3CRET')) };
  const answer = await ask(request, () => Promise.reject(new Failure('bill/expired')), broken);
  expect({ ...answer, text: JSON.parse(answer.text) as unknown }).toMatchObject({ status: 500, text: { code: 'internal/bug' } });
});

test('an answer that comes after the time of the request is not sent a second time', async () => {
  let finish: (jws: Jws) => void = () => undefined;
  const late = new Promise<Jws>((resolve) => (finish = resolve));
  let connection: Socket | undefined;
  const handle = (_jws: Jws, { socket }: Request): Promise<Jws> => {
    connection = socket;
    return late;
  };
  const answer = await ask(request, handle, signer, { requestTimeoutMs: 50 });
  expect(answer).toMatchObject({ status: 503, type: 'application/json; charset=utf-8' });
  finish(request);
  // A second answer would throw, and Express would then cut the connection off, within two turns of the event loop.
  for (let turn = 0; turn < 3; turn++) await new Promise(setImmediate);
  expect(connection?.destroyed).toBe(false);
});
