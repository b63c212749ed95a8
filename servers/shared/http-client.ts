/** One HTTPS request between servers: limits on time and size, never repeated, never redirected. */
import type { IncomingMessage } from 'node:http';
import { request, type Agent } from 'node:https';
import { Failure, type FailureCode } from '#protocol/failure.ts';
import { PeerRefused } from './tls-agent.ts';

export interface PostOptions {
  readonly url: string;
  readonly agent: Agent;
  readonly contentType: 'application/json' | 'application/jose';
  readonly body: string;
  /** For everything: connection, request and whole answer. */
  readonly timeoutMs: number;
  readonly maxAnswerBytes: number;
  /** Thrown when there is no answer: refused, lost, too late, too long. Whether the request was carried out is then unknown. */
  readonly unreachable: FailureCode;
  /** Thrown when the server could not prove who it is; nothing was sent then. */
  readonly untrusted: FailureCode;
  readonly signal?: AbortSignal;
}

export interface HttpAnswer {
  readonly status: number;
  readonly contentType: string;
  readonly text: string;
}

/** Sends `body` and reads the whole answer, whatever its status. */
export async function post(options: PostOptions): Promise<HttpAnswer> {
  const { url, agent, contentType, body, timeoutMs, maxAnswerBytes } = options;
  const timeout = AbortSignal.timeout(timeoutMs);
  const signal = options.signal === undefined ? timeout : AbortSignal.any([timeout, options.signal]);
  try {
    const answer = await new Promise<IncomingMessage>((resolve, reject) => {
      const headers = { 'Content-Type': contentType, 'Content-Length': Buffer.byteLength(body), Accept: contentType };
      request(url, { method: 'POST', agent, headers, signal }, resolve).once('error', reject).end(body);
    });
    return { status: answer.statusCode ?? 0, contentType: answer.headers['content-type'] ?? '', text: await readText(answer, maxAnswerBytes) };
  } catch (cause) {
    if (cause instanceof PeerRefused || isCertificateError(cause)) throw new Failure(options.untrusted, { cause });
    throw new Failure(options.unreachable, { cause, ...(timeout.aborted ? { detail: `no answer within ${timeoutMs} ms` } : {}) });
  }
}

async function readText(answer: IncomingMessage, maxBytes: number): Promise<string> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > maxBytes) throw new RangeError(`answer longer than ${maxBytes} bytes`); // leaving the loop ends the connection
    chunks.push(chunk);
  }
  return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(Buffer.concat(chunks));
}

/** Codes of OpenSSL's verification (X509_verify_cert_error_string) and of Node's check of the server's name. */
function isCertificateError(error: unknown): boolean {
  const { code } = error as { code?: unknown };
  return typeof code === 'string' && (code === 'ERR_TLS_CERT_ALTNAME_INVALID' || /CERT|ISSUER|SIGNED|CRL|INVALID_PURPOSE|INVALID_CA|PATH_LENGTH/.test(code));
}
