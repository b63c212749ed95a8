/** A USB/IP importer for tests: attaches one device of a bus and runs transfers on it, as a kernel would. */
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { concatBytes } from '#protocol/bytes.ts';
import type { Bytes } from '#protocol/bytes.ts';
import type { UsbSetup } from './usb-device.ts';
import { encodeRequest, URB_HEADER_BYTES } from './usbip-messages.ts';

export interface SubmitReply {
  readonly status: number;
  readonly actualLength: number;
  readonly data: Bytes;
}

const NO_SETUP: UsbSetup = { requestType: 0, request: 0, value: 0, index: 0, length: 0 };

/** Sends these bytes and resolves to all that comes until the other side ends the connection. */
export function askOnce(port: number, ...chunks: readonly Bytes[]): Promise<Bytes> {
  return new Promise((resolve, reject) => {
    let received: Bytes = new Uint8Array();
    const socket = connect({ port, host: '127.0.0.1', noDelay: true }, () => {
      for (const chunk of chunks) socket.write(chunk);
    });
    socket.on('data', (chunk: Buffer) => (received = concatBytes(received, chunk)));
    socket.on('error', reject);
    socket.on('close', () => resolve(received));
  });
}

export class TestingUsbIpHost {
  readonly #socket: Socket;
  readonly #waiting = new Map<number, (reply: Bytes) => void>();
  readonly #directions = new Map<number, 'in' | 'out'>();
  readonly closed: Promise<void>;
  #received: Bytes = new Uint8Array();
  #onImport: ((reply: Bytes) => void) | undefined;
  #sequence = 0;
  #deviceId = 0;

  private constructor(socket: Socket) {
    this.#socket = socket;
    this.closed = new Promise((resolve) => socket.on('close', () => resolve()));
    socket.on('data', (chunk: Buffer) => {
      this.#received = concatBytes(this.#received, chunk);
      this.#cut();
    });
    socket.on('error', () => socket.destroy());
  }

  /** Rejects if the bus refuses. */
  static async attach(port: number, busId: string): Promise<TestingUsbIpHost> {
    const host = new TestingUsbIpHost(connect({ port, host: '127.0.0.1', noDelay: true }));
    const reply = await new Promise<Bytes>((resolve) => {
      host.#onImport = resolve;
      host.#socket.write(encodeRequest({ kind: 'import', busId }));
    });
    const view = new DataView(reply.buffer);
    if (view.getUint32(4) !== 0) throw new Error('import refused');
    host.#deviceId = (view.getUint32(8 + 256 + 32) << 16) | view.getUint32(8 + 256 + 36);
    return host;
  }

  detach(): void {
    this.#socket.destroy();
  }

  control(setup: UsbSetup, data: Bytes = new Uint8Array()): Promise<SubmitReply> {
    return this.#submit((setup.requestType & 0x80) === 0 ? 'out' : 'in', 0, setup.length, data, setup).reply;
  }

  out(endpoint: number, data: Bytes, flags = 0): Promise<SubmitReply> {
    return this.#submit('out', endpoint, data.length, data, NO_SETUP, flags).reply;
  }

  in(endpoint: number, length: number): Promise<SubmitReply> {
    return this.#submit('in', endpoint, length, new Uint8Array(), NO_SETUP).reply;
  }

  /** An IN transfer that is withdrawn with `unlink`. */
  pendingIn(endpoint: number, length: number): { sequence: number; reply: Promise<SubmitReply> } {
    return this.#submit('in', endpoint, length, new Uint8Array(), NO_SETUP);
  }

  /** Resolves to the status. */
  async unlink(unlinkSequence: number): Promise<number> {
    const sequence = ++this.#sequence;
    const reply = await this.#ask(sequence, 'out', encodeRequest({ kind: 'unlink', sequence, unlinkSequence }));
    return new DataView(reply.buffer).getInt32(0x14);
  }

  #submit(direction: 'in' | 'out', endpoint: number, length: number, data: Bytes, setup: UsbSetup, flags = 0): { sequence: number; reply: Promise<SubmitReply> } {
    const sequence = ++this.#sequence;
    const request = encodeRequest({ kind: 'submit', sequence, deviceId: this.#deviceId, direction, endpoint, flags, length, setup, data });
    const reply = this.#ask(sequence, direction, request).then((bytes) => {
      const view = new DataView(bytes.buffer);
      return { status: view.getInt32(0x14), actualLength: view.getUint32(0x18), data: bytes.slice(URB_HEADER_BYTES) };
    });
    return { sequence, reply };
  }

  #ask(sequence: number, direction: 'in' | 'out', request: Bytes): Promise<Bytes> {
    return new Promise((resolve) => {
      this.#waiting.set(sequence, resolve);
      this.#directions.set(sequence, direction);
      this.#socket.write(request);
    });
  }

  #cut(): void {
    for (;;) {
      const view = new DataView(this.#received.buffer, 0, this.#received.length);
      const isImport = this.#onImport !== undefined;
      if (this.#received.length < (isImport ? 8 : URB_HEADER_BYTES)) return;
      const sequence = view.getUint32(4);
      const hasData = !isImport && view.getUint32(0) === 3 && this.#directions.get(sequence) === 'in';
      const length = isImport ? 8 + (sequence === 0 ? 312 : 0) : URB_HEADER_BYTES + (hasData ? view.getUint32(0x18) : 0);
      if (this.#received.length < length) return;
      const message = this.#received.slice(0, length);
      this.#received = this.#received.slice(length);
      if (isImport) {
        this.#onImport?.(message);
        this.#onImport = undefined;
      } else {
        this.#waiting.get(sequence)?.(message);
        this.#waiting.delete(sequence);
      }
    }
  }
}
