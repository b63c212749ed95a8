/**
 * Signed messages: compact JWS (RFC 7515) with ES256, one `typ` a message, so that no message of one type verifies as another.
 * `verifyMessage` checks, in this order: size, header, type, sender, signature, one canonical spelling, schema.
 */
import { CompactSign, compactVerify, type CryptoKey } from 'jose';
import * as v from 'valibot';
import { encodeBase64url, parseBase64url, type Bytes } from './bytes.ts';
import type { CertificateVerifier, Role, ValidatedCertificate } from './certificates.ts';
import { Failure, type FailureCode } from './failure.ts';
import { encodeStrictJson, parseStrictJson } from './json.ts';

/** A compact JWS: header.payload.signature. */
export type Jws = string;

/** The largest message, an estimate of 50 lines or a statement with its SPC, stays far below. */
export const MAX_JWS_CHARACTERS = 32 * 1024;
const MAX_CHAIN_CERTIFICATES = 3;

export const jwsSchema = v.pipe(v.string(), v.maxLength(MAX_JWS_CHARACTERS), v.regex(/^[\w-]+\.[\w-]+\.[\w-]{86}$/));
/** SHA-256 in base64url. */
export const digestSchema = v.pipe(v.string(), v.regex(/^[\w-]{43}$/));

type BodySchema = v.GenericSchema<unknown, object>;

export interface MessageType<Schema extends BodySchema = BodySchema> {
  /** The JWS `typ`, for example `kessai-bill`. */
  readonly typ: string;
  readonly schema: Schema;
  /** The code with which a message of this type that does not verify is refused. */
  readonly refusal: FailureCode;
}

export function defineMessage<Schema extends BodySchema>(typ: string, schema: Schema, refusal: FailureCode = 'message/signature'): MessageType<Schema> {
  return { typ, schema, refusal };
}

export type BodyOf<Type extends MessageType> = v.InferOutput<Type['schema']>;

/** Counts signatures for the figures beside SET's; called after each success. */
export type SignatureTally = (event: { kind: 'made' | 'verified'; typ: string }) => void;

/** A private key that signs messages, with the certificate that says whose it is. */
export interface Signer {
  /** x5t#S256 of the leaf. */
  readonly thumbprint: string;
  /** DER, leaf first, without the root. Empty for a one-time key. */
  readonly chain: readonly Bytes[];
  /** Present for a one-time key only: it travels in the header (RFC 7515, 4.1.3). */
  readonly oneTimeKey?: PublicJwk;
  readonly sign: (header: object, payload: Bytes) => Promise<Jws>;
}

export interface PublicJwk {
  readonly kty: 'EC';
  readonly crv: 'P-256';
  readonly x: string;
  readonly y: string;
}

/** `privateKey`: ES256, may be non-extractable. `chain`: DER, leaf first, without the root. */
export function createSigner(identity: { privateKey: CryptoKey; chain: readonly Bytes[]; thumbprint: string; oneTimeKey?: PublicJwk }, tally?: SignatureTally): Signer {
  const { privateKey, chain, thumbprint, oneTimeKey } = identity;
  return {
    thumbprint,
    chain,
    ...(oneTimeKey === undefined ? {} : { oneTimeKey }),
    sign: async (header, payload) => {
      const jws = await new CompactSign(payload).setProtectedHeader({ alg: 'ES256', ...header }).sign(privateKey);
      tally?.({ kind: 'made', typ: (header as { typ: string }).typ });
      return jws;
    },
  };
}

/** A fresh key that signs one message and says nothing about who holds it. */
export async function createOneTimeSigner(tally?: SignatureTally): Promise<Signer> {
  const pair = await crypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, false, ['sign', 'verify']);
  const { x, y } = await crypto.subtle.exportKey('jwk', pair.publicKey);
  if (x === undefined || y === undefined) throw new Failure('internal/bug', { detail: 'a P-256 key without coordinates' });
  const oneTimeKey: PublicJwk = { kty: 'EC', crv: 'P-256', x, y };
  return createSigner({ privateKey: pair.privateKey, chain: [], thumbprint: await sha256(encodeText(`${x}.${y}`)), oneTimeKey }, tally);
}

