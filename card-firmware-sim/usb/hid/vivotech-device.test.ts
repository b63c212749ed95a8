/** The ViVOpay terminal from its own side: the manual's frames byte for byte, CRC orders, reports, polls, and what goes wrong. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { concatBytes, encodeHex, parseHex } from '#protocol/bytes.ts';
import { ContactlessField } from '../field.ts';
import { crc16, encodeFrame, parseFrame, ReportAssembler, splitIntoReports } from './vivotech-frame.ts';
import { fieldWithCard, hex, TestingHidHost, trimmed } from './testing-hid-host.ts';
import { Picc } from '../picc.ts';
import { VivotechDevice } from './vivotech-device.ts';
import type { Bytes } from '#protocol/bytes.ts';
import type { VivotechOptions } from './vivotech-device.ts';

const TAG = '5669564F746563683200';
const PING = `${TAG}18010000B3CD`;

/** `command` is command, sub-command and data; the length goes between. */
async function command(host: TestingHidHost, text: string, order: 'msb-first' | 'lsb-first' = 'msb-first'): Promise<void> {
  const [code = 0, sub = 0, ...data] = hex(text);
  for (const report of splitIntoReports(encodeFrame(code, sub, new Uint8Array(data), order))) await host.send(report);
}

/** Command byte, status and data of the next frame, hex; its CRC must be right, high byte first. */
async function answer(host: TestingHidHost): Promise<string> {
  const reports = new ReportAssembler();
  for (;;) {
    const frame = reports.push(await host.next());
    if (frame === undefined) continue;
    const parsed = frame === 'bad-header' ? undefined : parseFrame(frame);
    if (parsed?.crcOrders.includes('msb-first') !== true) throw new Error('a broken answer');
    return encodeHex(concatBytes(new Uint8Array([parsed.command, parsed.subcommand]), parsed.data));
  }
}

async function begun(options?: Partial<VivotechOptions>) {
  const { field, application, card } = fieldWithCard();
  const host = new TestingHidHost(new VivotechDevice({ field, ...options }));
  await command(host, '2C0101', options?.passThroughOrder === 'lsb-first' ? 'lsb-first' : 'msb-first');
  expect(await answer(host)).toBe('2C00');
  return { host, field, application, card };
}

describe('the device', () => {
  it('is 0ACD with reports 1 to 4 of 63 bytes each way, a product and a serial number', () => {
    const { descriptors } = new VivotechDevice({ field: new ContactlessField(), serialNumber: '42' });
    expect(encodeHex(descriptors.device).slice(16, 24)).toBe('CD0A3035');
    expect(encodeHex(descriptors.hidReport!)).toBe(`0600FF0901A101150026FF007508${['01', '02', '03', '04'].map((id) => `85${id}953F09018102953F09029102`).join('')}C0`);
    expect(descriptors.strings).toEqual(['ID TECH', 'ViVOpay VP3300', '42']);
  });

  it("answers the manual's ping, one report byte for byte", async () => {
    const host = new TestingHidHost(new VivotechDevice({ field: new ContactlessField() }));
    await host.send(`01${PING}`);
    expect(encodeHex(await host.next())).toBe(`01${TAG}18000000FA83`.padEnd(128, '0'));
  });

  it.each([
    ['pass-through on', '2C01000101', '1D19', '2C000000'],
    ['pass-through off', '2C01000100', '0D38', '2C000000'],
  ])('%s', async (_, body, crc, expected) => {
    const host = new TestingHidHost(new VivotechDevice({ field: new ContactlessField() }));
    await host.send(`01${TAG}${body}${crc}`);
    expect(trimmed(await host.next())).toContain(`01${TAG}${expected.replace(/(00)+$/, '')}`);
  });

  it('polls and exchanges by the frames that were computed from the manual', async () => {
    const { host, application } = await begun();
    await host.send(`01${TAG}2C02000200140C9A`);
    expect(trimmed(await host.next()).slice(0, 46)).toBe(`01${TAG}2C0000080104112233445566`);
    application.answer = () => parseHex('0408013000130591AF');
    await host.send(`01${TAG}2C0300059060000000A3DD`);
    expect(await answer(host)).toBe('2C00' + '0408013000130591AF');
    expect(application.heard).toEqual(['9060000000']);
  });

  it('tells type, UID and, where asked, ATS', async () => {
    const { host } = await begun();
    await command(host, '2C020100');
    expect(await answer(host)).toBe('2C00' + '01' + '04112233445566');
    await command(host, '2C0E0100');
    expect(await answer(host)).toBe('2C00' + '01' + '04112233445566' + '067777710280');
    await command(host, '2C1300' + '00A4040000');
    expect(await answer(host)).toBe('2C00' + '00A40400009000');
  });

  it('carries every length over one or several reports', async () => {
    const { host, application } = await begun();
    await command(host, '2C020100');
    await answer(host);
    for (const length of [1, 40, 46, 47, 48, 62, 63, 64, 110, 200, 255]) {
      const data = new Uint8Array(length).fill(0x5a);
      application.answer = () => concatBytes(new Uint8Array(256 - length).fill(0xa5), parseHex('9100'));
      await command(host, `2C03${encodeHex(data)}`);
      expect(await answer(host)).toBe(`2C00${'A5'.repeat(256 - length)}9100`);
      expect(application.heard.at(-1)).toBe(encodeHex(data));
    }
  });
});

