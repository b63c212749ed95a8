import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { concatBytes, encodeHex, parseHex } from '#protocol/bytes.ts';
import type { Bytes } from '#protocol/bytes.ts';
import { InEndpoint } from './bulk-endpoint.ts';
import { askOnce, TestingUsbIpHost } from './testing-usbip-host.ts';
import { STALL, UNPLUGGED } from './usb-device.ts';
import type { UsbDevice, UsbSetup } from './usb-device.ts';
import { encodeRequest, encodeSubmitReply, UsbIpFormatError, UsbIpRequestStream } from './usbip-messages.ts';
import type { UsbIpRequest } from './usbip-messages.ts';
import { startUsbIpServer } from './usbip-server.ts';
import type { UsbIpServer } from './usbip-server.ts';

const hex = (text: string): Bytes => parseHex(text.replaceAll(/\s/g, ''));

/** What comes out on endpoint 2 goes back in on endpoint 2. */
class EchoDevice implements UsbDevice {
  readonly descriptors = {
    device: hex('12010002 00000040 4C05C90D 0001 010200 01'),
    configuration: hex('09022700 01010080 32 0904010002FF000000 09210101 0001221D00 0705020240 0000 0705820240 0000'),
    strings: ['SONY', 'Ωmega'],
    hidReport: hex('06A0FF0901A101C0'),
    speed: 2,
  } as const;
  readonly bulkIn = new InEndpoint();
  readonly outs: string[] = [];
  readonly controls: UsbSetup[] = [];
  readonly cleared: number[] = [];
  resets = 0;
  next: typeof STALL | typeof UNPLUGGED | undefined;
  transferOut(_endpoint: number, data: Bytes) {
    this.outs.push(encodeHex(data));
    if (this.next === undefined) this.bulkIn.push(data);
    return Promise.resolve(this.next);
  }
  transferIn(_endpoint: number, length: number, signal: AbortSignal) {
    return this.bulkIn.read(length, signal);
  }
  control(setup: UsbSetup, data: Bytes) {
    this.controls.push(setup);
    return Promise.resolve(setup.request === 0x77 ? STALL : concatBytes(data, hex('AABBCCDD')));
  }
  clearHalt(endpoint: number) {
    this.cleared.push(endpoint);
    this.bulkIn.clearHalt();
  }
  reset() {
    this.resets++;
    this.bulkIn.clear();
  }
}

const servers: UsbIpServer[] = [];
afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => server.close()));
});

async function bus(devices: Record<string, UsbDevice>, onUnplugged?: (busId: string) => void): Promise<UsbIpServer> {
  const server = await startUsbIpServer({ devices, ...(onUnplugged === undefined ? {} : { onUnplugged }) });
  servers.push(server);
  return server;
}

const setup = (requestType: number, request: number, value = 0, index = 0, length = 0): UsbSetup => ({ requestType, request, value, index, length });