/** `introduce`: send the certificate chain along; only a sender's first message of an exchange needs it. */
export async function signMessage<Type extends MessageType>(type: Type, body: BodyOf<Type>, signer: Signer, options?: { introduce: boolean }): Promise<Jws> {
  const header = {
    typ: type.typ,
    'x5t#S256': signer.thumbprint,
    ...(options?.introduce === true ? { x5c: signer.chain.map(encodeBase64) } : {}),
    ...(signer.oneTimeKey === undefined ? {} : { jwk: signer.oneTimeKey }),
  };
  return signer.sign(header, encodeText(encodeStrictJson(body)));
}

/** Whose key must have signed: answers a sender's public key, or throws. */
export type SenderCheck = (header: MessageHeader) => Promise<Sender>;

export interface Sender {
  readonly publicKey: CryptoKey;
  readonly thumbprint: string;
  readonly certificate?: ValidatedCertificate;
}

export interface VerifiedMessage<Body> {
  readonly body: Body;
  readonly jws: Jws;
  /** SHA-256 of the signing input; never of the signature, since an ES256 signature can be changed into another valid one. */
  readonly digest: string;
  readonly sender: Sender;
}

const headerSchema = v.strictObject({
  alg: v.literal('ES256'),
  typ: v.pipe(v.string(), v.maxLength(64)),
  'x5t#S256': digestSchema,
  x5c: v.optional(v.pipe(v.array(v.pipe(v.string(), v.base64(), v.maxLength(8192))), v.minLength(1), v.maxLength(MAX_CHAIN_CERTIFICATES))),
  jwk: v.optional(v.strictObject({ kty: v.literal('EC'), crv: v.literal('P-256'), x: digestSchema, y: digestSchema })),
});
export type MessageHeader = v.InferOutput<typeof headerSchema>;

/** Throws the type's refusal code, `message/wrong-type`, `message/malformed`, `message/too-large` or what `senderCheck` throws. */
export async function verifyMessage<Type extends MessageType>(type: Type, jws: string, senderCheck: SenderCheck, tally?: SignatureTally): Promise<VerifiedMessage<BodyOf<Type>>> {
  const header = parseHeader(jws);
  // payment-rules 18: no message of one type verifies as another.
  if (header.typ !== type.typ) throw new Failure('message/wrong-type', { detail: `${type.typ} expected` });
  const sender = await senderCheck(header);
  const payload = await compactVerify(jws, sender.publicKey, { algorithms: ['ES256'] }).then(
    (verified) => verified.payload,
    (cause: unknown) => Promise.reject(new Failure(type.refusal, { cause })),
  );
  tally?.({ kind: 'verified', typ: type.typ });
  return { body: parseBody(type, payload), jws, digest: await digestOf(jws), sender };
}

/** The body of a message that was verified when it came and has been kept since: verifies nothing. */
export function readKeptBody<Type extends MessageType>(type: Type, jws: Jws): BodyOf<Type> {
  if (parseHeader(jws).typ !== type.typ) throw new Failure('message/wrong-type', { detail: `${type.typ} expected` });
  return parseBody(type, decodeBase64url(jws.split('.')[1] ?? ''));
}

function parseBody<Type extends MessageType>(type: Type, payload: Uint8Array): BodyOf<Type> {
  const parsed = v.safeParse(type.schema, parseStrictJson(decodeText(payload)));
  if (!parsed.success) throw new Failure('message/malformed', { detail: `${type.typ}: ${describeIssues(parsed.issues)}` });
  return parsed.output;
}

