/** The Express edge that all servers stand on: limits, strict bodies, headers, and one form of answer for everything that goes wrong. */
import { randomUUID } from 'node:crypto';
import express, { type ErrorRequestHandler, type Express, type Request, type RequestHandler, type Response, type Router } from 'express';
import * as v from 'valibot';
import { asFailure, Failure, FAILURES, type FailureCode } from '#protocol/failure.ts';
import { parseStrictJson } from '#protocol/json.ts';
import type { Log } from './log.ts';

export interface EdgeLimits {
  readonly maxBodyBytes: number;
  /** From the request's headers to the end of our answer. */
  readonly requestTimeoutMs: number;
  /** Requests being answered at one time; more are turned away at once with `internal/busy`. */
  readonly maxRequestsInFlight: number;
}

/** A JWS of ours has at most 32 KiB, and a message holds at most one more inside. */
export const EDGE_LIMITS: EdgeLimits = { maxBodyBytes: 64 * 1024, requestTimeoutMs: 30_000, maxRequestsInFlight: 256 };

export interface EdgeOptions {
  readonly name: string;
  readonly log: Log;
  readonly limits?: Partial<EdgeLimits>;
  /** Adds the server's routes; everything they throw is answered by the edge. */
  readonly routes: (router: Router) => void;
  /** For a server with pages; default: nothing may be loaded, nobody may frame. */
  readonly contentSecurityPolicy?: string;
}

const API_POLICY = "default-src 'none'; frame-ancestors 'none'";

/** Our own small set instead of helmet: the servers answer JSON and a few pages, and each line here has its reason. */
const SECURITY_HEADERS = {
  'X-Content-Type-Options': 'nosniff', // an answer is never run as something else
  'Referrer-Policy': 'no-referrer', // addresses of orders stay here
  'Cross-Origin-Resource-Policy': 'same-origin', // other sites cannot load our answers as images or scripts
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cache-Control': 'no-store', // nothing about a payment lies in a cache
};

/** The request handler of a server: give it to `createTlsServer`. */
export function createEdge(options: EdgeOptions): Express {
  const limits = { ...EDGE_LIMITS, ...options.limits };
  const app = express();
  app.disable('x-powered-by');
  app.disable('etag');
  app.set('query parser', 'simple');
  app.set('trust proxy', false);
  app.use(nameAndLog(options.log), securityHeaders(options.contentSecurityPolicy ?? API_POLICY), limitInFlight(limits), limitTime(limits));
  // Raw, not express.text: that one repairs invalid UTF-8. Not inflated: a small body stays small.
  app.use(express.raw({ type: () => true, limit: limits.maxBodyBytes, inflate: false }), readBody);
  const router = express.Router({ caseSensitive: true, strict: true });
  options.routes(router);
  app.use(router);
  app.use(() => {
    throw new Failure('message/address');
  });
  app.use(answerFailure(options.log));
  return app;
}

/** Aborted when the caller has gone or the request's time is up: pass it to whatever waits on the outside. */
export function requestSignal(response: Response): AbortSignal {
  return (response.locals as Locals).signal;
}

/** The request's number in the log; also sent as `X-Request-Id`. */
export function requestId(response: Response): string {
  return (response.locals as Locals).requestId;
}

/** The body of an `application/jose` request: one compact JWS, unchecked; throws `message/wrong-type`. */
export function joseBody(request: Request): string {
  const body = request.body as Body;
  if (body?.kind !== 'jose') throw new Failure('message/wrong-type', { detail: 'not application/jose' });
  return body.text;
}

/** The body of an `application/json` request, strictly parsed and checked; throws `message/wrong-type` or `message/malformed`. */
export function jsonBody<const Schema extends v.GenericSchema>(request: Request, schema: Schema): v.InferOutput<Schema> {
  const body = request.body as Body;
  if (body?.kind !== 'json') throw new Failure('message/wrong-type', { detail: 'not application/json' });
  const result = v.safeParse(schema, body.value);
  if (!result.success) throw new Failure('message/malformed', { detail: `not as agreed at ${v.getDotPath(result.issues[0]) ?? 'the top'}` });
  return result.output;
}

/** Answers with one compact JWS. */
export function sendJose(response: Response, jws: string): void {
  response.type('application/jose').send(jws);
}

interface Locals {
  requestId: string;
  signal: AbortSignal;
}

type Body = { kind: 'jose'; text: string } | { kind: 'json'; value: unknown } | undefined;

