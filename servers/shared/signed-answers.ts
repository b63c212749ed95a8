/** Signed messages over HTTP: a compact JWS in, a signed answer out; a refusal is signed too, so that nobody on the way can invent one. */
import type { Request, RequestHandler } from 'express';
import * as v from 'valibot';
import { asFailure, FAILURES, type Failure } from '#protocol/failure.ts';
import { failureNotice } from '#protocol/messages/failure-notice.ts';
import { digestOf, jwsSchema, signMessage, type Jws, type Signer } from '#protocol/signed.ts';
import { joseBody, requestId, sendJose } from './edge.ts';
import type { Log } from './log.ts';

/**
 * An Express handler for `application/jose` in and out. What `handle` throws is answered with the status of FAILURES as a
 * failure notice about exactly this request, signed by `signer`, with its chain. A request that is no compact JWS cannot be
 * referred to: the edge answers it with JSON, as it does for what goes wrong in signing itself.
 */
export function answerSigned({ signer, log }: { readonly signer: Signer; readonly log: Log }, handle: (jws: Jws, request: Request) => Promise<Jws>): RequestHandler {
  return async (request, response) => {
    const jws = joseBody(request);
    const answer = await handle(jws, request).then(
      (signed) => ({ status: 200, signed }),
      async (thrown: unknown) => {
        if (!v.is(jwsSchema, jws)) throw thrown;
        const failure = asFailure(thrown);
        const context = { requestId: requestId(response), method: request.method, path: request.path };
        if (failure.code === 'internal/bug') log.error({ ...context, err: failure }, 'bug');
        else log.info({ ...context, err: failure }, 'refused');
        return { status: FAILURES[failure.code].status, signed: await signFailure(failure, jws, signer) };
      },
    );
    // The edge has answered already when the time of the request was up.
    if (response.headersSent) return;
    response.status(answer.status);
    sendJose(response, answer.signed);
  };
}

async function signFailure({ code, step }: Failure, request: Jws, signer: Signer): Promise<Jws> {
  return signMessage(failureNotice, { request: await digestOf(request), code, step: step ?? null }, signer, { introduce: true });
}
