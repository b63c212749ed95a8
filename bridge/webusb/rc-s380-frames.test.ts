import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { concatBytes, encodeHex, parseHex, type Bytes } from '#protocol/bytes.ts';
import { ACK, COMMAND, encodeCommand, encodeRadioFrame, parseFrame, parseRadioAnswer, parseReply, PROTOCOL_DEFAULTS, RF_106A, type CommandCode } from './rc-s380-frames.ts';

const bytes = (hex: string): Bytes => parseHex(hex.replaceAll(' ', ''));
const radio = (hex: string, timeoutMs = 30) => encodeRadioFrame(bytes(hex), timeoutMs);

describe('commands; the first three and their replies are a public trace', () => {
  test.each<[string, CommandCode, Bytes, string]>([
    ['SetCommandType 1', COMMAND.setCommandType, bytes('01'), '00 00 FF FF FF 03 00 FD D6 2A 01 FF 00'],
    ['GetFirmwareVersion', COMMAND.getFirmwareVersion, bytes(''), '00 00 FF FF FF 02 00 FE D6 20 0A 00'],
    ['SwitchRF off', COMMAND.switchRf, bytes('00'), '00 00 FF FF FF 03 00 FD D6 06 00 24 00'],
    ['InSetRF 106A', COMMAND.inSetRf, RF_106A, '00 00 FF FF FF 06 00 FA D6 00 02 03 0F 03 13 00'],
    ['InSetProtocol, for REQA', COMMAND.inSetProtocol, bytes('00 06 01 00 02 00 05 01 07 07'), '00 00 FF FF FF 0C 00 F4 D6 02 00 06 01 00 02 00 05 01 07 07 0B 00'],
    ['REQA', COMMAND.inCommRf, radio('26'), '00 00 FF FF FF 05 00 FB D6 04 36 01 26 C9 00'],
    ['parity and whole bytes', COMMAND.inSetProtocol, bytes('04 01 07 08'), '00 00 FF FF FF 06 00 FA D6 02 04 01 07 08 14 00'],
    ['CRC off', COMMAND.inSetProtocol, bytes('01 00 02 00'), '00 00 FF FF FF 06 00 FA D6 02 01 00 02 00 25 00'],
    ['CRC on', COMMAND.inSetProtocol, bytes('01 01 02 01'), '00 00 FF FF FF 06 00 FA D6 02 01 01 02 01 23 00'],
    ['SDD, level 1', COMMAND.inCommRf, radio('93 20'), '00 00 FF FF FF 06 00 FA D6 04 36 01 93 20 3C 00'],
    ['SDD, level 2', COMMAND.inCommRf, radio('95 20'), '00 00 FF FF FF 06 00 FA D6 04 36 01 95 20 3A 00'],
    ['RATS', COMMAND.inCommRf, radio('E0 80'), '00 00 FF FF FF 06 00 FA D6 04 36 01 E0 80 8F 00'],
  ])('%s', (_what, code, args, expected) => expect(encodeHex(encodeCommand(code, args))).toBe(expected.replaceAll(' ', '')));

  test('InSetProtocol with the defaults', () => {
    const frame = encodeHex(encodeCommand(COMMAND.inSetProtocol, PROTOCOL_DEFAULTS));
    expect(frame.startsWith('0000FFFFFF2800D8D6020018')).toBe(true);
    expect(frame.endsWith('13064B00')).toBe(true);
  });

  test.each<[string, CommandCode, string, string]>([
    ['SetCommandType', COMMAND.setCommandType, '00 00 FF FF FF 03 00 FD D7 2B 00 FE 00', '00'],
    ['GetFirmwareVersion', COMMAND.getFirmwareVersion, '00 00 FF FF FF 04 00 FC D7 21 11 01 F6 00', '1101'],
    ['SwitchRF', COMMAND.switchRf, '00 00 FF FF FF 03 00 FD D7 07 00 22 00', '00'],
    ['InSetRF', COMMAND.inSetRf, '00 00 FF FF FF 03 00 FD D7 01 00 28 00', '00'],
    ['InSetProtocol', COMMAND.inSetProtocol, '00 00 FF FF FF 03 00 FD D7 03 00 26 00', '00'],
    ['ATQA', COMMAND.inCommRf, '00 00 FF FF FF 09 00 F7 D7 05 00 00 00 00 08 44 03 D5 00', '00000000084403'],
    ['no card', COMMAND.inCommRf, '00 00 FF FF FF 07 00 F9 D7 05 80 00 00 00 00 A4 00', '8000000000'],
  ])('the reply to %s', (_what, code, hex, args) => {
    const frame = parseFrame(bytes(hex));
    expect(frame).toMatchObject({ kind: 'data', frameBytes: bytes(hex).length });
    expect(frame?.kind === 'data' && parseReply(frame.payload, code)).toEqual(bytes(args));
    expect(frame?.kind === 'data' && parseReply(frame.payload, code === 0 ? 2 : 0)).toBeUndefined();
  });

  test.each([[30, '3601'], [80.94, '3403'], [0, '0A00'], [10_000, 'FFFF']])('%d ms to wait', (timeoutMs, hex) => {
    expect(encodeHex(encodeRadioFrame(new Uint8Array(), timeoutMs))).toBe(hex);
  });
});

