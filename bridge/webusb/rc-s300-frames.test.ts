import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { encodeHex, parseHex } from '#protocol/bytes.ts';
import {
  encodeExchange, encodeMessage, END_SESSION, GET_ATS, GET_UID, parseHeader, parseObjects, parseReply, RF_OFF, RF_ON, START_SESSION, TO_LAYER_3, TO_LAYER_4,
} from './rc-s300-frames.ts';

const spaced = (hex: string): string => hex.replaceAll(' ', '');

describe('what the reader is told', () => {
  // Sequence number 1; the layout is that of public captures.
  test.each([
    ['end session', END_SESSION, '6B 08 00 00 00 00 01 00 00 00 FF 50 00 00 02 82 00 00'],
    ['start session', START_SESSION, '6B 08 00 00 00 00 01 00 00 00 FF 50 00 00 02 81 00 00'],
    ['field off', RF_OFF, '6B 08 00 00 00 00 01 00 00 00 FF 50 00 00 02 83 00 00'],
    ['field on', RF_ON, '6B 08 00 00 00 00 01 00 00 00 FF 50 00 00 02 84 00 00'],
    ['type A, layer 3', TO_LAYER_3, '6B 0A 00 00 00 00 01 00 00 00 FF 50 00 02 04 8F 02 00 03 00'],
    ['type A, layer 4', TO_LAYER_4, '6B 16 00 00 00 00 01 00 00 00 FF 50 00 02 10 FF 6E 03 01 01 08 FF 6E 03 08 01 00 8F 02 00 04 00'],
    ['UID', GET_UID, '6B 04 00 00 00 00 01 00 00 00 FF CA 00 00'],
    ['ATS', GET_ATS, '6B 04 00 00 00 00 01 00 00 00 FF CA 01 00'],
    [
      'REQA', encodeExchange({ data: parseHex('26'), timeoutMs: 30, lastByteBits: 7, withCrc: false }),
      '6B 1D 00 00 00 00 01 00 00 00 FF 50 00 01 00 00 13 90 02 00 13 91 01 07 5F 46 04 30 75 00 00 95 82 00 01 26 00 00 00',
    ],
    [
      'anticollision', encodeExchange({ data: parseHex('9320'), timeoutMs: 30, lastByteBits: 0, withCrc: false }),
      '6B 1E 00 00 00 00 01 00 00 00 FF 50 00 01 00 00 14 90 02 00 13 91 01 00 5F 46 04 30 75 00 00 95 82 00 02 93 20 00 00 00',
    ],
    [
      'RATS', encodeExchange({ data: parseHex('E080'), timeoutMs: 30, withCrc: true }),
      '6B 1B 00 00 00 00 01 00 00 00 FF 50 00 01 00 00 11 90 02 00 10 5F 46 04 30 75 00 00 95 82 00 02 E0 80 00 00 00',
    ],
    [
      'GetVersion in a block', encodeExchange({ data: parseHex('029060000000'), timeoutMs: 77, withCrc: true }),
      '6B 1F 00 00 00 00 01 00 00 00 FF 50 00 01 00 00 15 90 02 00 10 5F 46 04 C8 2C 01 00 95 82 00 06 02 90 60 00 00 00 00 00 00',
    ],
  ])('%s', (_what, request, expected) => expect(encodeHex(encodeMessage(1, request))).toBe(spaced(expected)));

  test('the longest block fits the longest message', () => {
    expect(encodeMessage(255, encodeExchange({ data: new Uint8Array(254), timeoutMs: 4953, lastByteBits: 0, withCrc: true })).length).toBeLessThanOrEqual(522);
  });
});