describe('the messages of USB/IP', () => {
  // The capture in usbip_protocol.rst: an interrupt IN and an interrupt OUT of a HID device.
  const intrIn = hex('00000001 00000d05 0001000f 00000001 00000001 00000200 00000040 ffffffff 00000000 00000004 00000000 00000000');
  const intrOut = hex(`00000001 00000d06 0001000f 00000000 00000001 00000000 00000040 ffffffff 00000000 00000004 00000000 00000000
    ffffffff 860008a7 84ce5ae2 12376300 ${'00000000'.repeat(12)}`);
  const importRequest = encodeRequest({ kind: 'import', busId: '1-1' });

  it('are read as the protocol document shows them', () => {
    const [, first, second] = new UsbIpRequestStream().push(concatBytes(importRequest, intrIn, intrOut));
    expect(first).toMatchObject({ kind: 'submit', sequence: 0xd05, deviceId: 0x1000f, direction: 'in', endpoint: 1, length: 64 });
    expect(second).toMatchObject({ kind: 'submit', sequence: 0xd06, direction: 'out', endpoint: 1, length: 64 });
    expect(second?.kind === 'submit' ? encodeHex(second.data.subarray(0, 16)) : '').toBe('FFFFFFFF860008A784CE5AE212376300');
    expect(encodeHex(encodeSubmitReply(0xd06, 0, 64, new Uint8Array()))).toBe(
      encodeHex(hex('00000003 00000d06 00000000 00000000 00000000 00000000 00000040 00000000 ffffffff 00000000 00000000 00000000')));
  });

  it('come out of the stream whole, wherever it was cut', () => {
    const submit = fc.record({
      kind: fc.constant('submit' as const), sequence: fc.nat(), deviceId: fc.nat(), direction: fc.constantFrom('in' as const, 'out' as const),
      endpoint: fc.nat(15), flags: fc.nat(), data: fc.uint8Array({ maxLength: 200 }).map((bytes) => new Uint8Array(bytes)),
      setup: fc.record({ requestType: fc.nat(255), request: fc.nat(255), value: fc.nat(65535), index: fc.nat(65535), length: fc.nat(65535) }),
    }).map((one) => ({ ...one, length: one.data.length, data: one.direction === 'out' ? one.data : new Uint8Array() }));
    const unlink = fc.record({ kind: fc.constant('unlink' as const), sequence: fc.nat(), unlinkSequence: fc.nat() });
    fc.assert(fc.property(fc.array(fc.oneof<fc.Arbitrary<UsbIpRequest>[]>(submit, unlink), { maxLength: 6 }), fc.array(fc.integer({ min: 1, max: 90 }), { minLength: 1 }), (requests, cuts) => {
      const sent: UsbIpRequest[] = [{ kind: 'import', busId: '3-2.1' }, ...requests];
      const wire = concatBytes(...sent.map(encodeRequest));
      const stream = new UsbIpRequestStream();
      const seen: UsbIpRequest[] = [];
      for (let at = 0, i = 0; at < wire.length; i++) {
        const length = cuts[i % cuts.length] ?? 1;
        seen.push(...stream.push(wire.subarray(at, at + length)));
        at += length;
      }
      expect(seen).toEqual(sent);
    }));
  });

  it('of any bytes are refused by name or waited for', () => {
    fc.assert(fc.property(fc.boolean(), fc.uint8Array({ maxLength: 120 }), (imported, bytes) => {
      try {
        const seen = [...new UsbIpRequestStream().push(concatBytes(imported ? importRequest : new Uint8Array(), bytes))];
        expect(seen.length).toBeLessThanOrEqual(16);
      } catch (error) {
        expect(error).toBeInstanceOf(UsbIpFormatError);
      }
    }));
  });

  const changed = (offset: number, value: string): Bytes => {
    const bytes = concatBytes(importRequest, intrOut);
    bytes.set(hex(value), importRequest.length + offset);
    return bytes;
  };
  it.each([
    ['another version', hex('01008003 00000000')],
    ['another operation', hex('01118009 00000000')],
    ['a bus id that is none', concatBytes(hex('01118003 00000000'), hex('2F2E2E00'), new Uint8Array(28))],
    ['an empty bus id', concatBytes(hex('01118003 00000000'), new Uint8Array(32))],
    ['another command', changed(0, '00000005')],
    ['another direction', changed(12, '00000002')],
    ['an endpoint above 15', changed(16, '00000010')],
    ['a transfer too long', changed(0x18, '00100001')],
    ['isochronous packets', changed(0x20, '00000001')],
  ])('are refused: %s', (_name, wire) => {
    expect(() => [...new UsbIpRequestStream().push(wire)]).toThrow(UsbIpFormatError);
  });
});

