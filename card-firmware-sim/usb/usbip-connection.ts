/** One importer of the bus: its list or its import, then its transfers; control never waits for a bulk transfer, and each endpoint keeps its order. */
import type { Socket } from 'node:net';
import type { Bytes } from '#protocol/bytes.ts';
import { STALL, UNPLUGGED } from './usb-device.ts';
import { encodeDeviceList, encodeImportReply, encodeSubmitReply, encodeUnlinkReply, UsbIpFormatError, UsbIpRequestStream } from './usbip-messages.ts';
import type { SubmitMessage, UsbIpDevice, UsbIpRequest } from './usbip-messages.ts';
import type { UsbControlEndpoint } from './usb-standard-requests.ts';
import type { UsbDevice } from './usb-device.ts';

/** One device in its socket of the bus. */
export interface PluggedDevice {
  readonly entry: UsbIpDevice;
  readonly device: UsbDevice;
  readonly control: UsbControlEndpoint;
  importer: UsbIpConnection | undefined;
}

/** What a connection needs of the bus. */
export interface DeviceBus {
  list(): UsbIpDevice[];
  find(busId: string): PluggedDevice | undefined;
  unplug(busId: string): void;
}

interface PendingTransfer {
  readonly message: SubmitMessage;
  readonly withdrawn: AbortController;
}

/** As the importer's kernel names them. */
const STATUS = { OK: 0, EPIPE: -32, ECONNRESET: -104, ESHUTDOWN: -108, ENOMEM: -12 } as const;
const MAX_PENDING = 256;
/** The importer's URB asks for an empty packet after a whole number of packets (URB_ZERO_PACKET). */
const ZERO_PACKET = 0x40;
const BULK_PACKET_BYTES = { 2: 64, 3: 512 } as const;
const NOTHING: Bytes = new Uint8Array();

export class UsbIpConnection {
  readonly #socket: Socket;
  readonly #bus: DeviceBus;
  readonly #stream = new UsbIpRequestStream();
  readonly #pending = new Map<number, PendingTransfer>();
  /** The work of each endpoint and direction, one transfer after the other. */
  readonly #queues = new Map<string, Promise<void>>();
  #imported: PluggedDevice | undefined;
  #isOver = false;

  constructor(socket: Socket, bus: DeviceBus) {
    this.#socket = socket;
    this.#bus = bus;
  }

  receive(chunk: Uint8Array): void {
    if (this.#isOver) return;
    try {
      for (const request of this.#stream.push(chunk)) this.#serve(request);
    } catch (error) {
      if (!(error instanceof UsbIpFormatError)) throw error;
      this.close();
    }
  }

  /** The socket is gone: the device is free again, in the state of a fresh one. */
  ended(): void {
    this.#isOver = true;
    const imported = this.#imported;
    this.#imported = undefined;
    for (const { withdrawn } of this.#pending.values()) withdrawn.abort();
    this.#pending.clear();
    if (imported === undefined) return;
    imported.importer = undefined;
    imported.control.reset();
  }

  /** The device left: what is pending fails, and the connection ends. */
  endUnplugged(): void {
    for (const { message, withdrawn } of this.#pending.values()) {
      withdrawn.abort();
      this.#write(encodeSubmitReply(message.sequence, STATUS.ESHUTDOWN, 0, NOTHING));
    }
    this.#pending.clear();
    this.#isOver = true;
    this.#socket.end();
  }

  close(): void {
    this.#isOver = true;
    this.#socket.destroy();
  }

  #write(bytes: Bytes): void {
    if (!this.#isOver) this.#socket.write(bytes);
  }

  #serve(request: UsbIpRequest): void {
    if (this.#isOver) return;
    switch (request.kind) {
      case 'devlist':
        this.#write(encodeDeviceList(this.#bus.list()));
        this.#isOver = true;
        this.#socket.end();
        return;
      case 'import':
        return this.#import(request.busId);
      case 'submit':
        return this.#submit(request);
      case 'unlink': {
        const pending = this.#pending.get(request.unlinkSequence);
        this.#pending.delete(request.unlinkSequence);
        pending?.withdrawn.abort();
        return this.#write(encodeUnlinkReply(request.sequence, pending === undefined ? STATUS.OK : STATUS.ECONNRESET));
      }
    }
  }

  #import(busId: string): void {
    const found = this.#bus.find(busId);
    const isFree = found !== undefined && found.importer === undefined;
    this.#write(encodeImportReply(isFree ? found.entry : undefined));
    if (isFree) {
      found.importer = this;
      this.#imported = found;
    } else {
      this.#isOver = true;
      this.#socket.end();
    }
  }

  #submit(message: SubmitMessage): void {
    const imported = this.#imported;
    if (imported === undefined || message.deviceId !== ((imported.entry.busNumber << 16) | imported.entry.deviceNumber)) {
      throw new UsbIpFormatError('a transfer for a device that was not imported');
    }
    if (this.#pending.has(message.sequence)) throw new UsbIpFormatError('sequence number in use');
    if (this.#pending.size >= MAX_PENDING) return this.#write(encodeSubmitReply(message.sequence, STATUS.ENOMEM, 0, NOTHING));
    const transfer: PendingTransfer = { message, withdrawn: new AbortController() };
    this.#pending.set(message.sequence, transfer);
    // Endpoint 0 is one queue for both directions (USB 2.0, 5.5).
    const queue = message.endpoint === 0 ? 'control' : `${message.endpoint} ${message.direction}`;
    const before = this.#queues.get(queue);
    const work = before === undefined ? this.#carryOut(imported, transfer) : before.then(() => this.#carryOut(imported, transfer));
    this.#queues.set(queue, work);
  }

  async #carryOut(imported: PluggedDevice, transfer: PendingTransfer): Promise<void> {
    const { message, withdrawn: { signal } } = transfer;
    const isWithdrawn = () => signal.aborted;
    if (isWithdrawn()) return;
    const result = await runTransfer(imported, message, signal);
    if (isWithdrawn()) return;
    if (result === UNPLUGGED) {
      this.#bus.unplug(imported.entry.busId);
      return;
    }
    this.#pending.delete(message.sequence);
    if (result === STALL) {
      if (message.endpoint !== 0) imported.control.noteHalt(message.endpoint | (message.direction === 'in' ? 0x80 : 0));
      this.#write(encodeSubmitReply(message.sequence, STATUS.EPIPE, 0, NOTHING));
      return;
    }
    // Never more than the importer has room for.
    const data = message.direction === 'in' ? result.subarray(0, message.length) : NOTHING;
    this.#write(encodeSubmitReply(message.sequence, STATUS.OK, message.direction === 'in' ? data.length : message.length, data));
  }
}

async function runTransfer({ device, control }: PluggedDevice, message: SubmitMessage, signal: AbortSignal): Promise<Bytes | typeof STALL | typeof UNPLUGGED> {
  const { endpoint, direction, length, data, setup } = message;
  if (endpoint === 0) return control.answer(setup, data);
  if (direction === 'in') return device.transferIn(endpoint, length, signal);
  const taken = await device.transferOut(endpoint, data);
  if (taken !== undefined) return taken;
  const isWhole = data.length > 0 && data.length % BULK_PACKET_BYTES[device.descriptors.speed] === 0;
  if (isWhole && (message.flags & ZERO_PACKET) !== 0) return (await device.transferOut(endpoint, NOTHING)) ?? NOTHING;
  return NOTHING;
}
