/** Typed calls between the settlement's servers: an API is data, and its service is the same object whether it runs here or behind mutual TLS. */
import { strict as assert } from 'node:assert';
import type { Agent } from 'node:https';
import { Router, type Request } from 'express';
import * as v from 'valibot';
import { Failure, isFailureCode, type FailureCode } from '#protocol/failure.ts';
import { encodeStrictJson, parseStrictJson } from '#protocol/json.ts';
import { STEPS, type StepId } from '#protocol/steps.ts';
import { jsonBody } from './edge.ts';
import { post, type HttpAnswer } from './http-client.ts';

/**
 * One operation. Its schemas take the wire's JSON and give the code's value; the way back is `encodeStrictJson`, so that a bigint
 * travels as a decimal string (`amountSchema`) and bytes as text that the schema keeps as text (hex, base64url).
 */
export interface Operation {
  readonly request: v.GenericSchema;
  readonly response: v.GenericSchema;
}

export type Api = Readonly<Record<string, Operation>>;

/** What the code on both sides holds: the service itself in a merged process, a client elsewhere. */
export type ServiceOf<A extends Api> = { readonly [Name in keyof A]: (request: v.InferOutput<A[Name]['request']>) => Promise<v.InferOutput<A[Name]['response']>> };

/** Checks that no schema lets unknown fields pass, and returns the API as it is. */
export function defineApi<const A extends Api>(api: A): A {
  for (const [name, { request, response }] of Object.entries(api)) {
    assert(/^[a-z][A-Za-z0-9]*$/.test(name), `operation name ${name}`);
    assertStrict(request, `${name}.request`);
    assertStrict(response, `${name}.response`);
  }
  return api;
}

function assertStrict(schema: object, where: string): void {
  const { type, entries, options, item, items, wrapped } = schema as { type?: string; entries?: object; options?: unknown; item?: object; items?: object[]; wrapped?: object };
  assert(type !== 'object' && type !== 'loose_object', `${where} lets unknown fields pass: use v.strictObject`);
  for (const [name, inner] of Object.entries(entries ?? {})) assertStrict(inner as object, `${where}.${name}`);
  for (const inner of Array.isArray(options) ? (options as unknown[]) : []) if (typeof inner === 'object' && inner !== null) assertStrict(inner, where);
  for (const inner of [item, wrapped, ...(items ?? [])]) if (inner !== undefined) assertStrict(inner, where);
}

/**
 * `POST /rpc/<operation>` for every operation, to mount on an edge.
 * `authorise` says whether this caller may; refused ones get `message/certificate`. A Failure crosses as its code and step.
 */
export function serveApi<A extends Api>(api: A, service: ServiceOf<A>, options: { authorise: (request: Request, operation: keyof A & string) => boolean | Promise<boolean> }): Router {
  const router = Router({ caseSensitive: true, strict: true });
  for (const [name, operation] of Object.entries(api)) {
    router.post(`/rpc/${name}`, async (request, response) => {
      if (!(await options.authorise(request, name))) throw new Failure('message/certificate', { detail: `not allowed to call ${name}` });
      const value = await (service as ServiceOf<Api>)[name]?.(jsonBody(request, operation.request));
      const text = encodeStrictJson(value);
      // Our own answer too: a field too much is a leak, and the mistake shows where it is made.
      const check = v.safeParse(operation.response, parseStrictJson(text));
      if (!check.success) throw new Failure('internal/bug', { detail: `answer of ${name} at ${v.getDotPath(check.issues[0]) ?? 'the top'}` });
      response.type('application/json').send(text);
    });
  }
  return router;
}

export interface RpcClientOptions {
  /** Origin of the server, for example `https://security.localhost:9543`. */
  readonly url: string;
  readonly agent: Agent;
  readonly timeoutMs: number;
  readonly maxAnswerBytes?: number;
}

/**
 * The service behind `url`. Never retries: whether a call that failed was carried out is unknown, and only a flow may decide what then.
 * Throws the server's own Failure, or `settlement/unreachable`, `settlement/certificate`, `settlement/mismatch` (an answer not as agreed).
 */
export function createRpcClient<A extends Api>(api: A, options: RpcClientOptions): ServiceOf<A> {
  const calls = Object.entries(api).map(([name, operation]) => [name, (request: unknown) => call(name, operation, request, options)] as const);
  return Object.fromEntries(calls) as unknown as ServiceOf<A>;
}

async function call(name: string, operation: Operation, request: unknown, options: RpcClientOptions): Promise<unknown> {
  const { url, agent, timeoutMs, maxAnswerBytes = 256 * 1024 } = options;
  const answer = await post({
    url: `${url}/rpc/${name}`,
    agent,
    timeoutMs,
    maxAnswerBytes,
    contentType: 'application/json',
    body: encodeStrictJson(request),
    unreachable: 'settlement/unreachable',
    untrusted: 'settlement/certificate',
  });
  if (answer.status !== 200) throw remoteFailure(name, answer);
  const result = v.safeParse(operation.response, parseAnswer(name, answer));
  if (!result.success) throw new Failure('settlement/mismatch', { detail: `answer to ${name} at ${v.getDotPath(result.issues[0]) ?? 'the top'}` });
  return result.output;
}

function parseAnswer(name: string, { text, contentType }: HttpAnswer): unknown {
  if (contentType !== 'application/json; charset=utf-8') throw new Failure('settlement/mismatch', { detail: `answer to ${name} is not JSON` });
  try {
    return parseStrictJson(text);
  } catch (cause) {
    throw new Failure('settlement/mismatch', { cause, detail: `answer to ${name} is not strict JSON` });
  }
}

const publicFailureSchema = v.strictObject({
  code: v.custom<FailureCode>(isFailureCode),
  text: v.string(),
  step: v.optional(v.custom<StepId>((step) => STEPS.some(({ id }) => id === step))),
});

function remoteFailure(name: string, answer: HttpAnswer): Failure {
  const parsed = v.safeParse(publicFailureSchema, parseAnswer(name, answer));
  if (!parsed.success) return new Failure('settlement/mismatch', { detail: `status ${answer.status} to ${name} without a failure of ours` });
  return new Failure(parsed.output.code, { detail: `from ${name}`, step: parsed.output.step });
}
