import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isShortCommand, MAX_COMMAND_BYTES, responseData, statusWord, wrapNative } from './apdu.ts';
import { encodeHex, parseHex } from './bytes.ts';

describe('a response APDU', () => {
  it.each([['9100', 0x9100, ''], ['AABB91AF', 0x91af, 'AABB'], ['00009000', 0x9000, '0000']])('%s has its status word last', (hex, status, data) => {
    expect(statusWord(parseHex(hex))).toBe(status);
    expect(encodeHex(responseData(parseHex(hex)))).toBe(data);
  });

  it.each(['', '90'])('of %j bytes has no status word', (hex) => {
    expect(() => statusWord(parseHex(hex))).toThrow(RangeError);
    expect(responseData(parseHex(hex))).toHaveLength(0);
  });
});

describe('a short command APDU', () => {
  it.each([
    ['case 1', '90600000', true],
    ['case 2', '9060000000', true],
    ['case 3', '00A4000002 3F00', true],
    ['case 4', '00A4000002 3F00 00', true],
    ['nothing', '', false],
    ['three bytes', '906000', false],
    ['Lc without data', '00A4000002', true], // the same bytes as case 2 with Le = 2 (ISO 7816-4, 5.1)
    ['data too short', '00A4000002 3F', false],
    ['a byte behind Le', '00A4000002 3F00 00 00', false],
    ['Lc of zero', '00A4000000 00', false],
    ['extended length', '00A40000 000002 3F00', false],
  ])('%s: %s', (_what, hex, isShort) => {
    expect(isShortCommand(parseHex(hex.replaceAll(' ', '')))).toBe(isShort);
  });

  it('has at most 261 bytes', () => {
    const longest = new Uint8Array(MAX_COMMAND_BYTES);
    longest[4] = 255;
    expect(isShortCommand(longest)).toBe(true);
    expect(isShortCommand(new Uint8Array(MAX_COMMAND_BYTES + 1).fill(255))).toBe(false);
  });
});

describe('a native command in its ISO wrapping', () => {
  it('is 90 INS 00 00 [Lc data] 00', () => {
    expect(encodeHex(wrapNative(0x60))).toBe('9060000000');
    expect(encodeHex(wrapNative(0x71, parseHex('0100')))).toBe('9071000002010000');
  });

  it('is a short command, whatever its data', () => {
    fc.assert(fc.property(fc.integer({ min: 0, max: 255 }), fc.uint8Array({ maxLength: 255 }), (instruction, data) => {
      expect(isShortCommand(wrapNative(instruction, data))).toBe(true);
    }));
    expect(() => wrapNative(0x8d, new Uint8Array(256))).toThrow(RangeError);
  });
});
