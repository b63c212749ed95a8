/** Strict JSON: one text for one value, so that nothing can hide in a message (duplicate keys, blanks, second spellings, trailing bytes). */
import { Failure } from './failure.ts';

/** Deeper than any message of ours; a bound against stack exhaustion. */
const MAX_DEPTH = 12;

/**
 * Text to value; throws `message/malformed` unless the text is exactly what JSON.stringify makes of the value it parses to.
 * A duplicate key (RFC 8259, 4) vanishes in parsing and so fails the comparison, like blanks, `1.0` and needless escapes.
 */
export function parseStrictJson(text: string): unknown {
  if (isTooDeep(text)) throw new Failure('message/malformed', { detail: 'JSON nested too deeply' });
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new Failure('message/malformed', { cause, detail: 'not JSON' });
  }
  if (JSON.stringify(value) !== text) throw new Failure('message/malformed', { detail: 'JSON not in its one canonical spelling' });
  return value;
}

/** Value to text; bigint becomes a decimal string, because JSON numbers are not exact beyond 2^53. */
export function encodeStrictJson(value: unknown): string {
  return JSON.stringify(value, (_key, part: unknown) => (typeof part === 'bigint' ? part.toString() : part));
}

function isTooDeep(text: string): boolean {
  let depth = 0;
  let inString = false;
  for (let i = 0; i < text.length; i++) {
    const character = text[i];
    if (inString) {
      if (character === '\\') i += 1;
      else if (character === '"') inString = false;
    } else if (character === '"') inString = true;
    else if (character === '{' || character === '[') depth += 1;
    else if (character === '}' || character === ']') depth -= 1;
    if (depth > MAX_DEPTH) return true;
  }
  return false;
}
