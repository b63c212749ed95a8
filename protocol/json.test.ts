import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Failure } from './failure.ts';
import { encodeStrictJson, parseStrictJson } from './json.ts';

function codeOf(act: () => unknown): string {
  try {
    act();
  } catch (thrown) {
    if (thrown instanceof Failure) return thrown.code;
    throw thrown;
  }
  return 'accepted';
}

describe('strict JSON', () => {
  it.each([
    ['a blank', '{"a": 1}'],
    ['a leading blank', ' {"a":1}'],
    ['a trailing line feed', '{"a":1}\n'],
    ['trailing text', '{"a":1}x'],
    ['a second value', '{"a":1}{"a":1}'],
    ['a duplicate key', '{"a":1,"a":1}'],
    ['a duplicate key in an inner object', '{"o":{"a":1,"a":2}}'],
    ['a duplicate key by an escape', '{"a":1,"\\u0061":2}'],
    ['a needless escape', '{"\\u0061":1}'],
    ['an escaped slash', '{"a":"\\/"}'],
    ['an upper-case escape', '{"a":"\\u001F"}'],
    ['a number with a point', '{"a":1.0}'],
    ['a number with an exponent', '{"a":1e2}'],
    ['a negative zero', '{"a":-0}'],
    ['a number out of range', '{"a":1e400}'],
    ['a number that is not exact', '{"a":9007199254740993}'],
    ['integer keys out of their order', '{"b":1,"1":2}'],
    ['a comment', '{"a":1/**/}'],
    ['a trailing comma', '{"a":1,}'],
    ['a byte order mark', '\ufeff{"a":1}'],
    ['a lone surrogate', '{"a":"\ud800"}'],
    ['single quotes', "{'a':1}"],
    ['nothing', ''],
    ['half of it', '{"a":'],
    ['NaN', '{"a":NaN}'],
    ['13 levels', '['.repeat(13) + ']'.repeat(13)],
    ['100,000 levels', '['.repeat(100_000)],
  ])('refuses %s', (_what, text) => {
    expect(codeOf(() => parseStrictJson(text))).toBe('message/malformed');
  });

  it.each(['{"a":1,"b":[true,null,"x"]}', '[]', '"\\u001f\\n\\""', '-1.5', '{"__proto__":1}', `${'['.repeat(12)}${']'.repeat(12)}`, '{"a":"[[[[[[[[[[[[[[[[\\"{{{{{{{{{{{{{{{{{"}'])('accepts %s', (text) => {
    expect(JSON.stringify(parseStrictJson(text))).toBe(text);
  });

  it('writes a bigint as a decimal string', () => {
    expect(encodeStrictJson({ amountMinor: 2n ** 62n })).toBe('{"amountMinor":"4611686018427387904"}');
  });

  it('gives back every value that it wrote', () => {
    fc.assert(fc.property(fc.jsonValue({ maxDepth: 5 }), (value) => {
      const text = encodeStrictJson(value);
      expect(encodeStrictJson(parseStrictJson(text))).toBe(text);
    }));
  });

  it('knows one text for one value: a changed character is another value or refused', () => {
    fc.assert(fc.property(fc.jsonValue({ maxDepth: 3 }), fc.nat(), fc.string({ minLength: 0, maxLength: 2 }), (value, at, replacement) => {
      const text = encodeStrictJson(value);
      const place = at % text.length;
      const changed = text.slice(0, place) + replacement + text.slice(place + 1);
      if (codeOf(() => parseStrictJson(changed)) === 'accepted') expect(encodeStrictJson(parseStrictJson(changed))).toBe(changed);
    }));
  });
});
