/** The fields that messages share, each with its one spelling and its limit. */
import * as v from 'valibot';
import { MAX_BATCH_COMMANDS, type CardCommand } from '../apdu.ts';
import { encodeHex, parseHex, type Bytes } from '../bytes.ts';

/** 16 random bytes, base64url. */
export const nonceSchema = v.pipe(v.string(), v.regex(/^[\w-]{22}$/));
/** UID of the card, 7 bytes, upper-case hex. */
export const cardIdSchema = v.pipe(v.string(), v.regex(/^04[0-9A-F]{12}$/));
/** A number of a payment, load or issue: UUID (RFC 9562, 4), in lower case only, so that it has one spelling. */
export const paymentIdSchema = v.pipe(v.string(), v.regex(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/));
export const shopIdSchema = v.pipe(v.string(), v.regex(/^[a-z][a-z0-9-]{1,31}$/));
export const billIdSchema = v.pipe(v.string(), v.regex(/^[\w-]{8,40}$/));
export const orderIdSchema = v.pipe(v.string(), v.regex(/^[\w-]{4,40}$/));
/** `https://host[:port]`, lower case, nothing behind it. */
export const originSchema = v.pipe(v.string(), v.maxLength(200), v.regex(/^https:\/\/[a-z0-9.-]+(:[1-9][0-9]{0,4})?$/));
/** Epoch milliseconds by the sender's clock. */
export const timeSchema = v.pipe(v.number(), v.safeInteger(), v.minValue(0));

const hexSchema = (minBytes: number, maxBytes: number) => v.pipe(v.string(), v.regex(/^([0-9A-F]{2})*$/), v.minLength(2 * minBytes), v.maxLength(2 * maxBytes));

/** The card's half of the mutual authentication: 16 bytes enciphered by the card. */
export const challengeSchema = hexSchema(16, 16);

/** One-time codes are 80 bits in Crockford's base32, in four groups. */
export const oneTimeCodeSchema = v.pipe(v.string(), v.regex(/^[0-9A-HJKMNP-TV-Z]{4}(-[0-9A-HJKMNP-TV-Z]{4}){3}$/));

export const commandsSchema = v.pipe(
  v.array(v.strictObject({ apdu: hexSchema(4, 261), expect: v.pipe(v.string(), v.regex(/^[0-9A-F]{4}$/)) })),
  v.minLength(1),
  v.maxLength(MAX_BATCH_COMMANDS),
);
export type WireCommands = v.InferOutput<typeof commandsSchema>;

/** Answers of the card; a batch that stopped has fewer than commands, an interrupted one none. */
export const responsesSchema = v.pipe(v.array(hexSchema(2, 258)), v.maxLength(MAX_BATCH_COMMANDS));

export function encodeCommands(commands: readonly CardCommand[]): WireCommands {
  return commands.map(({ apdu, expectedStatus }) => ({ apdu: encodeHex(apdu), expect: expectedStatus.toString(16).toUpperCase().padStart(4, '0') }));
}

export function parseCommands(commands: WireCommands): CardCommand[] {
  return commands.map(({ apdu, expect }) => ({ apdu: parseHex(apdu), expectedStatus: Number.parseInt(expect, 16) }));
}

export function encodeResponses(responses: readonly Uint8Array[]): string[] {
  return responses.map(encodeHex);
}

export function parseResponses(responses: readonly string[]): Bytes[] {
  return responses.map(parseHex);
}
