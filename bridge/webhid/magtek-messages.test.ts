import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { concatBytes, encodeHex, parseHex, type Bytes } from '#protocol/bytes.ts';
import {
  encodePassThrough, encodeReports, encodeRequest, encodeTlv, MAX_MESSAGE_BYTES, MessageAssembly, parseMessage, parsePassThrough, parseTlvs, parseUid, START_NFC_TRANSACTION,
} from './magtek-messages.ts';

const GET_VERSION = parseHex('9060000000');
const PASS_THROUGH = 'AA00810401271102840F110281059060000000820100830100';

describe('MMS messages, as the manual and the vendor\'s demo have them', () => {
  test('command 1102 with an APDU, and the single report that carries it', () => {
    const message = encodeRequest(0x27, 0x1102, encodePassThrough(GET_VERSION));
    expect(encodeHex(message)).toBe(PASS_THROUGH);
    expect(encodeReports(message).map(encodeHex)).toEqual([`0019${PASS_THROUGH}`.padEnd(128, '0')]);
  });

  test('cancel is the manual\'s example', () => {
    expect(encodeHex(encodeRequest(0x13, 0x1008, new Uint8Array()))).toBe('AA0081040113100884021008');
  });

  test('the start of a transaction is the demo\'s but for the amount, in one head and one tail', () => {
    const message = encodeRequest(0x03, 0x1001, START_NFC_TRANSACTION);
    const demo = 'AA00810401031001843D1001820178A3098101008201008301038402020386279C01009F02060000000001009F03060000000000005F2A0208405F3601029F150200009F530100';
    expect(encodeHex(message)).toBe(demo.replace('9F0206000000000100', '9F0206000000000000'));
    expect(encodeReports(message).map(encodeHex)).toEqual([`0100000047${encodeHex(message.subarray(0, 59))}`, `030C${encodeHex(message.subarray(59))}`.padEnd(128, '0')]);
  });

  test('a response of the manual, with a length that is longer than it need be', () => {
    expect(parseMessage(parseHex('AA0081048255D11182040000000084820011D1118501018704020701018904C402FFFF'))).toEqual({
      type: 0x82, reference: 0x55, command: 0xd111, detail: parseHex('00000000'), payload: parseHex('8501018704020701018904C402FFFF'),
    });
    expect(parseMessage(parseHex('AA00810482061004820400000000'))).toMatchObject({ command: 0x1004, payload: new Uint8Array() });
  });

  test('a middle report goes out only while more than 62 bytes remain', () => {
    const kinds = (bytes: number): number[] => encodeReports(new Uint8Array(bytes)).map((report) => report[0]!);
    expect([62, 63, 59 + 62, 59 + 63, 59 + 61 + 62, 59 + 61 + 63].map(kinds)).toEqual([[0], [1, 3], [1, 3], [1, 2, 3], [1, 2, 3], [1, 2, 2, 3]]);
    expect(encodeHex(encodeReports(new Uint8Array(200))[2]!).slice(0, 6)).toBe('020002');
  });

  test('whatever is cut into reports is put together again', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 900 }), (message) => {
      const assembly = new MessageAssembly();
      const answers = encodeReports(message).map((report) => assembly.accept(report));
      expect(answers.slice(0, -1).every((answer) => answer === undefined)).toBe(true);
      expect(answers.at(-1)).toEqual(new Uint8Array(message));
    }));
  });

  const [head, middle, middle2, tail] = encodeReports(new Uint8Array(59 + 61 + 63)) as [Bytes, Bytes, Bytes, Bytes];
  test.each<[string, Bytes[]]>([
    ['a report that is too short', [new Uint8Array(63)]],
    ['an unknown kind', [new Uint8Array(64).with(0, 5)]],
    ['a single report that says 63 bytes', [new Uint8Array(64).with(1, 63)]],
    ['a middle without a head', [middle]],
    ['a tail without a head', [tail]],
    ['a middle out of sequence', [head, middle2]],
    ['a middle twice', [head, middle, middle]],
    ['a tail too early', [head, middle, tail]],
    ['a tail that is too long', [head, middle, middle2, tail.with(1, 3)]],
    ['a head with a huge length', [head.with(1, 1)]],
    ['a head of what fits a single report', [head.with(4, 59)]],
    ['a middle where the tail was due', [head, middle, middle2, new Uint8Array(64).with(0, 2).with(2, 3)]],
  ] as [string, Bytes[]][])('%s is refused, and the next message is taken', (_, reports) => {
    const assembly = new MessageAssembly();
    for (const report of reports.slice(0, -1)) assembly.accept(report);
    expect(() => assembly.accept(reports.at(-1)!)).toThrow(RangeError);
    expect(assembly.accept(encodeReports(parseHex('AA'))[0]!)).toEqual(parseHex('AA'));
  });

  test('a cancel report forgets the message under way; nothing longer than we take is sent', () => {
    const assembly = new MessageAssembly();
    assembly.accept(head);
    expect(assembly.accept(new Uint8Array(64).with(0, 4))).toBeUndefined();
    expect(() => assembly.accept(middle)).toThrow(RangeError);
    expect(() => encodeReports(new Uint8Array(MAX_MESSAGE_BYTES + 1))).toThrow(RangeError);
  });

  test('TLVs of any length survive', () => {
    fc.assert(fc.property(fc.array(fc.record({ tag: fc.constantFrom(0x81, 0x84, 0xfc, 0xdf7a), value: fc.uint8Array({ maxLength: 300 }) }), { maxLength: 5 }), (tlvs) => {
      expect(parseTlvs(concatBytes(...tlvs.map(({ tag, value }) => encodeTlv(tag, value))))).toEqual(tlvs.map(({ tag, value }) => ({ tag, value: new Uint8Array(value) })));
    }));
    expect(parseTlvs(parseHex('DFDF590101'))).toEqual([{ tag: 0xdfdf59, value: parseHex('01') }]);
  });

  test.each(['81', 'DF', '8102AA', '8180', '8183000001', '8181', '828200', 'FFFFFFFF'])('%s is no TLV', (hex) => {
    expect(() => parseTlvs(parseHex(hex))).toThrow(RangeError);
  });

  test.each([
    ['another start', 'AB0081040127110284021102'],
    ['another version', 'AA0181040127110284021102'],
    ['no head', 'AA0084021102'],
    ['a head behind', 'AA0084021102810401271102'],
    ['a short head', 'AA008103012711'],
    ['a short status', 'AA008104822711028203000000'],
    ['something behind', 'AA0081040127110284021102FF'],
    ['nothing', ''],
  ])('a message with %s is refused', (_, hex) => {
    expect(() => parseMessage(parseHex(hex))).toThrow(RangeError);
  });

  test('an answer comes wrapped, bare or without data', () => {
    expect(encodeHex(parsePassThrough(parseHex('810291AF8208FC06DF7A03040101')))).toBe('04010191AF');
    expect(encodeHex(parsePassThrough(parseHex('810291AF8203040101')))).toBe('04010191AF');
    expect(encodeHex(parsePassThrough(parseHex('81029100')))).toBe('9100');
    expect(encodeHex(parsePassThrough(parseHex('810291AE8202FC00')))).toBe('91AE');
    expect(encodeHex(parsePassThrough(parseHex('810291AE8205FC03DF7A00')))).toBe('91AE');
    expect(encodeHex(parsePassThrough(parseHex('810291008203FC01DF')))).toBe('FC01DF9100');
    expect(() => parsePassThrough(parseHex('810191'))).toThrow(RangeError);
    expect(() => parsePassThrough(parseHex('8203040101'))).toThrow(RangeError);
  });

  test.each([['840CFC0ADF7A0704112233445566', '04112233445566'], ['FC07DF7A0408112233', '08112233'], ['840704112233445566', '04112233445566'], ['04112233445566', '04112233445566'], ['8403010203', undefined], ['', undefined]])('the UID in %s is %s', (hex, uid) => {
    const found = parseUid(parseHex(hex));
    expect(found && encodeHex(found)).toBe(uid);
  });
});
