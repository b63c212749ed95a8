import { describe, expect, test } from 'vitest';
import { parseHex } from '#protocol/bytes.ts';
import { MAX_FRAME_WAIT_MS, parseAts, RATS } from './iso-dep-ats.ts';

const parse = (hex: string) => parseAts(parseHex(hex));

describe('the answer to select', () => {
  test('of DESFire EV1 and EV2 (public captures)', () => {
    const ats = parse('067577810280');
    expect(ats).toMatchObject({ frameBytes: 64, takesCid: true, takesNad: false, historical: parseHex('80') });
    expect(ats.frameWaitMs).toBeCloseTo(77.3, 1);
    expect(ats.guardMs).toBeCloseTo(0.604, 3);
  });

  test('of DESFire EV3 and Light', () => {
    const ats = parse('067777710280');
    expect(ats.frameBytes).toBe(128);
    expect(ats.frameWaitMs).toBeCloseTo(38.7, 1);
  });

  test('TB is found by the bits of T0, not at a fixed place', () => {
    expect(parse('032081').frameWaitMs).toBeCloseTo(77.3, 1);
    expect(parse('0560810280').frameWaitMs).toBeCloseTo(77.3, 1);
    expect(parse('04304081').frameWaitMs).toBeCloseTo(77.3, 1);
    // TA alone is no waiting time: the default stands.
    expect(parse('03108A').frameWaitMs).toBeCloseTo(4.833, 3);
  });

  test('what is not there has the default of the standard', () => {
    for (const hex of ['01', '0202']) {
      const ats = parse(hex);
      expect(ats).toMatchObject({ frameBytes: 32, guardMs: 0, takesCid: true, takesNad: false, historical: new Uint8Array() });
      expect(ats.frameWaitMs).toBeCloseTo(4.833, 3);
    }
  });

  test('every FSCI; those for the future are read as 256', () => {
    const sizes = Array.from({ length: 16 }, (_, code) => parseAts(Uint8Array.of(2, code)).frameBytes);
    expect(sizes).toEqual([16, 24, 32, 40, 48, 64, 96, 128, 256, 256, 256, 256, 256, 256, 256, 256]);
  });

  test('FWI 14 is the longest; 15 is read as the default, as SFGI 15 is', () => {
    expect(parse('0320E0').frameWaitMs).toBe(MAX_FRAME_WAIT_MS);
    expect(MAX_FRAME_WAIT_MS).toBeCloseTo(4949, 0);
    expect(parse('0320F0').frameWaitMs).toBeCloseTo(4.833, 3);
    expect(parse('03208F').guardMs).toBe(0);
  });

  test('TC tells of CID and NAD', () => {
    expect(parse('034000')).toMatchObject({ takesCid: false, takesNad: false });
    expect(parse('034003')).toMatchObject({ takesCid: true, takesNad: true });
  });

  test('a bit for the future in T0 is not ours to judge', () => expect(parse('0285').frameBytes).toBe(64));

  test.each([
    ['nothing', ''],
    ['TL 0', '00'],
    ['shorter than TL', '0675778102'],
    ['longer than TL', '06757781028000'],
    ['TA missing', '0210'],
    ['TB missing', '033000'],
    ['TC missing', '04700000'],
    ['longer than a frame', `FF${'00'.repeat(254)}`],
  ])('a malformed one is refused: %s', (_what, hex) => {
    expect(() => parse(hex)).toThrow('card/unsupported');
  });

  test('is asked for with FSDI 8 and CID 0', () => expect(RATS).toEqual(parseHex('E080')));
});
