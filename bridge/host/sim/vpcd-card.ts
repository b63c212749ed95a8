/** The reader's end of the vpcd protocol (vsmartcard): uint16 big-endian length and payload; one-byte payloads control power. */
import type { Socket } from 'node:net';
import { concatBytes, type Bytes } from '#protocol/bytes.ts';
import { Failure } from '#protocol/failure.ts';
import { MAX_RESPONSE_BYTES } from '#protocol/apdu.ts';

const CONTROL = { POWER_ON: 1, RESET: 2, GET_ATR: 4 } as const;
const MAX_ATR_BYTES = 33;
const HEADER_BYTES = 2;

export class VpcdCard {
  readonly #socket: Socket;
  #received: Bytes = new Uint8Array();
  #awaiting: { resolve(answer: Bytes): void; reject(reason: Failure): void } | undefined;
  #lost = false;

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('data', (bytes: Buffer) => this.#receive(bytes));
    // 'close' always follows an 'error', and tells all that we need.
    socket.on('error', () => undefined);
    socket.on('close', () => {
      this.#lost = true;
      this.#awaiting?.reject(new Failure('card/removed'));
    });
  }

  onceLost(callback: () => void): void {
    this.#socket.once('close', callback);
  }

  /** Powers the card and returns its answer to reset. */
  async powerUp(limitMs: number): Promise<Bytes> {
    this.#send(Uint8Array.of(CONTROL.POWER_ON));
    const atr = await this.exchange(Uint8Array.of(CONTROL.GET_ATR), limitMs);
    if (atr.length < 2 || atr.length > MAX_ATR_BYTES) throw new Failure('card/unsupported', { detail: `an ATR of ${atr.length} bytes` });
    return atr;
  }

  /** Resets the card; resolves once that has left for it. */
  async reset(limitMs: number): Promise<void> {
    if (this.#lost) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, limitMs);
      this.#send(Uint8Array.of(CONTROL.RESET), () => {
        clearTimeout(timer);
        resolve();
      });
    });
  }

  /** Sends one command and waits for its answer; one at a time. */
  exchange(command: Bytes, limitMs: number): Promise<Bytes> {
    if (this.#lost) return Promise.reject(new Failure('card/removed'));
    if (this.#awaiting !== undefined) return Promise.reject(new Failure('internal/bug', { detail: 'a command is under way' }));
    return new Promise<Bytes>((resolve, reject) => {
      const timer = setTimeout(() => this.#awaiting?.reject(new Failure('card/silent', { detail: `no answer in ${limitMs} ms` })), limitMs);
      const settle = () => {
        clearTimeout(timer);
        this.#awaiting = undefined;
      };
      this.#awaiting = {
        resolve: (answer) => {
          settle();
          resolve(answer);
        },
        reject: (reason) => {
          settle();
          reject(reason);
        },
      };
      this.#send(command);
    });
  }

  eject(): void {
    this.#socket.destroy();
  }

  #send(payload: Bytes, sent?: () => void): void {
    this.#socket.write(concatBytes(Uint8Array.of(payload.length >> 8, payload.length & 0xff), payload), sent);
  }

  #receive(bytes: Buffer): void {
    this.#received = concatBytes(this.#received, bytes);
    while (this.#received.length >= HEADER_BYTES) {
      const length = ((this.#received[0] ?? 0) << 8) | (this.#received[1] ?? 0);
      // The length is the card's word; and nothing may come unasked.
      if (length > MAX_RESPONSE_BYTES || this.#awaiting === undefined) {
        this.eject();
        return;
      }
      if (this.#received.length < HEADER_BYTES + length) return;
      const answer = this.#received.slice(HEADER_BYTES, HEADER_BYTES + length);
      this.#received = this.#received.slice(HEADER_BYTES + length);
      this.#awaiting.resolve(answer);
    }
  }
}