describe('the bus', () => {
  it('lists its devices with their interfaces, and ends the connection', async () => {
    const server = await bus({ '1-1': new EchoDevice(), '2-4': new EchoDevice() });
    const list = await askOnce(server.port, encodeRequest({ kind: 'devlist' }));
    expect(list).toHaveLength(8 + 4 + 2 * (312 + 4));
    expect(encodeHex(list.subarray(0, 12))).toBe('011100050000000000000002');
    expect(new TextDecoder().decode(list.subarray(12 + 256, 12 + 256 + 4))).toBe('1-1\0');
    expect(encodeHex(list.subarray(12 + 288, 12 + 316))).toBe(encodeHex(hex('00000001 00000002 00000002 054C 0DC9 0100 000000 01 01 01 FF000000')));
  });

  it('refuses to import what is not there, or what another has', async () => {
    const server = await bus({ '1-1': new EchoDevice() });
    expect(encodeHex(await askOnce(server.port, encodeRequest({ kind: 'import', busId: '1-2' })))).toBe('0111000300000001');
    await TestingUsbIpHost.attach(server.port, '1-1');
    await expect(TestingUsbIpHost.attach(server.port, '1-1')).rejects.toThrow('refused');
  });

  it.each<[string, UsbSetup, string | number]>([
    ['device descriptor', setup(0x80, 6, 0x0100, 0, 64), '12010002000000404C05C90D000101020001'],
    ['first 8 bytes of it', setup(0x80, 6, 0x0100, 0, 8), '1201000200000040'],
    ['head of the configuration', setup(0x80, 6, 0x0200, 0, 9), '090227000101008032'],
    ['languages', setup(0x80, 6, 0x0300, 0, 255), '04030904'],
    ['first string', setup(0x80, 6, 0x0301, 0x0409, 255), '0A0353004F004E005900'],
    ['string beyond ASCII', setup(0x80, 6, 0x0302, 0x0409, 255), '0C03A9036D00650067006100'],
    ['a string that is not there', setup(0x80, 6, 0x0303, 0x0409, 255), -32],
    ['BOS', setup(0x80, 6, 0x0f00, 0, 5), -32],
    ['device qualifier', setup(0x80, 6, 0x0600, 0, 10), -32],
    ['HID report descriptor', setup(0x81, 6, 0x2200, 1, 255), '06A0FF0901A101C0'],
    ['HID descriptor', setup(0x81, 6, 0x2100, 1, 9), '092101010001221D00'],
    ['configuration', setup(0x80, 8, 0, 0, 1), '01'],
    ['set configuration', setup(0x00, 9, 1), ''],
    ['set a configuration that is not there', setup(0x00, 9, 2), -32],
    ['interface', setup(0x81, 10, 0, 1, 1), '00'],
    ['set interface, by the device', setup(0x01, 11, 0, 1), ''],
    ['status', setup(0x80, 0, 0, 0, 2), '0000'],
    ['set idle', setup(0x21, 10), ''],
    ['get report, by the device', setup(0xa1, 1, 0x0100, 0, 3), 'AABBCC'],
    ['vendor request that the device refuses', setup(0xc0, 0x77, 0, 0, 3), -32],
    ['unknown standard request', setup(0x80, 12, 0, 0, 2), -32],
  ])('answers chapter 9: %s', async (_name, request, answer) => {
    const server = await bus({ '1-1': new EchoDevice() });
    const host = await TestingUsbIpHost.attach(server.port, '1-1');
    const reply = await host.control(request);
    expect(typeof answer === 'number' ? reply.status : encodeHex(reply.data)).toBe(answer);
  });

  it('carries bulk data both ways, and control while a bulk IN is pending', async () => {
    const server = await bus({ '1-1': new EchoDevice() });
    const host = await TestingUsbIpHost.attach(server.port, '1-1');
    const reads = [host.in(2, 1024), host.in(2, 1024)];
    expect((await host.control(setup(0x80, 8, 0, 0, 1))).status).toBe(0);
    expect(await host.out(2, hex('010203'))).toMatchObject({ status: 0, actualLength: 3 });
    await host.out(2, hex('0405'));
    expect((await Promise.all(reads)).map(({ data }) => encodeHex(data))).toEqual(['010203', '0405']);
  });

  it('withdraws a transfer once, and loses no data by it', async () => {
    const server = await bus({ '1-1': new EchoDevice() });
    const host = await TestingUsbIpHost.attach(server.port, '1-1');
    const { sequence } = host.pendingIn(2, 64);
    expect(await host.unlink(sequence)).toBe(-104);
    expect(await host.unlink(sequence)).toBe(0);
    await host.out(2, hex('AA'));
    expect(encodeHex((await host.in(2, 64)).data)).toBe('AA');
  });

  it('adds the empty packet that an importer asks for', async () => {
    const device = new EchoDevice();
    const server = await bus({ '1-1': device });
    const host = await TestingUsbIpHost.attach(server.port, '1-1');
    await host.out(2, new Uint8Array(64), 0x40);
    await host.out(2, new Uint8Array(63), 0x40);
    await host.out(2, new Uint8Array(64));
    expect(device.outs.map((one) => one.length / 2)).toEqual([64, 0, 63, 64]);
  });

  it('reports a halted endpoint until it is cleared', async () => {
    const device = new EchoDevice();
    const server = await bus({ '1-1': device });
    const host = await TestingUsbIpHost.attach(server.port, '1-1');
    device.bulkIn.stall();
    expect((await host.in(2, 64)).status).toBe(-32);
    const status = () => host.control(setup(0x82, 0, 0, 0x82, 2)).then(({ data }) => encodeHex(data));
    expect(await status()).toBe('0100');
    await host.control(setup(0x02, 1, 0, 0x82));
    expect(await status()).toBe('0000');
    expect(device.cleared).toEqual([0x82]);
    await host.out(2, hex('AA'));
    expect(encodeHex((await host.in(2, 64)).data)).toBe('AA');
  });

  it('takes a device away at run time, by hand or by the device itself, and plugs one in', async () => {
    const gone: string[] = [];
    const device = new EchoDevice();
    const server = await bus({ '1-1': device }, (busId) => gone.push(busId));
    const first = await TestingUsbIpHost.attach(server.port, '1-1');
    const pending = first.in(2, 64);
    await first.control(setup(0x80, 8, 0, 0, 1));
    server.unplug('1-1');
    expect((await pending).status).toBe(-108);
    await first.closed;
    server.plug('1-1', device);
    const second = await TestingUsbIpHost.attach(server.port, '1-1');
    expect(device.resets).toBe(1);
    device.next = UNPLUGGED;
    expect((await second.out(2, hex('AA'))).status).toBe(-108);
    expect(gone).toEqual(['1-1', '1-1']);
    expect(server.busIds).toEqual([]);
  });

  it('ends a connection that breaks the protocol, resets the device, and serves the next', async () => {
    const device = new EchoDevice();
    const server = await bus({ '1-1': device });
    await askOnce(server.port, concatBytes(encodeRequest({ kind: 'import', busId: '1-1' }), new Uint8Array(48)));
    await expect.poll(() => device.resets).toBe(1);
    await TestingUsbIpHost.attach(server.port, '1-1');
  });

  it('bears 256 transfers pending and refuses the next', async () => {
    const server = await bus({ '1-1': new EchoDevice() });
    const host = await TestingUsbIpHost.attach(server.port, '1-1');
    for (let i = 0; i < 256; i++) host.pendingIn(2, 64);
    expect((await host.in(2, 64)).status).toBe(-12);
  });
});

