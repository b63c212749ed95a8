/** One-time codes as people type them: 80 bits in Crockford's base32, in four groups of four. */

/** Without I, L, O and U, which look like other characters or make words. */
const BARE = /^[0-9A-HJKMNP-TV-Z]{16}$/;

/**
 * `XXXX-XXXX-XXXX-XXXX`, or undefined where it cannot be one. Small or wide letters, blanks, dashes of any kind and the letters that
 * Crockford's alphabet reads as digits do no harm.
 */
export function parseOneTimeCode(text: string): string | undefined {
  const bare = text
    .normalize('NFKC')
    // Japanese keyboards write a long-vowel mark where the dash is.
    .replaceAll(/[\s\p{Dash}ー]/gu, '')
    .toUpperCase()
    .replaceAll('O', '0')
    .replaceAll(/[IL]/g, '1');
  return BARE.test(bare) ? bare.match(/.{4}/g)?.join('-') : undefined;
}
