import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { concatBytes, encodeHex, encodeUintLE, parseHex } from '#protocol/bytes.ts';
import type { Bytes } from '#protocol/bytes.ts';
import { ContactlessField } from './field.ts';
import { Picc } from './picc.ts';
import { RcS300 } from './rc-s300.ts';
import type { RcS300Options } from './rc-s300.ts';
import { encodeDataObject, parseDataObjects, parsePseudoApdu } from './rc-s300-frames.ts';
import { EchoApplication } from './testing-application.ts';
import { STALL } from './usb-device.ts';

const hex = (text: string): Bytes => parseHex(text.replaceAll(/\s/g, ''));
const OK = 'C00300900090 00'.replaceAll(' ', '');

function laidOut(options: Partial<RcS300Options> = {}, cards = [new EchoApplication()]) {
  const field = new ContactlessField();
  for (const application of cards) field.put(new Picc({ application, ats: hex('06757781 0280') }));
  const device = new RcS300({ field, ...options });
  let sequence = 0;
  const read = async (length = 1024): Promise<string> => {
    const answer = await device.transferIn(2, length, AbortSignal.timeout(2_000));
    return answer instanceof Uint8Array ? encodeHex(answer) : String(answer);
  };
  const raw = async (message: Bytes): Promise<string> => {
    await device.transferOut(2, message);
    return read();
  };
  /** The data of the answer to this Escape data, its header checked. */
  const escape = async (data: string): Promise<string> => {
    const body = hex(data);
    sequence++;
    const answer = await raw(concatBytes(hex('6B'), encodeUintLE(body.length, 4), new Uint8Array([0, sequence, 0, 0, 0]), body));
    expect(answer.slice(0, 2)).toBe('83');
    expect(answer.slice(10, 20)).toBe(`00${sequence.toString(16).padStart(2, '0').toUpperCase()}020000`);
    return answer.slice(20);
  };
  const session = async () => {
    await escape('FF50000002810000');
    await escape('FF50000002840000');
  };
  return { field, device, read, raw, escape, session, application: cards[0]! };
}

const LAYER_3 = 'FF500002048F02000300';
const LAYER_4 = 'FF50000210FF6E03010108FF6E030801008F02000400';
const UID = 'FFCA0000';

