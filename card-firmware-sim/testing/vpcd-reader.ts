/** For tests only: the reader's end of vpcd, as pcscd's virtual reader behaves: length and payload in two writes, one command at a time. */
import { createServer } from 'node:net';
import { once } from 'node:events';
import { concatBytes } from '#protocol/bytes.ts';
import type { AddressInfo, Server, Socket } from 'node:net';
import type { Bytes } from '#protocol/bytes.ts';

export const CONTROL = { OFF: 0, ON: 1, RESET: 2, ATR: 4 } as const;

export class TestingReader {
  readonly port: number;
  readonly #server: Server;
  readonly #waiting: ((slot: ReaderSlot) => void)[] = [];
  readonly #arrived: ReaderSlot[] = [];

  private constructor(server: Server) {
    this.#server = server;
    this.port = (server.address() as AddressInfo).port;
    server.on('connection', (socket) => {
      const slot = new ReaderSlot(socket);
      const waiting = this.#waiting.shift();
      if (waiting === undefined) this.#arrived.push(slot);
      else waiting(slot);
    });
  }

  static async start(port = 0): Promise<TestingReader> {
    const server = createServer({ noDelay: true });
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
    return new TestingReader(server);
  }

  /** The next card that is put on. */
  card(): Promise<ReaderSlot> {
    const slot = this.#arrived.shift();
    return slot === undefined ? new Promise((resolve) => this.#waiting.push(resolve)) : Promise.resolve(slot);
  }

  async stop(): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    await closed;
  }
}

export class ReaderSlot {
  readonly gone: Promise<void>;
  readonly #socket: Socket;
  #received: Bytes = new Uint8Array();
  #wake: () => void = () => undefined;
  #isGone = false;

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('data', (chunk) => {
      this.#received = concatBytes(this.#received, chunk);
      this.#wake();
    });
    // A card that is lifted resets the connection: that is what these tests are about.
    socket.on('error', () => undefined);
    this.gone = new Promise((resolve) => {
      socket.once('close', () => {
        this.#isGone = true;
        this.#wake();
        resolve();
      });
    });
  }

  /** Only the two length bytes; the payload follows by write(). */
  announce(length: number): void {
    this.write(new Uint8Array([length >> 8, length & 0xff]));
  }

  write(bytes: Uint8Array): void {
    this.#socket.write(bytes);
  }

  control(byte: number): void {
    this.write(new Uint8Array([0, 1, byte]));
  }

  async atr(): Promise<Bytes | undefined> {
    this.control(CONTROL.ATR);
    return this.answer();
  }

  /** The answer to an APDU, or undefined if the card is lifted first. */
  async transmit(apdu: Uint8Array): Promise<Bytes | undefined> {
    this.announce(apdu.length);
    this.write(apdu);
    return this.answer();
  }

  async answer(): Promise<Bytes | undefined> {
    const header = await this.bytes(2);
    return header === undefined ? undefined : this.bytes(((header[0] ?? 0) << 8) | (header[1] ?? 0));
  }

  /** The next bytes from the card; undefined if it is gone before they are there. */
  async bytes(count: number): Promise<Bytes | undefined> {
    while (this.#received.length < count) {
      if (this.#isGone) return undefined;
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
    const taken = this.#received.slice(0, count);
    this.#received = this.#received.slice(count);
    return taken;
  }

  /** The reader goes away. */
  unplug(): void {
    this.#socket.destroy();
  }
}
