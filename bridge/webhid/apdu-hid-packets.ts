/** Packets of the APDU-over-HID profile (docs/apdu-hid.md): messages cut into reports of 64 bytes and put together again. Pure. */
import { concatBytes, type Bytes } from '#protocol/bytes.ts';

export const PACKET_BYTES = 64;
export const TAG = { version: 0x00, allocate: 0x01, ping: 0x02, message: 0x05 } as const;
/** The channel that is open before any was allocated. */
export const FIRST_CHANNEL = 0x0101;

/** CHANNEL(2) TAG(1) SEQ(2), and LEN(2) in the first. */
const HEADER_BYTES = 5;
const LENGTH_BYTES = 2;
export const MAX_MESSAGE_BYTES = 0xffff;

const uint16 = (value: number): number[] => [value >> 8, value & 0xff];
const uint16At = (bytes: Uint8Array, at: number): number => ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);

/** One packet for version, allocate or ping: `payload` is at most 61 bytes. */
export function encodeControl(channel: number, tag: number, payload: Uint8Array): Bytes {
  if (payload.length > PACKET_BYTES - 3) throw new RangeError('a control packet has at most 61 bytes of payload');
  const packet = new Uint8Array(PACKET_BYTES);
  packet.set([...uint16(channel), tag]);
  packet.set(payload, 3);
  return packet;
}

/** The packets of one message, in order. */
export function encodeMessage(channel: number, data: Uint8Array): Bytes[] {
  if (data.length > MAX_MESSAGE_BYTES) throw new RangeError('a message has at most 65535 bytes');
  const body = concatBytes(Uint8Array.from(uint16(data.length)), data);
  const packets: Bytes[] = [];
  for (let at = 0, sequence = 0; at < body.length; at += PACKET_BYTES - HEADER_BYTES, sequence++) {
    const packet = new Uint8Array(PACKET_BYTES);
    packet.set([...uint16(channel), TAG.message, ...uint16(sequence)]);
    packet.set(body.subarray(at, at + PACKET_BYTES - HEADER_BYTES), HEADER_BYTES);
    packets.push(packet);
  }
  return packets;
}

export interface Packet {
  readonly channel: number;
  readonly tag: number;
  /** What follows the tag: 61 bytes. */
  readonly payload: Bytes;
}

/** Throws RangeError unless it is 64 bytes. */
export function parsePacket(bytes: Bytes): Packet {
  if (bytes.length !== PACKET_BYTES) throw new RangeError(`a packet of ${bytes.length} bytes`);
  return { channel: uint16At(bytes, 0), tag: bytes[2] ?? 0, payload: bytes.subarray(3) };
}

/** Puts one message together; a packet that does not follow the one before is a RangeError. */
export class MessageAssembly {
  readonly #channel: number;
  readonly #maxBytes: number;
  #sequence = 0;
  #data = new Uint8Array();
  #filled = 0;

  /** `maxBytes`: a longer one is refused before room is made for it. */
  constructor(channel: number, maxBytes: number) {
    this.#channel = channel;
    this.#maxBytes = maxBytes;
  }

  /** The message, once it is whole. */
  accept(bytes: Bytes): Bytes | undefined {
    const { channel, tag, payload } = parsePacket(bytes);
    if (channel !== this.#channel) throw new RangeError('a packet of another channel');
    if (tag !== TAG.message) throw new RangeError('a packet of another tag');
    if (uint16At(payload, 0) !== this.#sequence) throw new RangeError('a packet out of sequence');
    let part = payload.subarray(2);
    if (this.#sequence === 0) {
      const length = uint16At(part, 0);
      if (length > this.#maxBytes) throw new RangeError(`a message of ${length} bytes`);
      this.#data = new Uint8Array(length);
      part = part.subarray(LENGTH_BYTES);
    }
    this.#sequence++;
    const fitting = part.subarray(0, this.#data.length - this.#filled);
    this.#data.set(fitting, this.#filled);
    this.#filled += fitting.length;
    return this.#filled === this.#data.length ? this.#data : undefined;
  }
}