describe('the RC-S300', () => {
  it('describes itself as the real one does', () => {
    const { descriptors } = laidOut().device;
    expect(encodeHex(descriptors.device)).toBe('12010002000000404C05C90D000101020301');
    expect(descriptors.configuration).toHaveLength(9 + 9 + 54 + 21 + 9 + 14);
    expect(encodeHex(descriptors.configuration.slice(-23))).toBe('0904010002FF0000000705020240000007058202400000');
    expect(descriptors.strings.slice(0, 2)).toEqual(['SONY', 'FeliCa Port/PaSoRi 4.0']);
    expect(laidOut({ ccidInterface: false }).device.descriptors.configuration).toHaveLength(9 + 23);
  });

  it('answers the captured frames byte for byte', async () => {
    const { raw } = laidOut();
    const ok = '8307000000000102 0000 C003009000 9000'.replaceAll(' ', '');
    expect(await raw(hex('6B 08 00 00 00 00 01 00 00 00 FF 50 00 00 02 81 00 00'))).toBe(ok);
    expect(await raw(hex('6B 08 00 00 00 00 01 00 00 00 FF 50 00 00 02 83 00 00'))).toBe(ok);
    expect(await raw(hex('6B 08 00 00 00 00 01 00 00 00 FF 50 00 00 02 84 00 00'))).toBe(ok);
    expect(await raw(hex('6B 0A 00 00 00 00 01 00 00 00 FF 50 00 02 04 8F 02 00 03 00'))).toBe(ok);
    expect(await raw(hex('6B 04 00 00 00 00 01 00 00 00 FF CA 00 00'))).toBe('83090000000001020000041122334455669000');
    // RC-S300 polls FeliCa without flags; there is none in this field.
    expect(await raw(hex('6B 0A 00 00 00 00 01 00 00 00 FF 50 00 02 04 8F 02 03 00 00'))).toBe(ok);
    expect(await raw(hex('6B 1B 00 00 00 00 01 00 00 00 FF 50 00 01 00 00 11 5F 46 04 A0 86 01 00 95 82 00 06 06 00 FF FF 01 00 00 00 00')))
      .toBe('83070000000001020000C0030264019000');
    expect(await raw(hex('6B 08 00 00 00 00 01 00 00 00 FF 50 00 00 02 82 00 00'))).toBe(ok);
  });

  it('does layer 3 by hand, frame by frame, with sticky flags and bit framing', async () => {
    const { escape, session } = laidOut();
    await session();
    expect(await escape('FF500001000013 90020013 910107 5F460430750000 95820001 26 000000'.replaceAll(' ', ''))).toBe('C00300900092010096020000970244039000');
    expect(await escape('FF500001000014 90020013 910100 5F460430750000 95820002 9320 000000'.replaceAll(' ', ''))).toBe('C003009000920100960200009705 88041122BF 9000'.replaceAll(' ', ''));
    // CRC appended and checked from here on; the timer stays as it was.
    expect(await escape('FF500001 00000F 90020010 95820007 937088041122BF 0000'.replaceAll(' ', ''))).toBe('C003009000 920100 96020000 970104 9000'.replaceAll(' ', ''));
    expect(await escape('FF500001 00000A 90020013 95820002 9520'.replaceAll(' ', ''))).toContain('97053344556644');
    expect(await escape('FF500001 00000F 90020010 95820007 95703344556644'.replaceAll(' ', ''))).toContain('970120');
    expect(await escape('FF500001 000006 95820002 E080 0000'.replaceAll(' ', ''))).toBe('C003009000 920100 96020000 9706 067577810280 9000'.replaceAll(' ', ''));
    expect(await escape('FF500001 000015 90020010 5F4604C82C0100 95820006 029060000000 000000'.replaceAll(' ', ''))).toContain('9708 029060000000 9000'.replaceAll(' ', ''));
  });

  it('activates layer 4 itself and tells the ATR; blocks are the host\'s', async () => {
    const { escape, session, application } = laidOut();
    await session();
    expect(await escape(LAYER_4)).toBe('C003009000 8F0104 5F5106 3B8180018080 9000'.replaceAll(' ', ''));
    expect(await escape('FFCA0100')).toBe('0675778102809000');
    expect(await escape(UID)).toBe('041122334455669000');
    expect(await escape('FF500001 000015 90020010 5F4604C82C0100 95820006 029060000000 000000'.replaceAll(' ', ''))).toContain('9708029060000000 9000'.replaceAll(' ', ''));
    expect(application.commands.map(encodeHex)).toEqual(['9060000000']);
    // A card that speaks ISO-DEP hears no WUPA: only the field's going off brings it back.
    expect(await escape(LAYER_3)).toBe('C0030164019000');
    await escape('FF50000002830000');
    await escape('FF50000002840000');
    expect(await escape(LAYER_3)).toBe(OK);
    expect(await escape(LAYER_3)).toBe(OK);
  });

  it('forgets flags and bit framing at a protocol switch, and not before', async () => {
    const { escape, session } = laidOut();
    await session();
    expect(await escape('FF500001 00000A 90020013 910107 950126'.replaceAll(' ', ''))).toContain('97024403');
    expect(await escape('FF500001 000003 950152'.replaceAll(' ', ''))).toBe('C0030164019000');
    expect(await escape('FF500001 000003 950126'.replaceAll(' ', ''))).toContain('97024403');
    await escape(LAYER_3);
    expect(await escape('FF500001 000004 9502E080'.replaceAll(' ', ''))).toContain('9706067577810280');
  });

  it('without the prologue flag speaks ISO-DEP itself (PC/SC part 3, transmission and reception flag)', async () => {
    const { escape, session } = laidOut();
    await session();
    await escape(LAYER_4);
    expect(await escape('FF500001 00000D 90020000 95820005 9060000000'.replaceAll(' ', ''))).toBe('C003009000 920100 96020000 9707 90600000009000 9000'.replaceAll(' ', ''));
  });

  it('says what is not there: no card, no field, no session, several cards', async () => {
    const none = laidOut({}, []);
    await none.session();
    expect(await none.escape(LAYER_3)).toBe('C0030164019000');
    expect(await none.escape(UID)).toBe('6F00');
    expect(await none.escape('FF50000002830000')).toBe(OK);
    expect(await none.escape(LAYER_3)).toBe('C0030164009000');
    expect(await none.escape('FF50000002820000')).toBe(OK);
    expect(await none.escape('FF50000002820000')).toBe('C0030163019000');
    expect(await none.escape('FF50000002840000')).toBe('C0030169859000');
    expect(await none.escape(LAYER_3)).toBe('C0030169859000');
    const two = laidOut({}, [new EchoApplication(), new EchoApplication(hex('04998877665544'))]);
    await two.session();
    expect(await two.escape(LAYER_4)).toBe('C003036401 96020200 9000'.replaceAll(' ', ''));
  });

  it('takes its time to say that a card is silent, as long as the timer says', async () => {
    const { escape, session } = laidOut({}, []);
    await session();
    const start = performance.now();
    expect(await escape('FF500001 00000E 5F460450C30000 90020013 950126'.replaceAll(' ', ''))).toBe('C0030364019000');
    expect(performance.now() - start).toBeGreaterThan(48);
  });

  it.each([
    ['too short', 'FF50', '6700'], ['another class', '00A4040000', '6E00'], ['an unknown INS', 'FF99000000', '6D00'],
    ['Lc beyond the end', 'FF50000004810000', '6700'], ['bytes after Le', 'FF5000000281000000', '6700'],
    ['extended Lc beyond the end', 'FF5000010000FF0102', '6700'], ['P2 out of range', 'FF500003028100', '6A86'],
    ['an unknown tag', 'FF500000028500', 'C003016A819000'], ['a tag cut off', 'FF5000000181', 'C0030167009000'],
    ['a second object cut off', 'FF50000003810084', 'C0030267009000'], ['an argument where none belongs', 'FF50000003840101', 'C0030167009000'],
    ['flags of one byte', 'FF500001039001FF', 'C0030167009000'], ['unknown flags', 'FF5000010490020020', 'C003016A809000'],
    ['nine bits', 'FF50000103910109', 'C003016A809000'], ['a timer of two bytes', 'FF500001055F46020000', 'C0030167009000'],
    ['nothing to send', 'FF500001029500', 'C0030167009000'], ['more than the buffer', `FF5000010001279582 0123${'00'.repeat(291)}`.replaceAll(' ', ''), 'C0030167009000'],
    ['an unknown standard', 'FF500002048F020903', 'C003016A809000'], ['an unknown layer', 'FF500002048F020009', 'C003016A809000'],
    ['a layer left out', 'FF500002038F0100', 'C0030167009000'], ['an unknown vendor parameter', 'FF50000206FF6E03770100', 'C003016A809000'],
    ['historical bytes of no card', 'FFCA0100', '6F00'],
  ])('refuses a malformed command: %s', async (_name, command, answer) => {
    const { escape, session } = laidOut();
    await session();
    expect(await escape(command)).toBe(answer);
    expect(await escape('FF50000002840000')).toBe(OK);
  });

  it.each([
    ['a length that is not the message\'s', '6B 09 00 00 00 00 07 00 00 00 FF CA 00 00', '83000000000007420100'],
    ['another slot', '6B 04 00 00 00 01 07 00 00 00 FF CA 00 00', '83000000000007420500'],
    ['another type', '6F 04 00 00 00 00 07 00 00 00 FF CA 00 00', '83000000000007420000'],
    ['reserved bytes', '6B 04 00 00 00 00 07 01 00 00 FF CA 00 00', '83000000000007420700'],
  ])('refuses a malformed message: %s', async (_name, message, answer) => {
    expect(await laidOut().raw(hex(message))).toBe(answer);
  });

  it('halts its OUT endpoint at what is not a message, until the halt is cleared', async () => {
    const { device, escape } = laidOut();
    await device.transferOut(2, hex('6B0000'));
    expect(await device.transferOut(2, hex('6B0000'))).toBe(STALL);
    device.clearHalt(0x02);
    expect(await escape('FF5F0300')).toBe('303030303030319000');
  });

  it('takes a message in several transfers of whole packets, and gives its answer in pieces', async () => {
    const { device, session, escape, read } = laidOut();
    await session();
    await escape(LAYER_4);
    // 02 and 56 bytes: with headers and objects 10 + 7 + 4 + 4 + 57 = 82 bytes.
    const block = concatBytes(hex('02'), new Uint8Array(56));
    const data = concatBytes(hex('FF50000100 0041 90020010 95820039'), block);
    const message = concatBytes(hex('6B'), encodeUintLE(data.length, 4), hex('0009000000'), data);
    await device.transferOut(2, message.slice(0, 64));
    await device.transferOut(2, message.slice(64));
    const header = await read(10);
    expect(header).toBe('834B0000000009020000');
    const rest = await read(1024);
    expect(rest).toHaveLength(2 * 0x4b);
    expect(rest.endsWith('90009000')).toBe(true);
  });

  it('misbehaves as told, and no longer', async () => {
    const { device, escape, raw, read, session } = laidOut();
    await session();
    const get = hex('6B040000000042000000FF5F0300');
    const right = '83090000000042020000303030303030319000';
    device.misbehave.busy = 2;
    expect(await raw(get)).toBe('8300000000004242E000');
    expect(await raw(get)).toBe('8300000000004242E000');
    expect(await raw(get)).toBe(right);
    device.misbehave.stale = 1;
    expect(await raw(hex('6B040000000043000000FF560000'))).toBe(right);
    expect(await read()).toBe('83040000000043020000' + '01009000');
    device.misbehave.timeExtensions = 2;
    expect(await raw(get)).toBe('83000000000042820000');
    expect(await read()).toBe('83000000000042820000');
    expect(await read()).toBe(right);
    device.misbehave.wrongSequence = 1;
    expect(await raw(get)).toBe(right.replace('0042020000', '0097020000'));
    device.misbehave.split = true;
    expect(await raw(get)).toBe(right.slice(0, 20));
    expect(await read()).toBe(right.slice(20));
    device.misbehave.split = false;
    device.misbehave.garbage = 1;
    expect(await raw(get)).toHaveLength(right.length);
    device.misbehave.claimed = true;
    expect(await escape('FF50000002810000')).toBe('C00300698A9000');
    device.misbehave.claimed = false;
    expect(await escape('FF50000002810000')).toBe(OK);
  });

  it('answers any data of a message once, under its sequence number', async () => {
    const head = fc.constantFrom('', 'FF50', 'FF500000', 'FF50000104', 'FF50000204', 'FFCA', 'FF5F', 'FF55').map(hex);
    await fc.assert(fc.asyncProperty(head, fc.uint8Array({ maxLength: 24 }), fc.nat(255), async (start, rest, sequence) => {
      const { device, raw } = laidOut();
      const data = concatBytes(start, rest);
      const answer = parseHex(await raw(concatBytes(hex('6B'), encodeUintLE(data.length, 4), new Uint8Array([0, sequence, 0, 0, 0]), data)));
      expect([answer[0], answer[6], answer.length]).toEqual([0x83, sequence, 10 + (answer[1] ?? 0)]);
      expect(answer.length).toBeGreaterThanOrEqual(12);
      const nothing = await device.transferIn(2, 64, AbortSignal.abort());
      expect(nothing).toHaveLength(0);
    }));
  });

  it('finds a card with a random UID, another each time the field goes on', async () => {
    const { field, escape, session } = laidOut({}, []);
    field.put(new Picc({ application: new EchoApplication(), randomUid: true }));
    await session();
    const seen = new Set<string>();
    for (let i = 0; i < 3; i++) {
      expect(await escape(LAYER_4)).toContain('9000');
      const uid = await escape(UID);
      expect(uid).toMatch(/^08.{6}9000$/);
      seen.add(uid);
      await escape('FF50000002830000');
      await escape('FF50000002840000');
    }
    expect(seen.size).toBeGreaterThan(1);
  });

  it('reports a wrong CRC of the card as such, and the card\'s silence as silence', async () => {
    const { escape, session, field } = laidOut();
    await session();
    await escape(LAYER_4);
    const presence = 'FF500001 00000E 90020010 5F460410270000 9501B2'.replaceAll(' ', '');
    field.inject({ kind: 'corrupt-answer' });
    expect(await escape(presence)).toBe('C003009000 920100 96020100 9000'.replaceAll(' ', ''));
    field.inject({ kind: 'drop-answer' });
    expect(await escape(presence)).toBe('C0030364019000');
    expect(await escape(presence)).toContain('9701A3');
  });

  it('forgets all at a reset, also what was under way', async () => {
    const { device, session, escape, field } = laidOut();
    await session();
    await escape(LAYER_4);
    await device.transferOut(2, hex('6B 12000000 00 33 000000 FF500001 0B 5F4604FFFF0000 9502 02AA').slice(0, 64));
    device.reset();
    expect(field.isOn).toBe(false);
    expect(await escape(UID)).toBe('6F00');
  });
});

describe('data objects and pseudo-APDUs', () => {
  const tag = fc.constantFrom(0x80, 0x90, 0x95, 0x97, 0xc0, 0x5f46, 0x5f51, 0xff6e);
  const value = fc.uint8Array({ maxLength: 300 }).map((bytes) => new Uint8Array(bytes));

  it('come back as they were written', () => {
    fc.assert(fc.property(fc.array(fc.record({ tag, value }), { maxLength: 5 }), (objects) => {
      const written = concatBytes(...objects.map((one) => encodeDataObject(one.tag, one.value)));
      expect(parseDataObjects(written)).toEqual({ objects, cut: false });
    }));
  });

  it('of any bytes are read without a throw, and within them', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
      const { objects } = parseDataObjects(new Uint8Array(bytes));
      expect(objects.reduce((sum, one) => sum + one.value.length, 0)).toBeLessThanOrEqual(bytes.length);
      parsePseudoApdu(new Uint8Array(bytes));
    }));
  });
});