describe('polls', () => {
  it('time out, find a card that comes, and end with the next command', async () => {
    const { card } = fieldWithCard();
    const field = new ContactlessField();
    const host = new TestingHidHost(new VivotechDevice({ field }));
    await command(host, '2C0101');
    await answer(host);
    await command(host, '2C020002');
    expect(await answer(host)).toBe('2C08');
    await command(host, '2C020A00');
    expect(await host.rest()).toEqual([]);
    field.put(card);
    expect(await answer(host)).toBe('2C00' + '0104112233445566');
    field.lift();
    await command(host, '2C020A00');
    await host.send(`01${PING}`);
    expect([await answer(host), await answer(host)]).toEqual(['2C08', '1800']);
  });

  it('refuse two cards', async () => {
    const { host, field, application } = await begun();
    field.put(new Picc({ application: { uid: hex('04FFFFFFFFFFFF'), process: (one) => application.process(one), reset: () => application.reset() } }));
    await command(host, '2C020100');
    expect(await answer(host)).toBe('2C0A');
  });

  it.each([['no time', '2C020000', '2C05'], ['no data', '2C02', '2C05'], ['mode 2', '2C0102', '2C05'], ['an unknown sub-command', '2C77', '2C03'], ['an unknown command', 'D100', 'D104'], ['another interface', '2C132000A4', '2C05'], ['an empty command', '2C03', '2C05'], ['no card found before', '2C0300A4040000', '2C0A']])(
    'and exchanges with %s are refused', async (_, text, expected) => {
      const { host } = await begun();
      await command(host, text);
      expect(await answer(host)).toBe(expected);
    },
  );

  it('need pass-through mode', async () => {
    const { field } = fieldWithCard();
    const host = new TestingHidHost(new VivotechDevice({ field }));
    await command(host, '2C020100');
    expect(await answer(host)).toBe('2C0B');
    await command(host, '2C0300A4040000');
    expect(await answer(host)).toBe('2C0B');
  });
});