describe('frames', () => {
  test('ACK and error', () => {
    expect(parseFrame(ACK)).toEqual({ kind: 'ack', frameBytes: 6 });
    expect(parseFrame(bytes('00 00 FF FF FF'))).toEqual({ kind: 'error', frameBytes: 5 });
  });

  test('whatever we send can be read, alone or with more behind it, and not before it is whole', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 290 }), fc.uint8Array({ maxLength: 8 }), fc.nat(), (args, more, cut) => {
      const frame = encodeCommand(COMMAND.inCommRf, args);
      expect(parseFrame(concatBytes(frame, more))).toEqual({ kind: 'data', frameBytes: frame.length, payload: concatBytes(bytes('D6 04'), args) });
      const part = frame.slice(0, 1 + (cut % (frame.length - 1)));
      if (part.length !== 5) expect(parseFrame(part)).toBeUndefined();
    }));
  });

  test.each([
    ['another start', '01 00 FF FF FF 02 00 FE D7 20 09 00'],
    ['another start, short', '55'],
    ['checksum of the length', '00 00 FF FF FF 02 00 FF D7 21 08 00'],
    ['longer than any', '00 00 FF FF FF FF FF 02'],
    ['checksum of the payload', '00 00 FF FF FF 03 00 FD D7 2B 00 FF 00'],
    ['postamble', '00 00 FF FF FF 03 00 FD D7 2B 00 FE 01'],
  ])('malformed: %s', (_what, hex) => expect(() => parseFrame(bytes(hex))).toThrow('reader/failed'));
});

describe('what came over the air', () => {
  test.each([
    ['silence', '80 00 00 00', 'timeout'],
    ['silence, with a byte more', '80 00 00 00 00', 'timeout'],
    ['a collision', '08 00 00 00', 'collision'],
    ['a collision among other faults', '0E 00 00 00 08 FF', 'collision'],
    ['parity', '02 00 00 00', 'garbled'],
    ['CRC', '04 00 00 00', 'garbled'],
    ['a broken frame, and nothing after it', '84 00 00 00', 'garbled'],
    ['a wrong length', '00 00 00 80', 'garbled'],
    ['half a byte', '00 00 00 00 04 0A', 'garbled'],
  ])('%s', (_what, hex, expected) => expect(parseRadioAnswer(bytes(hex))).toBe(expected));

  test('a frame', () => expect(parseRadioAnswer(bytes('00 00 00 00 08 06 75 77 81 02 80'))).toEqual(bytes('06 75 77 81 02 80')));

  test.each([['too hot', '40 00 00 00'], ['no field', '00 04 00 00'], ['field of another', '00 02 00 00'], ['nothing sent', '00 08 00 00'], ['short', '80 00 00'], ['empty', '00 00 00 00 08']])(
    'the reader is in trouble: %s',
    (_what, hex) => expect(() => parseRadioAnswer(bytes(hex))).toThrow('reader/failed'),
  );
});
