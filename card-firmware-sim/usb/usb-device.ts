/** A USB device as its firmware sees the bus: what the USB/IP server, or a test in memory, plugs in. */
import type { Bytes } from '#protocol/bytes.ts';

/** What the device says about itself; the server answers the standard requests of USB 2.0, chapter 9, from these. */
export interface UsbDescriptors {
  /** 18 bytes (USB 2.0, 9.6.1). */
  readonly device: Bytes;
  /** The configuration with all its interfaces, class descriptors and endpoints (9.6.3 and following). */
  readonly configuration: Bytes;
  /** String 1, 2, … as the indices in `device` and `configuration` count them. */
  readonly strings: readonly string[];
  /** The HID report descriptor of interface 0 (HID 1.11, 6.2.2), where it is a HID device. */
  readonly hidReport?: Bytes;
  /** As USB/IP counts: 2 full speed, 3 high speed. */
  readonly speed: 2 | 3;
}

/** The 8 bytes of a control transfer (9.3). */
export interface UsbSetup {
  readonly requestType: number;
  readonly request: number;
  readonly value: number;
  readonly index: number;
  readonly length: number;
}

/** A transfer that the device refuses: the endpoint is halted until the host clears it (9.4.5). */
export const STALL = Symbol('stall');
/** The device left the bus. */
export const UNPLUGGED = Symbol('unplugged');

export interface UsbDevice {
  readonly descriptors: UsbDescriptors;
  /** One OUT transfer to a bulk or interrupt endpoint (its number, without the direction bit). */
  transferOut(endpoint: number, data: Bytes): Promise<typeof STALL | typeof UNPLUGGED | undefined>;
  /** One IN transfer: resolves when there is data (at most `length` bytes; the rest stays for the next), or the signal is aborted (then to no bytes). */
  transferIn(endpoint: number, length: number, signal: AbortSignal): Promise<Bytes | typeof STALL | typeof UNPLUGGED>;
  /** Class and vendor requests on endpoint 0, and SET_INTERFACE; resolves to the data of an IN request. */
  control(setup: UsbSetup, data: Bytes): Promise<Bytes | typeof STALL | typeof UNPLUGGED>;
  /** CLEAR_FEATURE(ENDPOINT_HALT): data toggles and the halt are reset. `endpoint` with its direction bit. */
  clearHalt(endpoint: number): void;
  /** Port reset, or the last user of the device closed it: volatile state is gone. */
  reset(): void;
}

/** What lies on the reader: bytes in, answer out. `mute`: never answers; `tear`: it leaves the field in the middle of the command. */
export interface CardApplication {
  process(command: Bytes): Promise<Bytes | 'mute' | 'tear'>;
  /** The field went away: volatile state is gone. */
  reset(): Promise<void>;
  /** 7 bytes. */
  readonly uid: Bytes;
}
