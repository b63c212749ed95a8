/** Native-messaging frames: a uint32 length in native byte order and that many bytes of UTF-8 JSON; bounded, and refused whole when malformed. */
import type { Bytes } from '#protocol/bytes.ts';

/** Largest frame that the host accepts; the browser allows far more, no message of ours comes near it. */
export const MAX_INCOMING_BYTES = 1024 * 1024;
/** Chromium and Firefox close the port on a host message above 1 MiB. */
export const MAX_OUTGOING_BYTES = 1024 * 1024;
const HEADER_BYTES = 4;

/** What the peer sent is not a frame; the stream has no place to resume from, so the host ends. */
export class FramingError extends Error {
  override readonly name = 'FramingError';
}

/** One message as one frame, ready for a single write. Every platform that Node and the browsers run on is little-endian. */
export function encodeFrame(message: unknown): Bytes {
  const body = new TextEncoder().encode(JSON.stringify(message));
  if (body.length > MAX_OUTGOING_BYTES) throw new FramingError(`a message of ${body.length} bytes is larger than the browser takes`);
  const frame = new Uint8Array(HEADER_BYTES + body.length);
  new DataView(frame.buffer).setUint32(0, body.length, true);
  frame.set(body, HEADER_BYTES);
  return frame;
}

/**
 * Collects bytes as they arrive and gives back the messages that they complete, in order.
 * Throws FramingError on an empty or oversized frame, invalid UTF-8, or text that is not one JSON value.
 */
export class FrameReader {
  readonly #parts: Uint8Array[] = [];
  #held = 0;
  #failed = false;
  readonly #decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

  push(bytes: Uint8Array): unknown[] {
    if (this.#failed) throw new FramingError('the stream has already failed');
    this.#parts.push(bytes);
    this.#held += bytes.length;
    try {
      return this.#takeMessages();
    } catch (cause) {
      this.#failed = true;
      throw cause;
    }
  }

  /** Whether the stream may end here: no frame is half-way in. */
  get isBetweenFrames(): boolean {
    return this.#held === 0;
  }

  #takeMessages(): unknown[] {
    const messages: unknown[] = [];
    while (this.#held >= HEADER_BYTES) {
      const header = this.#peek(HEADER_BYTES);
      const length = new DataView(header.buffer, header.byteOffset).getUint32(0, true);
      // The length is the peer's word: refuse before anything is collected for it.
      if (length === 0 || length > MAX_INCOMING_BYTES) throw new FramingError(`a frame of ${length} bytes`);
      if (this.#held < HEADER_BYTES + length) break;
      messages.push(this.#parse(this.#take(HEADER_BYTES + length).subarray(HEADER_BYTES)));
    }
    return messages;
  }

  #parse(body: Uint8Array): unknown {
    try {
      return JSON.parse(this.#decoder.decode(body));
    } catch (cause) {
      throw new FramingError('a frame that is not UTF-8 JSON', { cause });
    }
  }

  /** The first `length` bytes in one piece; joins only as many parts as that needs. */
  #peek(length: number): Uint8Array {
    const first = this.#parts[0] ?? new Uint8Array();
    if (first.length >= length) return first.subarray(0, length);
    const joined = new Uint8Array(this.#held);
    let offset = 0;
    for (const part of this.#parts.splice(0)) {
      joined.set(part, offset);
      offset += part.length;
    }
    this.#parts.push(joined);
    return joined.subarray(0, length);
  }

  #take(length: number): Uint8Array {
    const taken = this.#peek(length);
    const rest = (this.#parts[0] ?? new Uint8Array()).subarray(length);
    if (rest.length === 0) this.#parts.shift();
    else this.#parts[0] = rest;
    this.#held -= length;
    return taken;
  }
}
