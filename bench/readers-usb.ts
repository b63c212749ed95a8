/** Counts the transfers of an emulated USB device: what the device itself took and gave, by kind. */
import { STALL, UNPLUGGED, type UsbDescriptors, type UsbDevice, type UsbSetup } from '#card-firmware-sim/usb/usb-device.ts';
import type { Bytes } from '#protocol/bytes.ts';

/** Transfers, not packets; requests that the operating system answers or sends by itself (chapter 9 of USB 2.0) are not among them. */
export interface UsbTally {
  readonly control: number;
  readonly out: number;
  readonly in: number;
  /** Data of all three, without tokens and handshakes. */
  readonly bytesOut: number;
  readonly bytesIn: number;
}

export const NO_TRANSFERS: UsbTally = { control: 0, out: 0, in: 0, bytesOut: 0, bytesIn: 0 };
export const USB_TALLY_KEYS = Object.keys(NO_TRANSFERS) as readonly (keyof UsbTally)[];

const DIRECTION_IN = 0x80;
const ENDPOINT_DESCRIPTOR = 5;
const TRANSFER_TYPES = ['control', 'isochronous', 'bulk', 'interrupt'] as const;

export class CountingDevice implements UsbDevice {
  tally: UsbTally = NO_TRANSFERS;
  /** Of the endpoints that were used: 'bulk', 'interrupt'. */
  readonly usedTypes = new Set<string>();
  readonly #device: UsbDevice;
  readonly #types: Map<number, string>;

  constructor(device: UsbDevice) {
    this.#device = device;
    this.#types = endpointTypes(device.descriptors);
  }

  get descriptors(): UsbDescriptors {
    return this.#device.descriptors;
  }

  async transferOut(endpoint: number, data: Bytes): ReturnType<UsbDevice['transferOut']> {
    this.#add({ out: 1, bytesOut: data.length }, endpoint);
    return this.#device.transferOut(endpoint, data);
  }

  async transferIn(endpoint: number, length: number, signal: AbortSignal): ReturnType<UsbDevice['transferIn']> {
    const answer = await this.#device.transferIn(endpoint, length, signal);
    // One that was taken back moved nothing; an empty packet that ends a transfer did.
    if (answer !== STALL && answer !== UNPLUGGED && !(answer.length === 0 && signal.aborted)) this.#add({ in: 1, bytesIn: answer.length }, endpoint | DIRECTION_IN);
    return answer;
  }

  async control(setup: UsbSetup, data: Bytes): ReturnType<UsbDevice['control']> {
    const answer = await this.#device.control(setup, data);
    const isIn = (setup.requestType & DIRECTION_IN) !== 0;
    this.#add({ control: 1, bytesOut: isIn ? 0 : data.length, bytesIn: isIn && answer instanceof Uint8Array ? answer.length : 0 });
    return answer;
  }

  clearHalt(endpoint: number): void {
    this.#device.clearHalt(endpoint);
  }

  reset(): void {
    this.#device.reset();
  }

  #add(more: Partial<UsbTally>, address?: number): void {
    const type = address === undefined ? undefined : this.#types.get(address);
    if (type !== undefined) this.usedTypes.add(type);
    this.tally = sum(this.tally, { ...NO_TRANSFERS, ...more });
  }
}

export function sum(a: UsbTally, b: UsbTally): UsbTally {
  return combine(a, b, (x, y) => x + y);
}

export function difference(after: UsbTally, before: UsbTally): UsbTally {
  return combine(after, before, (x, y) => x - y);
}

function combine(a: UsbTally, b: UsbTally, join: (x: number, y: number) => number): UsbTally {
  return Object.fromEntries(USB_TALLY_KEYS.map((key) => [key, join(a[key], b[key])])) as Record<keyof UsbTally, number>;
}

/** Endpoint addresses, with direction bit, and their types (USB 2.0, 9.6.6). */
function endpointTypes({ configuration }: UsbDescriptors): Map<number, string> {
  const types = new Map<number, string>();
  for (let at = 0; at < configuration.length; at += Math.max(2, configuration[at] ?? 0)) {
    const [, type, address = 0, attributes = 0] = configuration.subarray(at);
    if (type === ENDPOINT_DESCRIPTOR) types.set(address, TRANSFER_TYPES[attributes & 3] ?? '');
  }
  return types;
}
