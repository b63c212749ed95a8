import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { concatBytes, encodeBase64url, encodeHex, encodeUintLE, equalBytes, parseBase64url, parseHex, parseUintLE } from './bytes.ts';

const text = new TextEncoder();
const anyBytes = fc.uint8Array({ maxLength: 80 });

describe('hex', () => {
  // RFC 4648, section 10.
  it.each([['', ''], ['f', '66'], ['fo', '666F'], ['foo', '666F6F'], ['foob', '666F6F62'], ['fooba', '666F6F6261'], ['foobar', '666F6F626172']])('of %j is %j (RFC 4648)', (plain, encoded) => {
    expect(encodeHex(text.encode(plain))).toBe(encoded);
    expect(parseHex(encoded)).toEqual(text.encode(plain));
    expect(parseHex(encoded.toLowerCase())).toEqual(text.encode(plain));
  });

  it.each(['0', '0G', '0x00', ' 00', '00 ', '0 0', '００'])('refuses %j', (encoded) => {
    expect(() => parseHex(encoded)).toThrow(RangeError);
  });

  it('round trips', () => {
    fc.assert(fc.property(anyBytes, (bytes) => {
      expect(parseHex(encodeHex(bytes))).toEqual(bytes);
    }));
  });
});

describe('base64url', () => {
  // RFC 4648, section 10, without padding.
  it.each([['', ''], ['f', 'Zg'], ['fo', 'Zm8'], ['foo', 'Zm9v'], ['foob', 'Zm9vYg'], ['fooba', 'Zm9vYmE'], ['foobar', 'Zm9vYmFy']])('of %j is %j (RFC 4648)', (plain, encoded) => {
    expect(encodeBase64url(text.encode(plain))).toBe(encoded);
    expect(parseBase64url(encoded)).toEqual(text.encode(plain));
  });

  it('has the URL-safe alphabet', () => {
    expect(encodeBase64url(parseHex('FBEFBEFFFFFF'))).toBe('----____');
  });

  it.each(['A', 'AAAAA', 'Zg==', 'Zm8=', 'Zm9v\n', ' Zm9v', 'Zm+v', 'Zm/v', 'Z.9v'])('refuses %j', (encoded) => {
    expect(() => parseBase64url(encoded)).toThrow(RangeError);
  });

  it.each(['Zh', 'Zk', 'Zm9', 'AB', 'AAB'])('refuses spare bits in %j', (encoded) => {
    expect(() => parseBase64url(encoded)).toThrow('spare bits');
  });

  it('round trips, and agrees with another implementation', () => {
    fc.assert(fc.property(anyBytes, (bytes) => {
      const encoded = encodeBase64url(bytes);
      expect(encoded).toBe(Buffer.from(bytes).toString('base64url'));
      expect(parseBase64url(encoded)).toEqual(bytes);
    }));
  });

  it('has one spelling for one value', () => {
    fc.assert(fc.property(fc.stringMatching(/^[\w-]{0,30}$/), (encoded) => {
      let bytes;
      try {
        bytes = parseBase64url(encoded);
      } catch {
        return; // refused: not a spelling of anything
      }
      expect(encodeBase64url(bytes)).toBe(encoded);
    }));
  });
});

describe('byte strings', () => {
  it('are equal only with the same length and bytes', () => {
    fc.assert(fc.property(anyBytes, anyBytes, (a, b) => {
      expect(equalBytes(a, b)).toBe(encodeHex(a) === encodeHex(b));
    }));
    fc.assert(fc.property(fc.uint8Array({ minLength: 1 }), fc.nat(), fc.integer({ min: 1, max: 255 }), (bytes, at, flip) => {
      const other = bytes.slice();
      other[at % other.length]! ^= flip;
      expect(equalBytes(bytes, bytes.slice())).toBe(true);
      expect(equalBytes(bytes, other)).toBe(false);
      expect(equalBytes(bytes, bytes.slice(1))).toBe(false);
    }));
  });

  it('are joined in order, as a copy', () => {
    const part = new Uint8Array([1, 2]);
    const whole = concatBytes(part, new Uint8Array(), new Uint8Array([3]));
    part[0] = 9;
    expect(whole).toEqual(new Uint8Array([1, 2, 3]));
    expect(concatBytes()).toEqual(new Uint8Array());
  });
});

describe('an unsigned integer, least significant byte first', () => {
  it('is written and read', () => {
    expect(encodeHex(encodeUintLE(0x123456, 3))).toBe('563412');
    expect(parseUintLE(parseHex('FFFFFFFFFFFF'))).toBe(2 ** 48 - 1);
    fc.assert(fc.property(fc.integer({ min: 0, max: 2 ** 48 - 1 }), (value) => {
      expect(parseUintLE(encodeUintLE(value, 6))).toBe(value);
    }));
  });

  it('must fit', () => {
    expect(() => encodeUintLE(256, 1)).toThrow(RangeError);
    expect(() => encodeUintLE(-1, 4)).toThrow(RangeError);
    expect(() => encodeUintLE(2n ** 32n, 4)).toThrow(RangeError);
    expect(() => encodeUintLE(0.5, 1)).toThrow(RangeError);
    expect(() => parseUintLE(new Uint8Array(7))).toThrow(RangeError);
  });
});