describe('what goes wrong', () => {
  it('a CRC in the wrong order is refused with status 04, so that a driver tries the other', async () => {
    for (const order of ['msb-first', 'lsb-first'] as const) {
      const { host } = await begun({ passThroughOrder: order });
      await command(host, '2C020100', order === 'msb-first' ? 'lsb-first' : 'msb-first');
      expect(await answer(host)).toBe('2C04');
      await command(host, '2C020100', order);
      expect(await answer(host)).toContain('2C0001');
    }
    const { host } = await begun();
    await command(host, '2C020100', 'lsb-first');
    expect(await answer(host)).toContain('2C0001');
    await command(host, '1801', 'msb-first');
    expect(await answer(host)).toBe('1804');
  });

  it('a lost card is a time-out, a mute one a failure, and the session goes on after another poll', async () => {
    const { host, field, card } = await begun();
    await command(host, '2C020100');
    await answer(host);
    field.lift();
    await command(host, '2C0300A4040000');
    expect(await answer(host)).toBe('2C08');
    await command(host, '2C0300A4040000');
    expect(await answer(host)).toBe('2C0A');
    field.put(card);
    await command(host, '2C020100');
    await answer(host);
    field.inject({ kind: 'drop-answer', times: 10, matches: ({ bytes }) => bytes[0] !== 0x26 });
    await command(host, '2C0300A4040000');
    expect(await answer(host)).toBe('2C0A');
  });

  it('answers wrongly on command', async () => {
    const { host } = await begun();
    const { misbehave } = host.device;
    misbehave.wrongNumbers = 1;
    await host.send(`01${PING}`);
    expect(await answer(host)).toBe('1900');
    misbehave.brokenAnswers = 1;
    await host.send(`01${PING}`);
    await expect(answer(host)).rejects.toThrow('broken');
    misbehave.isTaken = true;
    await command(host, '2C0101');
    expect(await answer(host)).toBe('2C0B');
    misbehave.isTaken = false;
    misbehave.staleAnswers = 1;
    await host.send(`01${PING}`);
    expect([await answer(host), await answer(host)]).toEqual(['2C0B', '1800']);
  });

  it('an SRED model withholds what a card says, but for its status word', async () => {
    const { host, application } = await begun({ withholdsCardData: true });
    await command(host, '2C020100');
    await answer(host);
    await command(host, '2C0300A4040000');
    expect(await answer(host)).toBe('2C06');
    application.answer = () => parseHex('9100');
    await command(host, '2C0300A4040000');
    expect(await answer(host)).toBe('2C009100');
  });
});

describe('frames', () => {
  it('have the CRC that the manual prints', () => {
    expect(crc16(hex(`${TAG}18010000`))).toBe(0xcdb3);
    expect(crc16(hex(`${TAG}18000000`))).toBe(0xfa83);
    expect(crc16(hex(`${TAG}2C0200020100`))).toBe(0x6d1e);
  });

  it('come back as they were cut', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 255 }), fc.integer({ min: 0, max: 255 }), fc.uint8Array({ maxLength: 1484 }), fc.constantFrom('msb-first' as const, 'lsb-first' as const), (code, sub, data, order) => {
        const reports = new ReportAssembler();
        const frames = splitIntoReports(encodeFrame(code, sub, data, order)).map((report) => reports.push(report)).filter((frame) => frame !== undefined);
        expect(frames).toHaveLength(1);
        const parsed = parseFrame(frames[0] as Bytes)!;
        expect(parsed).toMatchObject({ command: code, subcommand: sub, data });
        expect(parsed.crcOrders).toContain(order);
      }),
      { numRuns: 40 },
    );
  });

  it.each([
    ['another tag', [`01AA${PING}`], 'bad-header'],
    ['more announced than a report holds', [`01${TAG}18010040`], 'bad-header'],
    ['too long', [`02${TAG}180106FF`], 'bad-header'],
    ['a last report with no first', [`04${PING}`], undefined],
    ['a middle report with no first', [`03${PING}`, `04${PING}`], undefined],
    ['an unknown report', [`05${PING}`], undefined],
  ])('with %s are none', (_, reports, expected) => {
    const assembler = new ReportAssembler();
    const results = reports.map((report) => assembler.push(hex(report.padEnd(128, '0'))));
    expect(results.at(-1)).toBe(expected);
  });
});
