/** The requests of USB 2.0, chapter 9, that every device answers alike, from its descriptors; what is of a class or a vendor goes to the device. */
import type { Bytes } from '#protocol/bytes.ts';
import { STALL } from './usb-device.ts';
import type { UNPLUGGED, UsbDescriptors, UsbDevice, UsbSetup } from './usb-device.ts';

/** USB 2.0, table 9-4; HID 1.11, 7.2. */
const REQUEST = {
  GET_STATUS: 0, CLEAR_FEATURE: 1, SET_FEATURE: 3, SET_ADDRESS: 5, GET_DESCRIPTOR: 6,
  GET_CONFIGURATION: 8, SET_CONFIGURATION: 9, GET_INTERFACE: 10, SET_INTERFACE: 11,
} as const;
const HID_SET_IDLE = 0x0a;
/** Table 9-5; HID 1.11, 7.1. */
const DESCRIPTOR = { DEVICE: 1, CONFIGURATION: 2, STRING: 3, INTERFACE: 4, HID: 0x21, HID_REPORT: 0x22 } as const;
const TO = { DEVICE: 0x00, INTERFACE: 0x01, ENDPOINT: 0x02 } as const;
const ENDPOINT_HALT = 0;
const US_ENGLISH = 0x0409;
const NOTHING: Bytes = new Uint8Array();

/** What the standard requests remember of one device while it is plugged in. */
export class UsbControlEndpoint {
  readonly #device: UsbDevice;
  readonly #halted = new Set<number>();
  #configuration: number;

  /** Configured from the start: an importer that never asks finds the device as a system that asked would. */
  constructor(device: UsbDevice) {
    this.#device = device;
    this.#configuration = configurationValue(device.descriptors);
  }

  /** A transfer on this endpoint (with direction bit) was refused. */
  noteHalt(endpoint: number): void {
    this.#halted.add(endpoint);
  }

  reset(): void {
    this.#halted.clear();
    this.#configuration = configurationValue(this.#device.descriptors);
    this.#device.reset();
  }

  /** One control transfer; the data of an IN request are at most as long as it asked for. */
  async answer(setup: UsbSetup, data: Bytes): Promise<Bytes | typeof STALL | typeof UNPLUGGED> {
    const answer = await this.#answer(setup, data);
    return answer instanceof Uint8Array ? answer.slice(0, setup.length) : answer;
  }

  async #answer(setup: UsbSetup, data: Bytes): Promise<Bytes | typeof STALL | typeof UNPLUGGED> {
    const isHidIdle = setup.requestType === 0x21 && setup.request === HID_SET_IDLE;
    if (isHidIdle && this.#device.descriptors.hidReport !== undefined) return NOTHING;
    // Bits 6..5: standard 0, class 1, vendor 2 (9.3.1).
    if ((setup.requestType & 0x60) !== 0) return this.#device.control(setup, data);
    const recipient = setup.requestType & 0x1f;
    return (setup.requestType & 0x80) === 0 ? this.#set(setup, recipient) : this.#get(setup, recipient);
  }

  #get(setup: UsbSetup, recipient: number): Bytes | typeof STALL {
    switch (setup.request) {
      case REQUEST.GET_STATUS:
        return new Uint8Array([recipient === TO.ENDPOINT && this.#halted.has(setup.index & 0xff) ? 1 : 0, 0]);
      case REQUEST.GET_DESCRIPTOR:
        return descriptor(this.#device.descriptors, setup, recipient);
      case REQUEST.GET_CONFIGURATION:
        return new Uint8Array([this.#configuration]);
      case REQUEST.GET_INTERFACE:
        return new Uint8Array([0]);
      default:
        return STALL;
    }
  }

  async #set(setup: UsbSetup, recipient: number): Promise<Bytes | typeof STALL | typeof UNPLUGGED> {
    switch (setup.request) {
      case REQUEST.CLEAR_FEATURE:
        return recipient === TO.ENDPOINT && setup.value === ENDPOINT_HALT ? this.#clearHalt(setup.index & 0xff) : STALL;
      case REQUEST.SET_ADDRESS:
        return NOTHING;
      case REQUEST.SET_CONFIGURATION:
        if (setup.value !== 0 && setup.value !== configurationValue(this.#device.descriptors)) return STALL;
        this.#configuration = setup.value;
        return NOTHING;
      case REQUEST.SET_INTERFACE: {
        const answer = await this.#device.control(setup, NOTHING);
        return answer instanceof Uint8Array ? NOTHING : answer;
      }
      default:
        return STALL;
    }
  }

  #clearHalt(endpoint: number): Bytes {
    this.#halted.delete(endpoint);
    this.#device.clearHalt(endpoint);
    return NOTHING;
  }
}

export function configurationValue(descriptors: UsbDescriptors): number {
  return descriptors.configuration[5] ?? 1;
}

/** Class, subclass and protocol of each interface in its first setting. */
export function interfaceClasses(descriptors: UsbDescriptors): (readonly [number, number, number])[] {
  return [...eachDescriptor(descriptors.configuration)]
    .filter((one) => one[1] === DESCRIPTOR.INTERFACE && one[3] === 0)
    .map((one) => [one[5] ?? 0, one[6] ?? 0, one[7] ?? 0] as const);
}

function* eachDescriptor(configuration: Bytes): Generator<Bytes> {
  for (let at = 0; at < configuration.length;) {
    const length = configuration[at] ?? 0;
    if (length < 2) return;
    yield configuration.subarray(at, at + length);
    at += length;
  }
}

function descriptor(descriptors: UsbDescriptors, setup: UsbSetup, recipient: number): Bytes | typeof STALL {
  const index = setup.value & 0xff;
  switch (setup.value >> 8) {
    case DESCRIPTOR.DEVICE:
      return descriptors.device;
    case DESCRIPTOR.CONFIGURATION:
      return index === 0 ? descriptors.configuration : STALL;
    case DESCRIPTOR.STRING:
      return stringDescriptor(descriptors.strings, index);
    case DESCRIPTOR.HID:
      return recipient === TO.INTERFACE ? hidDescriptor(descriptors) : STALL;
    case DESCRIPTOR.HID_REPORT:
      return recipient === TO.INTERFACE ? (descriptors.hidReport ?? STALL) : STALL;
    // BOS before USB 2.01, device qualifier at full speed, and whatever else: refused (9.6.2).
    default:
      return STALL;
  }
}

function hidDescriptor(descriptors: UsbDescriptors): Bytes | typeof STALL {
  for (const one of eachDescriptor(descriptors.configuration)) if (one[1] === DESCRIPTOR.HID) return one.slice();
  return STALL;
}

/** UTF-16LE; index 0 lists the one language (9.6.7). */
function stringDescriptor(strings: readonly string[], index: number): Bytes | typeof STALL {
  const text = index === 0 ? String.fromCharCode(US_ENGLISH) : strings[index - 1];
  if (text === undefined) return STALL;
  const bytes = new Uint8Array(2 + 2 * text.length);
  bytes.set([bytes.length, DESCRIPTOR.STRING]);
  for (let i = 0; i < text.length; i++) new DataView(bytes.buffer).setUint16(2 + 2 * i, text.charCodeAt(i), true);
  return bytes;
}
