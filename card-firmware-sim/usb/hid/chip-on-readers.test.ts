/** The whole chip on each HID reader: a payment's commands by a host that speaks the reader's frames. */
import { describe, expect, it } from 'vitest';
import { CardUnderTest, NONE, usableCard, ZERO_KEY } from '../../testing/card.ts';
import { chipApplication } from '../../chip-application.ts';
import { concatBytes, parseHex } from '#protocol/bytes.ts';
import { createEmulatedReader } from '../device-kinds.ts';
import { encodeFrame, parseFrame, ReportAssembler, splitIntoReports as splitVivotech } from './vivotech-frame.ts';
import { encodeMessage, encodeTlv, PacketAssembler, parseMessage, parseTlvs, splitIntoReports as splitMagtek } from './magtek-message.ts';
import { MessageAssembler, splitIntoPackets, uint16At } from './apdu-hid-packet.ts';
import { hex, TestingHidHost } from './testing-hid-host.ts';
import { TestingHost } from '../../testing/host.ts';
import type { Bytes } from '#protocol/bytes.ts';
import type { UsbDevice } from '../usb-device.ts';

type Host = TestingHidHost<UsbDevice>;
type Transmit = (command: Bytes) => Promise<Bytes>;

async function assemble<T>(host: Host, push: (report: Bytes) => T | undefined): Promise<T> {
  for (;;) {
    const whole = push(await host.next());
    if (whole !== undefined) return whole;
  }
}

async function sendAll(host: Host, reports: readonly Bytes[]): Promise<void> {
  for (const report of reports) await host.send(report);
}

async function overMagtek(host: Host): Promise<Transmit> {
  const packets = new PacketAssembler();
  const next = async () => parseMessage(await assemble(host, (report) => packets.push(report)))!;
  await sendAll(host, splitMagtek(encodeMessage({ type: 1, reference: 1, command: 0x1001, payload: hex('1001 820100 A303830102') })));
  expect([(await next()).type, (await next()).type, (await next()).type]).toEqual([0x82, 0x83, 0x83]);
  return async (command) => {
    await sendAll(host, splitMagtek(encodeMessage({ type: 1, reference: 2, command: 0x1102, payload: concatBytes(hex('1102'), encodeTlv(0x81, command), hex('830100')) })));
    const [sw, wrapped] = parseTlvs((await next()).payload!.slice(2))!;
    const [data] = parseTlvs(parseTlvs(wrapped!.value)![0]!.value)!;
    return concatBytes(data?.value ?? NONE, sw!.value);
  };
}

async function overVivotech(host: Host): Promise<Transmit> {
  const reports = new ReportAssembler();
  const ask = async (sub: number, data: Bytes): Promise<Bytes> => {
    await sendAll(host, splitVivotech(encodeFrame(0x2c, sub, data, 'msb-first')));
    const frame = parseFrame((await assemble(host, (report) => reports.push(report))) as Bytes)!;
    expect(frame.subcommand).toBe(0);
    return frame.data;
  };
  await ask(0x01, hex('01'));
  await ask(0x02, hex('0100'));
  return (command) => ask(0x03, command);
}

async function overApduHid(host: Host): Promise<Transmit> {
  const messages = new MessageAssembler();
  await host.send('010101');
  const channel = uint16At(await host.next(), 3);
  const ask: Transmit = async (command) => {
    await sendAll(host, splitIntoPackets(channel, command));
    return assemble(host, (packet) => messages.push(packet));
  };
  await ask(hex('FFCA000000'));
  return ask;
}

describe.each([['magtek', overMagtek], ['vivotech', overVivotech], ['apdu-hid', overApduHid]] as const)('a chip on %s', (kind, open) => {
  it('authenticates, logs, debits and commits', async () => {
    const card = new CardUnderTest((image) => usableCard(image));
    const { device } = createEmulatedReader(kind, { card: chipApplication(card.chip) });
    const transmit = await open(new TestingHidHost(device));
    const host = new TestingHost({ process: (command) => transmit(command.slice()) });
    await host.select();
    expect(await host.authenticate(1, ZERO_KEY)).toBe(0x9100);
    await host.send(0x8b, [1, 0, 0, 0, 16, 0, 0], new Uint8Array(16), 'full', 'mac');
    await host.send(0xdc, [3], parseHex('64000000'), 'full', 'mac');
    expect((await host.send(0xc7, [], new Uint8Array([1]), 'mac', 'mac')).status).toBe(0x9100);
    expect(card.fileOf('value').value).toBe(4900);
    device.reset();
  });
});