describe('the header of a message', () => {
  test('of a capture: done, although there is no card in its contact slot', () => {
    expect(parseHeader(parseHex('83070000000001020000C00300900090'))).toEqual({ dataBytes: 7, sequence: 1, outcome: 'done', error: 0 });
  });

  test.each([
    ['busy', '8300000000000542E000', { outcome: 'busy', error: 0xe0 }],
    ['failed', '83000000000005420500', { outcome: 'failed', error: 5 }],
    ['more time', '83000000000005820000', { outcome: 'more-time' }],
  ])('%s', (_what, hex, expected) => expect(parseHeader(parseHex(hex))).toMatchObject({ sequence: 5, dataBytes: 0, ...expected }));

  test.each([
    ['short', '830000000000010200'],
    ['another type', '80000000000001020000'],
    ['another slot', '83000000000101020000'],
    ['longer than any message', '83010200000001020000'],
    ['longer than memory', '83FFFFFFFF0001020000'],
    ['an outcome that there is not', '83000000000001C20000'],
  ])('refused: %s', (_what, hex) => expect(parseHeader(parseHex(hex))).toBeUndefined());

  test('echoes what we send', () => {
    fc.assert(fc.property(fc.nat(255), fc.uint8Array({ maxLength: 512 }), (sequence, data) => {
      const echo = encodeMessage(sequence, data);
      echo[0] = 0x83;
      expect(parseHeader(echo)).toEqual({ dataBytes: data.length, sequence, outcome: 'done', error: 0 });
    }));
  });
});

describe('what the reader answers (captures)', () => {
  const objects = (hex: string) => parseObjects(parseReply(parseHex(spaced(hex))).data);

  test('done', () => expect(objects('C0 03 00 90 00 90 00')).toEqual({ status: 0x9000, rfErrors: 0, response: undefined }));
  test('a poll that hits', () => {
    const card = '0102030405060708090A0B0C0D0E0F1011121314';
    expect(objects(`C0 03 00 90 00 92 01 00 96 02 00 00 97 14 ${card} 90 00`)).toEqual({ status: 0x9000, rfErrors: 0, response: parseHex(card) });
  });
  test('a poll that misses', () => expect(objects('C0 03 02 64 01 90 00').status).toBe(0x6401));
  test('no access', () => expect(objects('C0 03 00 69 8A 90 00').status).toBe(0x698a));
  test('the bits of a broken frame', () => expect(objects('C0 03 00 90 00 96 02 03 00 90 00').rfErrors).toBe(3));
  test('a UID', () => expect(parseReply(parseHex('040102030405069000'))).toEqual({ data: parseHex('04010203040506'), status: 0x9000 }));

  test.each([['5', '97 05 0102030405'], ['5 in one byte', '97 81 05 0102030405'], ['5 in two bytes', '97 82 00 05 0102030405']])('a length of %s', (_what, hex) => {
    expect(objects(`C0 03 00 90 00 ${hex} 90 00`).response).toEqual(parseHex('0102030405'));
  });

  test('the ATR of an activated card is passed over', () => {
    expect(objects(`5F51 06 3B8180018080 C0 03 00 90 00 97 01 AA 90 00`).response).toEqual(parseHex('AA'));
  });

  test('an unknown object ends the list and does not fail', () => {
    expect(objects('C0 03 00 90 00 DF 01 FF 97 01 AA 90 00')).toEqual({ status: 0x9000, rfErrors: 0, response: undefined });
  });

  test.each([
    ['no length', 'C0'],
    ['a value that is cut', 'C0 03 00 90'],
    ['a value longer than the reply', '97 7F'],
    ['a length without end', '97 80 00 00'],
    ['a length of three bytes', '97 83 00 00 01 AA'],
    ['half a length', '97 82 00'],
    ['a status of two bytes', 'C0 02 90 00'],
    ['a response status of one byte', '96 01 00'],
  ])('malformed: %s', (_what, hex) => expect(() => parseObjects(parseHex(spaced(hex)))).toThrow('reader/failed'));

  test('a reply has a status word', () => expect(() => parseReply(parseHex('90'))).toThrow('reader/failed'));

  test('any bytes are objects or a failure of ours', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
      try {
        parseObjects(new Uint8Array(bytes));
      } catch (reason) {
        expect(reason).toMatchObject({ code: 'reader/failed' });
      }
    }));
  });
});
