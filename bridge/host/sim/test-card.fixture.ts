/** A small card for tests: connects to a virtual reader (pcscd's vpcd or the host's own) and answers as it is told, or not at all. */
import { connect, type Socket } from 'node:net';
import { encodeHex, parseHex } from '#protocol/bytes.ts';

export const TEST_ATR = '3B80800101';

/** `mute`: no answer, ever. `tear`: gone in the middle of the command. */
export type TestAnswer = Uint8Array | 'mute' | 'tear';

export class TestCard {
  /** Command APDUs in hex, as they reached the card. */
  readonly commands: string[] = [];
  resets = 0;
  readonly #answer: (apdu: Uint8Array) => TestAnswer;
  #socket: Socket | undefined;

  constructor(answer: (apdu: Uint8Array) => TestAnswer) {
    this.#answer = answer;
  }

  /** Puts the card on the reader; waits for a reader that is not up yet. */
  async insert(port: number): Promise<void> {
    const endsAt = performance.now() + 5_000;
    for (;;) {
      try {
        this.#socket = await connectTo(port);
        break;
      } catch (reason) {
        if (performance.now() > endsAt) throw reason;
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
    }
    let received = Buffer.alloc(0);
    this.#socket.on('error', () => undefined);
    this.#socket.on('data', (bytes: Buffer) => {
      received = Buffer.concat([received, bytes]);
      while (received.length >= 2 && received.length >= 2 + received.readUInt16BE(0)) {
        const length = received.readUInt16BE(0);
        this.#take(received.subarray(2, 2 + length));
        received = received.subarray(2 + length);
      }
    });
  }

  /** Lifts the card; resolves once the reader's connection is closed. */
  async lift(): Promise<void> {
    const socket = this.#socket;
    if (socket === undefined || socket.closed) return;
    await new Promise<void>((resolve) => {
      socket.once('close', () => resolve());
      socket.destroy();
    });
  }

  #take(payload: Uint8Array): void {
    if (payload.length === 1) {
      if (payload[0] === 2) this.resets++;
      if (payload[0] === 4) this.#send(parseHex(TEST_ATR));
      return;
    }
    this.commands.push(encodeHex(payload));
    const answer = this.#answer(payload);
    if (answer === 'tear') this.#socket?.destroy();
    else if (answer !== 'mute') this.#send(answer);
  }

  #send(payload: Uint8Array): void {
    this.#socket?.write(Uint8Array.of(payload.length >> 8, payload.length & 0xff, ...payload));
  }
}

function connectTo(port: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port, noDelay: true }, () => resolve(socket));
    socket.once('error', reject);
  });
}
