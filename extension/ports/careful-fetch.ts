/** One request to the settlement institution: with the client certificate, without cache, redirects or a word about where it comes from. */
import { Failure } from '#protocol/failure.ts';

/** Throws `settlement/unreachable` when there is no answer within `limitMs`; any status is an answer. */
export async function fetchCarefully(fetch: typeof globalThis.fetch, url: URL, init: RequestInit, limitMs: number): Promise<Response> {
  return fetch(url, {
    ...init,
    // The client certificate travels with credentials only.
    credentials: 'include',
    cache: 'no-store',
    redirect: 'error',
    referrerPolicy: 'no-referrer',
    signal: AbortSignal.timeout(limitMs),
  }).catch((cause: unknown) => {
    throw new Failure('settlement/unreachable', { cause });
  });
}
