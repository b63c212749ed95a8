import { describe, expect, test } from 'vitest';
import { parseHex } from '#protocol/bytes.ts';
import { hidEcho, usbEcho } from './emulated-readers.fixture.ts';
import { longestInputReport, parseReportDescriptor } from './hid-report-descriptor.ts';
import { describeDevice, hidInterfaceOf, hidNameOf } from './usb-descriptors.ts';

describe('descriptors', () => {
  test('a device with three interfaces is described with its strings', () => {
    expect(describeDevice(usbEcho().descriptors)).toMatchObject({
      usbVersion: 0x0200, vendorId: 0x1209, productId: 1, release: 0x0100, configurationValue: 1, interfaceCount: 3,
      manufacturer: 'Kessai', product: 'Bulk Echo', serialNumber: 'USB-1',
      interfaces: [{ number: 0, class: 0xff, endpoints: [{ address: 0x81, type: 'bulk', packetBytes: 512 }, { address: 0x02, type: 'bulk', packetBytes: 512 }] }, { number: 1, class: 0x0b, endpoints: [] }, { number: 2, class: 0xff, endpoints: [] }],
    });
  });

  test('a HID device is one whose interface 0 is of that class; its name has the maker\'s', () => {
    const device = describeDevice(hidEcho({ numbered: true }).descriptors);
    expect(hidInterfaceOf(device)?.endpoints).toEqual([{ address: 0x81, type: 'interrupt', packetBytes: 64 }, { address: 0x02, type: 'interrupt', packetBytes: 64 }]);
    expect(hidNameOf(device)).toBe('Kessai Numbered Echo');
    expect(hidNameOf({ ...device, manufacturer: null, product: null })).toBe('HID 1209:0003');
    expect(hidInterfaceOf(describeDevice(usbEcho().descriptors))).toBeNull();
  });

  test.each([
    ['no device descriptor', { device: new Uint8Array(17) }],
    ['a descriptor of length 0', { configuration: new Uint8Array([9, 2, 11, 0, 1, 1, 0, 0x80, 50, 0, 4]) }],
    ['one that is longer than what is left', { configuration: new Uint8Array([9, 2, 11, 0, 1, 1, 0, 0x80, 50, 9, 4]) }],
  ])('%s is refused', (_, wrong) => {
    expect(() => describeDevice({ ...usbEcho().descriptors, ...wrong })).toThrow(RangeError);
  });

  test.each([
    // A vendor's page with one report of 64 bytes; one with reports of 63 bytes and their ids; bits that fill no byte; fields in one report add up.
    ['without ids', '0600ff0901a101150026ff00750895400920810295400921 9102c0', 64],
    ['with ids', '0600ff0901a101150026ff0075088501953f09018102953f090291028502953f09018102c0', 64],
    ['of bits', '05010906a10175019509 8102c0', 2],
    ['of two fields', '05010906a1017508950281027501950a8102c0', 4],
    ['of a field whose size comes back with pop', '7508 9504 a4 7501 9501 b4 8102', 4],
    ['none', '', 0],
  ])('the longest input report, %s', (_, descriptor, bytes) => {
    expect(longestInputReport(parseHex(descriptor.replaceAll(' ', '')))).toBe(bytes);
  });

  test('a report descriptor names its collection and every report of it', () => {
    expect(parseReportDescriptor(hidEcho({ numbered: true }).descriptors.hidReport ?? new Uint8Array())).toEqual({
      usagePage: 0xff00,
      usage: 1,
      reports: [
        { kind: 'input', id: 1, bytes: 63 },
        { kind: 'output', id: 1, bytes: 63 },
        { kind: 'input', id: 2, bytes: 63 },
        { kind: 'output', id: 2, bytes: 63 },
        { kind: 'feature', id: 3, bytes: 8 },
      ],
    });
  });
});
