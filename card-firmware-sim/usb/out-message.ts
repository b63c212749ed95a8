/** Puts the OUT transfers of a bulk endpoint together into messages: one ends with a short packet (USB 2.0, 5.8.3), or where its device says that it is whole. */
import { concatBytes } from '#protocol/bytes.ts';
import type { Bytes } from '#protocol/bytes.ts';

export class OutMessage {
  readonly #packetBytes: number;
  readonly #mostBytes: number;
  #received: Bytes = new Uint8Array();

  /** What is longer than `mostBytes` is cut there and shows as longer by one byte. */
  constructor(packetBytes: number, mostBytes: number) {
    this.#packetBytes = packetBytes;
    this.#mostBytes = mostBytes;
  }

  /** One transfer; the message if it is over now. `isWhole`: a device that reads lengths need not wait for the short packet. */
  push(transfer: Bytes, isWhole: (soFar: Bytes) => boolean): Bytes | undefined {
    const room = this.#mostBytes + 1 - this.#received.length;
    this.#received = concatBytes(this.#received, transfer.subarray(0, Math.max(room, 0)));
    const isOver = transfer.length % this.#packetBytes !== 0 || transfer.length === 0 || isWhole(this.#received);
    if (!isOver) return undefined;
    const message = this.#received;
    this.#received = new Uint8Array();
    return message;
  }

  clear(): void {
    this.#received = new Uint8Array();
  }
}
