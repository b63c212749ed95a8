/** Descriptors of devices with bulk endpoints (USB 2.0, 9.6), from what differs between them. */
import { concatBytes } from '#protocol/bytes.ts';
import type { Bytes } from '#protocol/bytes.ts';

export interface DeviceDescription {
  readonly deviceClass: number;
  readonly vendorId: number;
  readonly productId: number;
  /** bcdDevice. */
  readonly release: number;
  /** Whether string 3 is the serial number; 1 is the manufacturer, 2 the product. */
  readonly hasSerialNumber: boolean;
}

export interface InterfaceDescription {
  readonly number: number;
  /** Class, subclass, protocol. */
  readonly triple: readonly [number, number, number];
  /** Class descriptors, between the interface and its endpoints. */
  readonly extra?: Bytes;
  /** Addresses with their direction bit, and bmAttributes: 2 bulk, 3 interrupt. */
  readonly endpoints: readonly { readonly address: number; readonly attributes: 2 | 3; readonly packetBytes: number }[];
}

export function encodeDeviceDescriptor(device: DeviceDescription): Bytes {
  const bytes = new Uint8Array([18, 1, 0x00, 0x02, device.deviceClass, 0, 0, 64, 0, 0, 0, 0, 0, 0, 1, 2, device.hasSerialNumber ? 3 : 0, 1]);
  const view = new DataView(bytes.buffer);
  view.setUint16(8, device.vendorId, true);
  view.setUint16(10, device.productId, true);
  view.setUint16(12, device.release, true);
  return bytes;
}

/** One configuration of value 1, powered by the bus. */
export function encodeConfigurationDescriptor(interfaces: readonly InterfaceDescription[], milliamperes: number): Bytes {
  const body = concatBytes(...interfaces.map(encodeInterface));
  const head = new Uint8Array([9, 2, 0, 0, interfaces.length, 1, 0, 0x80, milliamperes / 2]);
  new DataView(head.buffer).setUint16(2, head.length + body.length, true);
  return concatBytes(head, body);
}

function encodeInterface({ number, triple, extra, endpoints }: InterfaceDescription): Bytes {
  const encoded = endpoints.map(({ address, attributes, packetBytes }) =>
    new Uint8Array([7, 5, address, attributes, packetBytes & 0xff, packetBytes >> 8, attributes === 3 ? 16 : 0]));
  return concatBytes(new Uint8Array([9, 4, number, 0, endpoints.length, ...triple, 0]), extra ?? new Uint8Array(), ...encoded);
}
