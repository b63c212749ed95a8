/** Makes this browser a customer's: a new key that cannot leave it, and a certificate for it in exchange for a one-time code. */
import * as v from 'valibot';
import { encodeBase64url, equalBytes, parseBase64url, type Bytes } from '#protocol/bytes.ts';
import { createSigningKeyPair, encodeCertificateRequest } from '#protocol/certificate-request.ts';
import type { CertificateVerifier } from '#protocol/certificates.ts';
import { Failure, isFailureCode } from '#protocol/failure.ts';
import { encodeStrictJson, parseStrictJson } from '#protocol/json.ts';
import { fetchCarefully } from '../ports/careful-fetch.ts';
import { readTextBody } from '../ports/read-body.ts';
import type { StoredIdentity } from '../store/identity-store.ts';

const LIMIT_MS = 20_000;
/** A chain of three certificates of 4 KiB in base64url. */
const MAX_ANSWER_BYTES = 20 * 1024;
const JSON_TYPE = 'application/json';

const chainSchema = v.object({ chain: v.pipe(v.array(v.pipe(v.string(), v.maxLength(6000), v.regex(/^[\w-]+$/))), v.minLength(1), v.maxLength(3)) });
const refusalSchema = v.object({ code: v.string() });

export interface EnrolmentParts {
  /** Of the server that turns codes into certificates. */
  readonly origin: string;
  readonly fetch: typeof globalThis.fetch;
  readonly verifier: CertificateVerifier;
}

/**
 * Throws `customer/enrolment-code`, `settlement/unreachable`, or `message/certificate` where the chain is not a customer's, not under our
 * anchors or not for our key. What it returns is complete and checked; nothing has been stored.
 */
export async function enrol(code: string, { origin, fetch, verifier }: EnrolmentParts): Promise<StoredIdentity> {
  const keyPair = (await createSigningKeyPair()) as CryptoKeyPair;
  const request = await encodeCertificateRequest(keyPair);
  const answer = await post(new URL('/v1/enrolments', origin), { code, request: encodeBase64url(request) }, fetch);
  const parsed = v.safeParse(chainSchema, answer);
  if (!parsed.success) throw new Failure('message/malformed', { detail: 'enrolment' });
  const chain = parsed.output.chain.map(parseBase64url);
  const certificate = await verifier.verifyChain(chain, 'customer');
  if (!equalBytes(await exportRaw(certificate.publicKey), await exportRaw(keyPair.publicKey))) throw new Failure('message/certificate', { detail: 'for another key' });
  return { privateKey: keyPair.privateKey, chain, thumbprint: certificate.thumbprint };
}

async function post(url: URL, body: object, fetch: typeof globalThis.fetch): Promise<unknown> {
  const response = await fetchCarefully(fetch, url, { method: 'POST', headers: { 'Content-Type': JSON_TYPE, Accept: JSON_TYPE }, body: encodeStrictJson(body) }, LIMIT_MS);
  const answer = await readTextBody(response, MAX_ANSWER_BYTES).then(parseStrictJson, (cause: unknown) => {
    throw new Failure('settlement/unreachable', { cause });
  });
  if (response.ok) return answer;
  const refusal = v.safeParse(refusalSchema, answer);
  throw new Failure(refusal.success && isFailureCode(refusal.output.code) ? refusal.output.code : 'settlement/unreachable', { detail: `enrolment: status ${response.status}` });
}

async function exportRaw(key: Parameters<typeof crypto.subtle.exportKey>[1]): Promise<Bytes> {
  return new Uint8Array(await crypto.subtle.exportKey('raw', key));
}
