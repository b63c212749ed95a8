/** The USB side that all HID readers share, and what none of them may do: throw, hang, or fall over garbage. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { encodeHex, parseHex } from '#protocol/bytes.ts';
import { ApduHidDevice } from './apdu-hid-device.ts';
import { ContactlessField } from '../field.ts';
import { encodeFrame, splitIntoReports as splitVivotech } from './vivotech-frame.ts';
import { encodeMessage, splitIntoReports as splitMagtek } from './magtek-message.ts';
import { fieldWithCard, hex, TestingHidHost, trimmed } from './testing-hid-host.ts';
import { MagtekDevice } from './magtek-device.ts';
import { splitIntoPackets } from './apdu-hid-packet.ts';
import { STALL } from '../usb-device.ts';
import { VivotechDevice } from './vivotech-device.ts';
import type { Bytes } from '#protocol/bytes.ts';
import type { HidUsbDevice } from './hid-usb-device.ts';

const setup = { requestType: 0x21, request: 0x09, value: 0x0200, index: 0, length: 64 };
const PING = hex(`0101 02 1122${'00'.repeat(59)}`);

describe('the USB side', () => {
  it('takes reports on endpoint 1 and by SET_REPORT, and gives them in pieces to a host that asks for less', async () => {
    const device = new ApduHidDevice({ field: new ContactlessField() });
    await device.transferOut(1, PING);
    await device.control(setup, PING);
    const signal = AbortSignal.timeout(1000);
    expect(encodeHex((await device.transferIn(1, 5, signal)) as Bytes)).toBe('0101021122');
    expect(await device.transferIn(1, 64, signal)).toHaveLength(59);
    expect(await device.transferIn(1, 64, signal)).toEqual(PING);
  });

  it('stalls other endpoints, feature reports, boot protocol and a second read', async () => {
    const device = new ApduHidDevice({ field: new ContactlessField() });
    const { signal } = new AbortController();
    expect(await device.transferOut(2, PING)).toBe(STALL);
    expect(await device.transferIn(3, 64, signal)).toBe(STALL);
    for (const [requestType, request, value] of [[0x21, 0x09, 0x0300], [0xa1, 0x01, 0x0100], [0x21, 0x0b, 0], [0xc0, 0x51, 0], [0x01, 0x0b, 1]] as const) expect(await device.control({ ...setup, requestType, request, value }, PING)).toBe(STALL);
    expect(await device.control({ ...setup, request: 0x0a }, new Uint8Array())).toEqual(new Uint8Array());
    expect(await device.control({ ...setup, requestType: 0xa1, request: 0x02 }, new Uint8Array())).toEqual(new Uint8Array([0]));
    void device.transferIn(1, 64, signal);
    expect(await device.transferIn(1, 64, signal)).toBe(STALL);
  });

  it('ends a read that is aborted with nothing, and loses no report by it', async () => {
    const device = new ApduHidDevice({ field: new ContactlessField() });
    const abort = new AbortController();
    const read = device.transferIn(1, 64, abort.signal);
    abort.abort();
    expect(await read).toHaveLength(0);
    expect(await device.transferIn(1, 64, AbortSignal.abort())).toHaveLength(0);
    await device.transferOut(1, PING);
    expect(await device.transferIn(1, 64, AbortSignal.timeout(1000))).toEqual(PING);
  });

  it('forgets all at a reset: reports, answers on their way, the session, the field', async () => {
    const { field, card } = fieldWithCard();
    const device = new VivotechDevice({ field });
    const host = new TestingHidHost(device);
    await host.send(`01${encodeHex(encodeFrame(0x2c, 0x01, parseHex('01'), 'msb-first'))}`);
    await host.next();
    await host.send(`01${encodeHex(encodeFrame(0x2c, 0x02, parseHex('0100'), 'msb-first'))}`);
    await host.next();
    expect(field.isOn).toBe(true);
    card.workMs = 10;
    await host.send(`01${encodeHex(encodeFrame(0x2c, 0x03, parseHex('00A4040000'), 'msb-first'))}`);
    device.reset();
    expect(field.isOn).toBe(false);
    expect(await host.rest()).toEqual([]);
    await host.send(`01${encodeHex(encodeFrame(0x2c, 0x02, parseHex('0100'), 'msb-first'))}`);
    expect(encodeHex(await host.next()).slice(22, 26)).toBe('2C0B');
    device.misbehave.answerDelayMs = 10;
    await host.send(`01${encodeHex(encodeFrame(0x18, 0x01, new Uint8Array(), 'lsb-first'))}`);
    device.reset();
    expect(await host.rest()).toEqual([]);
  });
});

describe('garbage', () => {
  const report = fc.uint8Array({ maxLength: 70 });
  const payload = fc.uint8Array({ maxLength: 200 });
  const byte = fc.integer({ min: 0, max: 255 });
  /** Random bytes, and random contents in frames that are right. */
  const reports: Record<string, fc.Arbitrary<readonly Uint8Array[]>> = {
    magtek: fc.oneof(report.map((one) => [one]), fc.tuple(fc.constantFrom(0x1001, 0x1102, 0x1008, 0xd101), byte, payload).map(([command, reference, rest]) => splitMagtek(encodeMessage({ type: 1, reference, command, payload: new Uint8Array([command >> 8, command & 0xff, ...rest]) })))),
    vivotech: fc.oneof(report.map((one) => [one]), fc.tuple(fc.constantFrom(0x2c, 0x18, 0x29), fc.constantFrom(0, 1, 3, 0x13, 0x77), payload).map(([command, sub, data]) => splitVivotech(encodeFrame(command, sub, data, 'lsb-first')))),
    'apdu-hid': fc.oneof(report.map((one) => [one]), fc.tuple(fc.constantFrom(0x1235, 0x246a, 0x0101), payload).map(([channel, data]) => splitIntoPackets(channel, data)), fc.constant([hex(`010101${'00'.repeat(61)}`)])),
  };
  const devices: readonly [string, (field: ContactlessField) => HidUsbDevice, string, string][] = [
    ['magtek', (field) => new MagtekDevice({ field }), '000C' + 'AA00810401051008' + '8402' + '1008', '000EAA0081048205100882048002030' + '4'],
    ['vivotech', (field) => new VivotechDevice({ field }), '015669564F74656368320018010000B3CD', '015669564F74656368320018000000FA83'],
    ['apdu-hid', (field) => new ApduHidDevice({ field }), '0101021122', '0101021122'],
  ];

  it.each(devices)('never breaks the %s: it answers still', async (name, create, question, expected) => {
    await fc.assert(
      fc.asyncProperty(fc.array(reports[name]!, { maxLength: 12 }), fc.boolean(), async (messages, withCard) => {
        const { field } = withCard ? fieldWithCard() : { field: new ContactlessField() };
        const device = create(field);
        for (const one of messages.flat()) expect(await device.transferOut(1, one as Bytes)).toBeUndefined();
        await new Promise(setImmediate);
        device.reset();
        const host = new TestingHidHost(device);
        await host.send(question);
        expect(trimmed(await host.next()).slice(0, expected.length)).toBe(expected);
      }),
      { numRuns: 60 },
    );
  });
});
