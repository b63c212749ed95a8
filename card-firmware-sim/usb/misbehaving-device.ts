/** A USB device with a bad cable: any device, but its transfers come late, are refused, are lost, or end for good at a chosen byte. */
import { setTimeout as delay } from 'node:timers/promises';
import type { Bytes } from '#protocol/bytes.ts';
import { anySignal } from './any-signal.ts';
import type { InResult } from './bulk-endpoint.ts';
import { STALL, UNPLUGGED } from './usb-device.ts';
import type { UsbDescriptors, UsbDevice, UsbSetup } from './usb-device.ts';

/** May be changed at any time. Counts are of bulk and interrupt transfers, from the time they are set; control transfers have none. */
export interface BusFaults {
  /** Each transfer begins so much later. */
  slowMs: number;
  /** The n-th OUT transfer from now is refused, and its endpoint halted; 0: none. */
  stallOutAt: number;
  /** The n-th answer from now is lost, and the IN endpoint halted instead; 0: none. */
  stallInAt: number;
  /** The n-th answer from now is lost without a trace; 0: none. */
  swallowAt: number;
  /**
   * The device leaves the bus once so many more bytes went over it, both directions counted: what crosses that byte is not delivered.
   * 0: at the next transfer. undefined: it stays.
   */
  unplugAfterBytes: number | undefined;
}

const NO_FAULTS: BusFaults = { slowMs: 0, stallOutAt: 0, stallInAt: 0, swallowAt: 0, unplugAfterBytes: undefined };

export class MisbehavingDevice implements UsbDevice {
  readonly faults: BusFaults;
  /** Bytes delivered in both directions since it was made. */
  bytes = 0;
  readonly #device: UsbDevice;
  /** With direction bit. */
  readonly #halted = new Set<number>();
  readonly #unplugged = new AbortController();

  constructor(device: UsbDevice, faults: Partial<BusFaults> = {}) {
    this.#device = device;
    this.faults = { ...NO_FAULTS, ...faults };
  }

  get descriptors(): UsbDescriptors {
    return this.#device.descriptors;
  }

  get isUnplugged(): boolean {
    return this.#unplugged.signal.aborted;
  }

  /** Pulls the cable now: transfers under way end. */
  unplug(): void {
    this.#unplugged.abort();
    this.#device.reset();
  }

  async transferOut(endpoint: number, data: Bytes): Promise<undefined | typeof STALL | typeof UNPLUGGED> {
    if (!(await this.#begin())) return UNPLUGGED;
    if (this.#halted.has(endpoint)) return STALL;
    if (this.#isDue('stallOutAt')) {
      this.#halted.add(endpoint);
      return STALL;
    }
    if (!this.#count(data.length)) return UNPLUGGED;
    return (await this.#device.transferOut(endpoint, data)) ?? undefined;
  }

  async transferIn(endpoint: number, length: number, signal: AbortSignal): Promise<InResult> {
    // The wait comes first: data that left the device must not be lost to a withdrawal.
    if (!(await this.#begin(signal))) return this.isUnplugged ? UNPLUGGED : new Uint8Array();
    for (;;) {
      if (this.#halted.has(endpoint | 0x80)) return STALL;
      const ends = anySignal(signal, this.#unplugged.signal);
      const answer = await this.#device.transferIn(endpoint, length, ends.signal);
      ends.release();
      if (this.isUnplugged) return UNPLUGGED;
      if (!(answer instanceof Uint8Array) || signal.aborted) return answer;
      if (this.#isDue('stallInAt')) {
        this.#halted.add(endpoint | 0x80);
        return STALL;
      }
      if (this.#isDue('swallowAt')) continue;
      return this.#count(answer.length) ? answer : UNPLUGGED;
    }
  }

  async control(setup: UsbSetup, data: Bytes): Promise<InResult> {
    return (await this.#begin()) ? this.#device.control(setup, data) : UNPLUGGED;
  }

  clearHalt(endpoint: number): void {
    this.#halted.delete(endpoint);
    this.#device.clearHalt(endpoint);
  }

  reset(): void {
    this.#halted.clear();
    this.#device.reset();
  }

  /** False: the device left, or the host withdrew. */
  async #begin(signal?: AbortSignal): Promise<boolean> {
    const ends = anySignal(signal, this.#unplugged.signal);
    // An early end of the wait is told by the signal.
    if (this.faults.slowMs > 0) await delay(this.faults.slowMs, undefined, { signal: ends.signal }).catch(() => undefined);
    const isOver = ends.signal.aborted;
    ends.release();
    return !isOver;
  }

  #isDue(fault: 'stallOutAt' | 'stallInAt' | 'swallowAt'): boolean {
    if (this.faults[fault] <= 0) return false;
    this.faults[fault]--;
    return this.faults[fault] === 0;
  }

  #count(length: number): boolean {
    const left = this.faults.unplugAfterBytes;
    if (left !== undefined && length >= left) {
      this.unplug();
      return false;
    }
    if (left !== undefined) this.faults.unplugAfterBytes = left - length;
    this.bytes += length;
    return true;
  }
}
