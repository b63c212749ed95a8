/** One-time codes, for enrolment and activation: 80 random bits in Crockford's base32, in four groups that a person can read out and type. */
import type { Bytes } from '#protocol/bytes.ts';

export const ONE_TIME_CODE_BYTES = 10;

/** Without I, L, O and U, which look like other characters or make words. */
const ALPHABET = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';

/** 10 bytes to `XXXX-XXXX-XXXX-XXXX`. */
export function encodeOneTimeCode(bytes: Bytes): string {
  if (bytes.length !== ONE_TIME_CODE_BYTES) throw new RangeError(`a one-time code has ${ONE_TIME_CODE_BYTES} bytes`);
  let value = bytes.reduce((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
  let digits = '';
  for (let i = 0; i < 16; i++) {
    digits = ALPHABET.charAt(Number(value & 31n)) + digits;
    value >>= 5n;
  }
  return (digits.match(/.{4}/g) ?? []).join('-');
}

export function isOneTimeCode(code: string): boolean {
  const bare = code.toUpperCase().replaceAll('-', '');
  return /^[0-9A-HJKMNP-TV-Z]{16}$/.test(bare);
}