/** A sender with a certificate of this role: its chain travels in the message, or was seen before by this verifier. */
export function byCertificate(verifier: CertificateVerifier, role: Role): SenderCheck {
  return async (header) => {
    const certificate = header.x5c === undefined ? verifier.known(header['x5t#S256']) : await verifier.verifyChain(header.x5c.map(parseBase64), role);
    if (certificate?.role !== role || certificate.thumbprint !== header['x5t#S256']) throw new Failure('message/certificate', { detail: `not a ${role}` });
    return senderOf(certificate);
  };
}

export function senderOf(certificate: ValidatedCertificate): Sender {
  return { publicKey: certificate.publicKey, thumbprint: certificate.thumbprint, certificate };
}

/** A sender that is known already: exactly this key, whatever the message brings along. */
export function byKnownSender(sender: Sender): SenderCheck {
  return (header) =>
    header['x5t#S256'] === sender.thumbprint ? Promise.resolve(sender) : Promise.reject(new Failure('message/certificate', { detail: 'another sender' }));
}

/** A sender that shows only a key made for this message. */
export function byOneTimeKey(): SenderCheck {
  return async (header) => {
    const { jwk } = header;
    if (jwk === undefined) throw new Failure('message/certificate', { detail: 'no one-time key' });
    if ((await sha256(encodeText(`${jwk.x}.${jwk.y}`))) !== header['x5t#S256']) throw new Failure('message/certificate', { detail: 'key and thumbprint differ' });
    const publicKey = await crypto.subtle.importKey('jwk', { ...jwk }, { name: 'ECDSA', namedCurve: 'P-256' }, false, ['verify']).catch((cause: unknown) => {
      throw new Failure('message/certificate', { cause, detail: 'not a point of P-256' });
    });
    return { publicKey, thumbprint: header['x5t#S256'] };
  };
}

export function parseHeader(jws: string): MessageHeader {
  if (jws.length > MAX_JWS_CHARACTERS) throw new Failure('message/too-large');
  if (!v.is(jwsSchema, jws)) throw new Failure('message/malformed', { detail: 'not a compact JWS' });
  const [encodedHeader = ''] = jws.split('.', 1);
  const parsed = v.safeParse(headerSchema, parseStrictJson(decodeText(decodeBase64url(encodedHeader))));
  if (!parsed.success) throw new Failure('message/malformed', { detail: `header: ${describeIssues(parsed.issues)}` });
  return parsed.output;
}

/** SHA-256, base64url, of the JWS signing input (RFC 7515, 5.1). */
export async function digestOf(jws: Jws): Promise<string> {
  return sha256(encodeText(jws.slice(0, jws.lastIndexOf('.'))));
}

export async function sha256(bytes: Bytes): Promise<string> {
  return encodeBase64url(new Uint8Array(await crypto.subtle.digest('SHA-256', bytes)));
}

export function encodeText(text: string): Bytes {
  return new TextEncoder().encode(text);
}

function decodeText(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw new Failure('message/malformed', { cause, detail: 'not UTF-8' });
  }
}

function decodeBase64url(text: string): Bytes {
  try {
    return parseBase64url(text);
  } catch (cause) {
    throw new Failure('message/malformed', { cause, detail: 'not base64url' });
  }
}

/** x5c is the one place of JOSE with base64 instead of base64url (RFC 7515, 4.1.6). */
function encodeBase64(bytes: Uint8Array): string {
  const text = encodeBase64url(bytes).replaceAll('-', '+').replaceAll('_', '/');
  return text.padEnd(Math.ceil(text.length / 4) * 4, '=');
}

function parseBase64(text: string): Bytes {
  return decodeBase64url(text.replaceAll('+', '-').replaceAll('/', '_').replace(/=+$/, ''));
}

function describeIssues(issues: readonly v.BaseIssue<unknown>[]): string {
  return issues.slice(0, 3).map((issue) => `${v.getDotPath(issue) ?? 'body'}: ${issue.message}`).join('; ');
}
