/** What an emulated device's descriptors say, as a host reads them (USB 2.0, 9.6). */
import type { Bytes } from '#protocol/bytes.ts';
import type { UsbDescriptors } from '#card-firmware-sim/usb/usb-device.ts';

export interface InterfaceDescription {
  readonly number: number;
  readonly alternate: number;
  readonly class: number;
  readonly subclass: number;
  readonly protocol: number;
  readonly endpoints: readonly EndpointDescription[];
}

export interface EndpointDescription {
  /** With its direction bit. */
  readonly address: number;
  readonly type: 'control' | 'isochronous' | 'bulk' | 'interrupt';
  readonly packetBytes: number;
}

export interface DeviceDescription {
  /** Binary coded: 0x0200 is 2.00. */
  readonly usbVersion: number;
  readonly class: number;
  readonly subclass: number;
  readonly protocol: number;
  readonly vendorId: number;
  readonly productId: number;
  readonly release: number;
  readonly manufacturer: string | null;
  readonly product: string | null;
  readonly serialNumber: string | null;
  readonly configurationValue: number;
  readonly interfaceCount: number;
  readonly interfaces: readonly InterfaceDescription[];
}

const HID_CLASS = 3;
const DESCRIPTOR = { INTERFACE: 4, ENDPOINT: 5 } as const;
/** bmAttributes, bits 0 and 1. */
const TRANSFER_TYPES = ['control', 'isochronous', 'bulk', 'interrupt'] as const;

export function describeDevice({ device, configuration, strings }: UsbDescriptors): DeviceDescription {
  if (device.length !== 18 || configuration.length < 9) throw new RangeError('descriptors are too short');
  const view = new DataView(device.buffer, device.byteOffset, device.length);
  const named = (offset: number) => strings[view.getUint8(offset) - 1] ?? null;
  return {
    usbVersion: view.getUint16(2, true),
    class: view.getUint8(4),
    subclass: view.getUint8(5),
    protocol: view.getUint8(6),
    vendorId: view.getUint16(8, true),
    productId: view.getUint16(10, true),
    release: view.getUint16(12, true),
    manufacturer: named(14),
    product: named(15),
    serialNumber: named(16),
    configurationValue: configuration[5] ?? 0,
    interfaceCount: configuration[4] ?? 0,
    interfaces: parseInterfaces(configuration),
  };
}

/** usbhid's name of a device: what WebHID shows as its product where the device itself names none. */
export function hidNameOf({ manufacturer, product, vendorId, productId }: DeviceDescription): string {
  const name = [manufacturer, product].filter((part) => part !== null).join(' ');
  return name === '' ? `HID ${hex(vendorId, 4)}:${hex(productId, 4)}` : name;
}

/** Interface 0 of a HID device; null on others. */
export function hidInterfaceOf(description: DeviceDescription): InterfaceDescription | null {
  return description.interfaces.find((candidate) => candidate.number === 0 && candidate.class === HID_CLASS) ?? null;
}

function parseInterfaces(configuration: Bytes): InterfaceDescription[] {
  const interfaces: (InterfaceDescription & { endpoints: EndpointDescription[] })[] = [];
  for (let at = 0, length; at < configuration.length; at += length) {
    const descriptor = configuration.subarray(at);
    length = descriptor[0] ?? 0;
    if (length < 2 || length > descriptor.length) throw new RangeError(`descriptor at ${at} of the configuration`);
    const [, type, third = 0, fourth = 0, fifth = 0, sixth = 0, seventh = 0, eighth = 0] = descriptor;
    if (type === DESCRIPTOR.INTERFACE) interfaces.push({ number: third, alternate: fourth, class: sixth, subclass: seventh, protocol: eighth, endpoints: [] });
    if (type === DESCRIPTOR.ENDPOINT) interfaces.at(-1)?.endpoints.push({ address: third, type: TRANSFER_TYPES[fourth & 3] ?? 'control', packetBytes: (fifth | (sixth << 8)) & 0x07ff });
  }
  return interfaces;
}

export function hex(value: number, digits: number): string {
  return value.toString(16).padStart(digits, '0');
}