function nameAndLog(log: Log): RequestHandler {
  return (request, response, next) => {
    const startedAt = performance.now();
    // Never the caller's own id: it would let a stranger write into our log.
    const id = randomUUID();
    (response.locals as Locals).requestId = id;
    response.setHeader('X-Request-Id', id);
    const { method, path } = request;
    response.once('close', () => {
      log.debug({ requestId: id, method, path, status: response.statusCode, ms: Math.round(performance.now() - startedAt), finished: response.writableFinished }, 'request');
    });
    next();
  };
}

function securityHeaders(contentSecurityPolicy: string): RequestHandler {
  const headers = new Map(Object.entries({ ...SECURITY_HEADERS, 'Content-Security-Policy': contentSecurityPolicy }));
  return (_request, response, next) => {
    response.setHeaders(headers);
    next();
  };
}

function limitInFlight({ maxRequestsInFlight }: EdgeLimits): RequestHandler {
  let inFlight = 0;
  return (_request, response, next) => {
    if (inFlight >= maxRequestsInFlight) {
      response.setHeader('Retry-After', '1');
      throw new Failure('internal/busy', { detail: `${inFlight} requests in flight` });
    }
    inFlight += 1;
    response.once('close', () => (inFlight -= 1));
    next();
  };
}

function limitTime({ requestTimeoutMs }: EdgeLimits): RequestHandler {
  return (_request, response, next) => {
    const controller = new AbortController();
    (response.locals as Locals).signal = controller.signal;
    const timer = setTimeout(() => {
      controller.abort(new Failure('internal/busy', { detail: `no answer within ${requestTimeoutMs} ms` }));
      next(controller.signal.reason);
    }, requestTimeoutMs);
    response.once('close', () => {
      clearTimeout(timer);
      controller.abort(new Failure('payment/aborted', { detail: 'the caller has gone' }));
    });
    next();
  };
}

const readBody: RequestHandler = (request, _response, next) => {
  const bytes = request.body as unknown;
  request.body = undefined satisfies Body;
  if (!Buffer.isBuffer(bytes)) {
    next();
    return;
  }
  const [type, parameter] = (request.headers['content-type'] ?? '').toLowerCase().split(/\s*;\s*/);
  if (parameter !== undefined && parameter !== 'charset=utf-8') throw new Failure('message/wrong-type', { detail: 'not UTF-8' });
  if (type === 'application/jose') request.body = { kind: 'jose', text: decodeUtf8(bytes) } satisfies Body;
  else if (type === 'application/json') request.body = { kind: 'json', value: parseStrictJson(decodeUtf8(bytes)) } satisfies Body;
  else throw new Failure('message/wrong-type', { detail: 'a body of another type' });
  next();
};

function decodeUtf8(bytes: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw new Failure('message/malformed', { cause, detail: 'not UTF-8' });
  }
}

/** What went wrong inside Express and its body reader, by their codes; anything else unknown is a bug of ours. */
function fromExpress(thrown: unknown): Failure {
  const { type, status } = (typeof thrown === 'object' && thrown !== null ? thrown : {}) as { type?: unknown; status?: unknown };
  if (thrown instanceof Failure) return thrown;
  if (type === 'entity.too.large') return new Failure('message/too-large', { cause: thrown });
  if (type === 'encoding.unsupported') return new Failure('message/wrong-type', { cause: thrown });
  if (type === 'request.aborted' || type === 'request.size.invalid') return new Failure('message/malformed', { cause: thrown });
  if (thrown instanceof URIError && status === 400) return new Failure('message/malformed', { cause: thrown, detail: 'address not decodable' });
  return asFailure(thrown);
}

function answerFailure(log: Log): ErrorRequestHandler {
  // eslint-disable-next-line @typescript-eslint/no-unused-vars -- Express tells an error handler by its four parameters
  return (thrown: unknown, request, response, _next) => {
    const failure = fromExpress(thrown);
    const context = { requestId: requestId(response), method: request.method, path: request.path };
    if (response.writableEnded) {
      log.warn({ ...context, err: failure }, 'failed after its answer'); // as a rule: its time was up before it noticed
      return;
    }
    if (failure.code === 'internal/bug') log.error({ ...context, err: failure }, 'bug');
    else log.info({ ...context, err: failure }, 'refused');
    if (response.headersSent) {
      response.destroy(); // half an answer must not look like a whole one
      return;
    }
    // A body that we stopped reading would be taken for the next request's beginning.
    if (!request.complete) response.setHeader('Connection', 'close');
    sendFailure(response, failure.code, failure);
  };
}

/** The one form of a refusal on the wire: `{code, text, step?}` with the table's status. */
export function sendFailure(response: Response, code: FailureCode, failure = new Failure(code)): void {
  response.status(FAILURES[code].status).json(failure.toPublic());
}
