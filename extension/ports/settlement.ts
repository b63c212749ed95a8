/** The application server over HTTPS, as a port of the flow: signed messages out and in, each within 20 seconds, nothing repeated. */
import { Failure } from '#protocol/failure.ts';
import type { Settlement } from '#protocol/parties.ts';
import { MAX_JWS_CHARACTERS, type Jws } from '#protocol/signed.ts';
import { fetchCarefully } from './careful-fetch.ts';
import { readTextBody } from './read-body.ts';

const LIMIT_MS = 20_000;
const JOSE = 'application/jose';

/** `origin`: of the application server. `fetch` is the platform's; the browser adds its client certificate. */
export function createSettlement(origin: string, fetch: typeof globalThis.fetch): Settlement {
  const ask = (path: string, init: RequestInit): Promise<Response> => fetchCarefully(fetch, new URL(path, origin), init, LIMIT_MS);

  const exchange = async (path: string, message: Jws): Promise<Jws> => {
    const response = await ask(path, { method: 'POST', headers: { 'Content-Type': JOSE, Accept: JOSE }, body: message });
    // Whatever the status says, a signed answer is for the flow to verify; an unsigned one is nobody's word.
    if (response.headers.get('Content-Type')?.startsWith(JOSE) !== true) throw new Failure('settlement/unreachable', { detail: `status ${response.status} without a signed answer` });
    return readTextBody(response, MAX_JWS_CHARACTERS).catch((cause: unknown) => {
      throw new Failure('settlement/unreachable', { cause });
    });
  };

  return {
    connect: async () => {
      const response = await ask('/health', { method: 'GET' });
      await response.body?.cancel();
      if (!response.ok) throw new Failure('settlement/unreachable', { detail: `health: status ${response.status}` });
    },
    requestPayment: (request) => exchange('/v1/payments', request),
    requestReading: (request) => exchange('/v1/readings', request),
    requestLink: (request) => exchange('/v1/links', request),
    answerCard: (paymentId, answer) => exchange(`/v1/payments/${encodeURIComponent(paymentId)}/answers`, answer),
    complete: (paymentId, completion) => exchange(`/v1/payments/${encodeURIComponent(paymentId)}/completion`, completion),
  };
}