describe('the IN endpoint', () => {
  const never = new AbortController().signal;

  it('gives the host each answer as one transfer, in pieces as small as it asks for', async () => {
    await fc.assert(fc.asyncProperty(fc.uint8Array({ minLength: 1, maxLength: 300 }), fc.integer({ min: 1, max: 400 }), async (answer, length) => {
      const endpoint = new InEndpoint();
      endpoint.push(new Uint8Array(answer));
      let seen: Bytes = new Uint8Array();
      while (seen.length < answer.length) {
        const piece = await endpoint.read(length, never);
        if (!(piece instanceof Uint8Array)) throw new Error('refused');
        expect(piece.length).toBe(Math.min(length, answer.length - seen.length));
        seen = concatBytes(seen, piece);
      }
      expect(seen).toEqual(new Uint8Array(answer));
    }));
  });

  it('ends the host\'s transfer after a whole number of packets', async () => {
    const endpoint = new InEndpoint();
    endpoint.push(new Uint8Array(128));
    endpoint.push(hex('AA'));
    expect(await endpoint.read(1024, never)).toHaveLength(128);
    expect(await endpoint.read(1024, never)).toHaveLength(1);
  });

  it('without empty packets keeps a host waiting that asked for more than a whole number of packets', async () => {
    const endpoint = new InEndpoint({ zeroLengthPacket: false });
    endpoint.push(new Uint8Array(64));
    const whole = endpoint.read(1024, never);
    endpoint.push(hex('AA'));
    expect(await whole).toHaveLength(65);
  });
});
