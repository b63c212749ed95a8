import { describe, expect, test } from 'vitest';
import { parseHex } from './bytes.ts';
import { parseDer, parseEcdsaSignature } from './certificate-der.ts';

describe('DER', () => {
  test('a tree is read with the whole encoding of each node', () => {
    const node = parseDer(parseHex('3008 0201 7F 3003 0101FF'.replaceAll(' ', '')));
    expect(node.children.map(({ tag }) => tag)).toEqual([0x02, 0x30]);
    expect(node.children[1]?.der).toEqual(parseHex('30030101FF'));
    expect(node.children[1]?.children[0]?.content).toEqual(parseHex('FF'));
  });

  test.each([
    ['nothing', ''],
    ['a tag alone', '30'],
    ['end of contents', '0000'],
    ['a high tag number', '1F8100'],
    ['cut off', '300302'],
    ['a trailing byte', '020100FF'],
    ['an indefinite length', '30800000'],
    ['a length with a needless octet', '04810100'],
    ['a length of two octets for 128', '04820080'.padEnd(8 + 256, '0')],
    ['a length of three octets', '0483000001AA'],
    ['a child longer than its parent', '30020403AABB'],
    ['BOOLEAN 01', '010101'],
    ['BOOLEAN without content', '0100'],
    ['INTEGER without content', '0200'],
    ['INTEGER with a needless 00', '02020001'],
    ['INTEGER with a needless FF', '0202FFFF'],
  ])('%s is refused', (_, hex) => {
    expect(() => parseDer(parseHex(hex))).toThrow(RangeError);
  });

  test('nesting ends at 16 levels, not at the end of the stack', () => {
    const nested = (levels: number): string => {
      let hex = '';
      for (let level = 0; level < levels; level++) hex = `30${(hex.length / 2).toString(16).padStart(2, '0')}${hex}`;
      return hex;
    };
    expect(parseDer(parseHex(nested(17))).tag).toBe(0x30);
    expect(() => parseDer(parseHex(nested(18)))).toThrow('nested too deeply');
  });
});

describe('ECDSA-Sig-Value', () => {
  test('short halves are filled up on the left', () => {
    const raw = parseEcdsaSignature(parseHex('3007020101020200FF'));
    expect([raw[31], raw[63], raw.filter((byte) => byte === 0).length]).toEqual([1, 0xff, 62]);
  });

  test.each([
    ['one half', '3003020101'],
    ['three halves', '3009020101020101020101'],
    ['no SEQUENCE', '3106020101020101'],
    ['an OCTET STRING for a half', '3006040101020101'],
    ['a negative half', '30060201FF020101'],
    ['a half of 33 bytes', `3026020101022101${'00'.repeat(32)}`],
  ])('%s is refused', (_, hex) => {
    expect(() => parseEcdsaSignature(parseHex(hex))).toThrow(RangeError);
  });
});
