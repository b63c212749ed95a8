/** WebUSB without a browser: emulated devices plugged in and out in memory, failing as Chromium's do. What Chromium really does is tested in Chromium. */
import { concatBytes, type Bytes } from '#protocol/bytes.ts';
import type { UsbConfiguration, UsbDevice, UsbEndpoint, UsbInResult, UsbInterface, UsbOutResult } from '#bridge/webusb/usb-device.ts';
import { STALL, UNPLUGGED, type UsbDevice as EmulatedDevice } from '#card-firmware-sim/usb/usb-device.ts';
import { createInMemoryBus, type InMemoryBus } from './in-memory-bus.ts';
import { describeDevice, type InterfaceDescription } from './usb-descriptors.ts';

/** WebUSB keeps smart-card readers to the system (WICG WebUSB, protected interface classes). */
const SMART_CARD_CLASS = 0x0b;

export function createInMemoryUsb(): InMemoryBus<UsbDevice> {
  return createInMemoryBus((device) => new InMemoryUsbDevice(device));
}

class InMemoryUsbDevice implements UsbDevice {
  readonly vendorId: number;
  readonly productId: number;
  readonly manufacturerName: string | null;
  readonly productName: string | null;
  readonly serialNumber: string | null;
  readonly configuration: UsbConfiguration;
  opened = false;
  readonly #device: EmulatedDevice;
  readonly #claimed = new Set<number>();
  #connection = new AbortController();
  #isConnected = true;

  constructor(device: EmulatedDevice) {
    this.#device = device;
    const { vendorId, productId, manufacturer, product, serialNumber, interfaces } = describeDevice(device.descriptors);
    [this.vendorId, this.productId] = [vendorId, productId];
    [this.manufacturerName, this.productName, this.serialNumber] = [manufacturer, product, serialNumber];
    this.configuration = { interfaces: interfaces.map(usbInterface) };
  }

  open(): Promise<void> {
    this.#insist(this.#isConnected, 'NotFoundError', 'The device was disconnected.');
    this.opened = true;
    this.#connection = new AbortController();
    return Promise.resolve();
  }

  close(): Promise<void> {
    this.opened = false;
    this.#claimed.clear();
    this.#connection.abort(new DOMException('The transfer was cancelled.', 'AbortError'));
    this.#device.reset();
    return Promise.resolve();
  }

  async selectConfiguration(): Promise<void> {
    await this.#mustBeOpen();
  }

  async claimInterface(interfaceNumber: number): Promise<void> {
    await this.#mustBeOpen();
    const claimed = this.configuration.interfaces.find((candidate) => candidate.interfaceNumber === interfaceNumber);
    this.#insist(claimed !== undefined, 'NotFoundError', 'The interface number provided is not supported by the device in its current configuration.');
    this.#insist(claimed?.alternates.every(({ interfaceClass }) => interfaceClass !== SMART_CARD_CLASS) === true, 'SecurityError', 'The requested interface implements a protected class.');
    this.#claimed.add(interfaceNumber);
  }

  async releaseInterface(interfaceNumber: number): Promise<void> {
    await this.#mustBeOpen();
    this.#claimed.delete(interfaceNumber);
  }

  async clearHalt(direction: 'in' | 'out', endpointNumber: number): Promise<void> {
    await this.#mustBeOpen();
    this.#device.clearHalt(direction === 'in' ? endpointNumber | 0x80 : endpointNumber);
  }

  async transferOut(endpointNumber: number, data: BufferSource): Promise<UsbOutResult> {
    await this.#mustHave(endpointNumber, 'out');
    const bytes = bytesOf(data);
    const result = await this.#unlessGone(this.#device.transferOut(endpointNumber, bytes));
    this.#insist(result !== UNPLUGGED, 'NotFoundError', 'The device was disconnected.');
    return { bytesWritten: bytes.length, status: result === STALL ? 'stall' : 'ok' };
  }

  async transferIn(endpointNumber: number, length: number): Promise<UsbInResult> {
    await this.#mustHave(endpointNumber, 'in');
    const result = await this.#unlessGone(this.#device.transferIn(endpointNumber, length, this.#connection.signal));
    if (result === UNPLUGGED) throw new DOMException('The device was disconnected.', 'NotFoundError');
    if (result === STALL) return { status: 'stall' };
    const bytes = concatBytes(result);
    return { data: new DataView(bytes.buffer), status: 'ok' };
  }

  disconnect(): void {
    this.#isConnected = false;
    this.opened = false;
    this.#connection.abort(new DOMException('The device was disconnected.', 'NotFoundError'));
    this.#device.reset();
  }

  async #mustHave(endpointNumber: number, direction: 'in' | 'out'): Promise<void> {
    await this.#mustBeOpen();
    const owner = this.configuration.interfaces.find(({ alternate }) => alternate.endpoints.some((endpoint) => endpoint.endpointNumber === endpointNumber && endpoint.direction === direction));
    this.#insist(owner !== undefined && this.#claimed.has(owner.interfaceNumber), 'NotFoundError', 'The specified endpoint is not part of a claimed and selected alternate interface.');
  }

  /** A call that the device answers takes at least a turn of the event loop, as in a browser. */
  async #mustBeOpen(): Promise<void> {
    await Promise.resolve();
    this.#insist(this.#isConnected, 'NotFoundError', 'The device was disconnected.');
    this.#insist(this.opened, 'InvalidStateError', 'The device must be opened first.');
  }

  #insist(condition: boolean, name: string, message: string): void {
    if (!condition) throw new DOMException(message, name);
  }

  #unlessGone<T>(work: Promise<T>): Promise<T> {
    const { signal } = this.#connection;
    return new Promise((resolve, reject) => {
      const gone = (): void => reject(signal.reason as Error);
      if (signal.aborted) gone();
      signal.addEventListener('abort', gone, { once: true });
      work.then(resolve, reject).finally(() => signal.removeEventListener('abort', gone));
    });
  }
}

function usbInterface({ number, class: interfaceClass, endpoints }: InterfaceDescription): UsbInterface {
  const alternate = {
    interfaceClass,
    endpoints: endpoints.flatMap(({ address, type, packetBytes }): UsbEndpoint[] =>
      type === 'control' ? [] : [{ endpointNumber: address & 0x0f, direction: (address & 0x80) === 0 ? 'out' : 'in', type, packetSize: packetBytes }],
    ),
  };
  return { interfaceNumber: number, alternate, alternates: [alternate] };
}

export function bytesOf(data: BufferSource): Bytes {
  return ArrayBuffer.isView(data) ? concatBytes(new Uint8Array(data.buffer, data.byteOffset, data.byteLength)) : new Uint8Array(data.slice(0));
}
