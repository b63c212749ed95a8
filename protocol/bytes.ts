/** Byte strings: hex, base64url, comparison and concatenation. Pure; every parser here refuses rather than repairs. */

export type Bytes = Uint8Array<ArrayBuffer>;

export function concatBytes(...parts: readonly Uint8Array[]): Bytes {
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    whole.set(part, offset);
    offset += part.length;
  }
  return whole;
}

/** Upper-case hex, two digits a byte. */
export function encodeHex(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes) text += byte.toString(16).padStart(2, '0');
  return text.toUpperCase();
}

/** Hex of either case and even length to bytes; throws RangeError on anything else. */
export function parseHex(text: string): Bytes {
  if (text.length % 2 !== 0 || !/^[0-9A-Fa-f]*$/.test(text)) throw new RangeError('not a hex string of whole bytes');
  const bytes = new Uint8Array(text.length / 2);
  for (let i = 0; i < bytes.length; i++) bytes[i] = Number.parseInt(text.slice(2 * i, 2 * i + 2), 16);
  return bytes;
}

/** True if both have the same length and bytes; takes the same time for every pair of one length. */
export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  let difference = 0;
  for (let i = 0; i < a.length; i++) difference |= (a[i] ?? 0) ^ (b[i] ?? 0);
  return difference === 0;
}

const BASE64URL = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';

/** Base64url without padding (RFC 4648 section 5). */
export function encodeBase64url(bytes: Uint8Array): string {
  let text = '';
  for (let i = 0; i < bytes.length; i += 3) {
    const [a = 0, b = 0, c = 0] = bytes.subarray(i, i + 3);
    const group = (a << 16) | (b << 8) | c;
    const digits = Math.min(bytes.length - i, 3) + 1;
    for (let d = 0; d < digits; d++) text += BASE64URL.charAt((group >> (18 - 6 * d)) & 63);
  }
  return text;
}

/** Base64url without padding to bytes; throws RangeError on any other alphabet, padding or non-zero spare bits. */
export function parseBase64url(text: string): Bytes {
  if (text.length % 4 === 1 || !/^[A-Za-z0-9_-]*$/.test(text)) throw new RangeError('not base64url');
  const bytes = new Uint8Array(Math.floor((text.length * 3) / 4));
  let bits = 0;
  let held = 0;
  let at = 0;
  for (const digit of text) {
    held = ((held << 6) | BASE64URL.indexOf(digit)) & 0xffff;
    bits += 6;
    if (bits >= 8) {
      bits -= 8;
      bytes[at++] = (held >> bits) & 0xff;
    }
  }
  // RFC 4648, 3.5: spare bits that are not zero would give one value two spellings.
  if ((held & ((1 << bits) - 1)) !== 0) throw new RangeError('base64url with spare bits set');
  return bytes;
}

/** Unsigned integer of `length` bytes, least significant byte first. */
export function encodeUintLE(value: number | bigint, length: number): Bytes {
  let rest = BigInt(value);
  if (rest < 0n || rest >= 1n << BigInt(8 * length)) throw new RangeError(`${String(value)} does not fit in ${length} bytes`);
  const bytes = new Uint8Array(length);
  for (let i = 0; i < length; i++) {
    bytes[i] = Number(rest & 0xffn);
    rest >>= 8n;
  }
  return bytes;
}

/** Unsigned integer of at most 6 bytes, least significant byte first. */
export function parseUintLE(bytes: Uint8Array): number {
  if (bytes.length > 6) throw new RangeError('integer longer than 6 bytes');
  return bytes.reduceRight((value, byte) => value * 256 + byte, 0);
}
