/** The packets of docs/apdu-hid.md: CHANNEL TAG, and messages cut into SEQ packets; whatever is malformed is dropped, never an error. */
import { concatBytes } from '#protocol/bytes.ts';
import type { Bytes } from '#protocol/bytes.ts';

export const PACKET_BYTES = 64;
export const TAG = { VERSION: 0x00, ALLOCATE: 0x01, PING: 0x02, MESSAGE: 0x05 } as const;
/** A short command APDU: header, Lc, 255 bytes, Le. */
export const MAX_MESSAGE_BYTES = 261;
const FIRST_DATA_BYTES = 57;
const NEXT_DATA_BYTES = 59;

/** The packets of one message; SEQ counts from 0. */
export function splitIntoPackets(channel: number, data: Bytes): readonly Bytes[] {
  const packets = [packet(channel, 0, concatBytes(twoBytes(data.length), data.slice(0, FIRST_DATA_BYTES)))];
  for (let at = FIRST_DATA_BYTES; at < data.length; at += NEXT_DATA_BYTES) packets.push(packet(channel, packets.length, data.slice(at, at + NEXT_DATA_BYTES)));
  return packets;
}

function packet(channel: number, sequence: number, content: Bytes): Bytes {
  const bytes = new Uint8Array(PACKET_BYTES);
  bytes.set(concatBytes(twoBytes(channel), new Uint8Array([TAG.MESSAGE]), twoBytes(sequence), content));
  return bytes;
}

export function twoBytes(value: number): Bytes {
  return new Uint8Array([(value >> 8) & 0xff, value & 0xff]);
}

/** The two bytes at `at`, big-endian. */
export function uint16At(bytes: Bytes, at: number): number {
  return ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
}

/** Puts the messages of one channel together again. */
export class MessageAssembler {
  #length = 0;
  #sequence = 0;
  #parts: Bytes[] = [];

  /** The message that this packet (of 64 bytes, tag 05) completes. A sequence number that is not the next one, or a length too long, ends what was begun. */
  push(incoming: Bytes): Bytes | undefined {
    const sequence = uint16At(incoming, 3);
    if (sequence === 0) {
      this.drop();
      const length = uint16At(incoming, 5);
      if (length > MAX_MESSAGE_BYTES) return undefined;
      this.#length = length;
      this.#parts = [incoming.slice(7, 7 + Math.min(length, FIRST_DATA_BYTES))];
    } else {
      if (this.#parts.length === 0 || sequence !== this.#sequence) {
        this.drop();
        return undefined;
      }
      this.#parts.push(incoming.slice(5, 5 + Math.min(this.#length - this.#held, NEXT_DATA_BYTES)));
    }
    this.#sequence = sequence + 1;
    if (this.#held < this.#length) return undefined;
    const whole = concatBytes(...this.#parts);
    this.drop();
    return whole;
  }

  drop(): void {
    this.#parts = [];
    this.#length = 0;
  }

  get #held(): number {
    return this.#parts.reduce((sum, part) => sum + part.length, 0);
  }
}
