/** WebHID without a browser: emulated devices plugged in and out in memory, failing as Chromium's do. What Chromium really does is tested in Chromium. */
import { concatBytes } from '#protocol/bytes.ts';
import type { HidCollection, HidDevice, HidInputReport } from '#bridge/webhid/hid-device.ts';
import { STALL, UNPLUGGED, type UsbDevice as EmulatedDevice } from '#card-firmware-sim/usb/usb-device.ts';
import { parseReportDescriptor } from './hid-report-descriptor.ts';
import { createInMemoryBus, type InMemoryBus } from './in-memory-bus.ts';
import { bytesOf } from './in-memory-usb.ts';
import { describeDevice } from './usb-descriptors.ts';

export function createInMemoryHid(): InMemoryBus<HidDevice> {
  return createInMemoryBus((device) => new InMemoryHidDevice(device));
}

class InMemoryHidDevice implements HidDevice {
  readonly vendorId: number;
  readonly productId: number;
  readonly productName: string;
  readonly collections: readonly HidCollection[];
  opened = false;
  readonly #device: EmulatedDevice;
  readonly #hasIds: boolean;
  readonly #endpoints: { readonly in: number; readonly out: number; readonly packetBytes: number };
  readonly #listeners = new Set<(event: HidInputReport) => void>();
  #connection = new AbortController();
  #isConnected = true;

  constructor(device: EmulatedDevice) {
    this.#device = device;
    const { vendorId, productId, product, interfaces } = describeDevice(device.descriptors);
    [this.vendorId, this.productId, this.productName] = [vendorId, productId, product ?? ''];
    const { usagePage, usage, reports } = parseReportDescriptor(device.descriptors.hidReport ?? new Uint8Array());
    this.#hasIds = reports.some(({ id }) => id !== 0);
    const endpoints = interfaces[0]?.endpoints ?? [];
    const numberOf = (direction: number): number => (endpoints.find(({ address }) => (address & 0x80) === direction)?.address ?? 0) & 0x0f;
    this.#endpoints = { in: numberOf(0x80), out: numberOf(0), packetBytes: endpoints[0]?.packetBytes ?? 0 };
    const outputReports = reports.filter(({ kind }) => kind === 'output').map(({ id, bytes }) => ({ reportId: id, items: [{ reportSize: 8, reportCount: bytes }] }));
    this.collections = [{ usagePage, usage, outputReports }];
  }

  open(): Promise<void> {
    if (!this.#isConnected) return Promise.reject(new DOMException('Failed to open the device.', 'NotAllowedError'));
    if (this.opened) return Promise.reject(new DOMException('The device is already open.', 'InvalidStateError'));
    this.opened = true;
    this.#connection = new AbortController();
    void this.#listen(this.#connection.signal);
    return Promise.resolve();
  }

  close(): Promise<void> {
    this.opened = false;
    this.#connection.abort();
    this.#device.reset();
    return Promise.resolve();
  }

  async sendReport(reportId: number, data: BufferSource): Promise<void> {
    await Promise.resolve();
    if (!this.opened) throw new DOMException('The device must be opened first.', 'InvalidStateError');
    if (!this.#isConnected) throw new DOMException('Failed to write the report.', 'NotAllowedError');
    const report = reportId === 0 ? bytesOf(data) : concatBytes(Uint8Array.of(reportId), bytesOf(data));
    const result = await this.#device.transferOut(this.#endpoints.out, report);
    if (result === STALL || result === UNPLUGGED) throw new DOMException('Failed to write the report.', 'NotAllowedError');
  }

  addEventListener(_type: 'inputreport', listener: (event: HidInputReport) => void): void {
    this.#listeners.add(listener);
  }

  removeEventListener(_type: 'inputreport', listener: (event: HidInputReport) => void): void {
    this.#listeners.delete(listener);
  }

  disconnect(): void {
    this.#isConnected = false;
    this.opened = false;
    this.#connection.abort();
    this.#device.reset();
  }

  /** A HID stack always has one read pending. */
  async #listen(signal: AbortSignal): Promise<void> {
    const hasIds = this.#hasIds;
    for (;;) {
      const packet = await this.#device.transferIn(this.#endpoints.in, this.#endpoints.packetBytes, signal);
      // As usbhid of Linux does: the halt is cleared, and what it cost is lost.
      if (packet === STALL) {
        this.#device.clearHalt(this.#endpoints.in | 0x80);
        continue;
      }
      // A read that was called off has no bytes.
      if (packet === UNPLUGGED || packet.length === 0) return;
      const data = concatBytes(hasIds ? packet.subarray(1) : packet);
      const event = { reportId: hasIds ? (packet[0] ?? 0) : 0, data: new DataView(data.buffer) };
      for (const listener of [...this.#listeners]) listener(event);
    }
  }
}
