/** A run of fields in a card's memory. One description of the fields serves for both directions: every method is given the value to write, and returns the value that was written or read. */
import { CardImageError } from './card-image-error.ts';
import type { Bytes } from '#protocol/bytes.ts';

const FIRST_CAPACITY = 1024;

type Width = 1 | 2 | 3 | 4;

interface Range {
  readonly min?: number;
  readonly max?: number;
}

const ANY: Range = {};

export class FieldStream {
  readonly #isWriting: boolean;
  #bytes: Bytes;
  #view: DataView;
  #at = 0;

  private constructor(bytes: Bytes, isWriting: boolean) {
    this.#isWriting = isWriting;
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  static toWrite(): FieldStream {
    return new FieldStream(new Uint8Array(FIRST_CAPACITY), true);
  }

  static toRead(bytes: Bytes): FieldStream {
    return new FieldStream(bytes, false);
  }

  /** What has been written. */
  get written(): Bytes {
    return this.#bytes.subarray(0, this.#at);
  }

  /** Unsigned, least significant byte first. `name` is what an error calls the field. */
  uint(name: string, value: number | undefined, width: Width, { min = 0, max = 2 ** (8 * width) - 1 }: Range = ANY): number {
    const at = this.#claim(name, width);
    if (!this.#isWriting) return inRange(name, this.#readUint(at, width), min, max);
    const written = inRange(name, value, min, max);
    for (let i = 0, rest = written; i < width; i++, rest = Math.floor(rest / 256)) this.#bytes[at + i] = rest % 256;
    return written;
  }

  int32(name: string, value: number | undefined, { min = -(2 ** 31), max = 2 ** 31 - 1 }: Range = ANY): number {
    const at = this.#claim(name, 4);
    if (!this.#isWriting) return inRange(name, this.#view.getInt32(at, true), min, max);
    const written = inRange(name, value, min, max);
    this.#view.setInt32(at, written, true);
    return written;
  }

  /** An unsigned integer that may be absent: its place is there all the same. */
  optionalUint(name: string, value: number | undefined, width: Width, range: Range = ANY): number | undefined {
    const isThere = this.uint(name, value === undefined ? 0 : 1, 1, { max: 1 }) === 1;
    if (isThere) return this.uint(name, value, width, range);
    this.uint(name, 0, width, { max: 0 });
    return undefined;
  }

  boolean(name: string, value: boolean | undefined): boolean {
    return this.uint(name, value === undefined ? undefined : Number(value), 1, { max: 1 }) === 1;
  }

  /** Exactly `length` bytes. */
  bytes(name: string, value: Bytes | undefined, length: number): Bytes {
    const at = this.#claim(name, length);
    if (!this.#isWriting) return this.#bytes.slice(at, at + length);
    if (value?.length !== length) throw new CardImageError(`${name}: not ${length} bytes`);
    this.#bytes.set(value, at);
    return value;
  }

  /** The next field begins at a multiple of `unit` bytes. */
  align(name: string, unit: number): void {
    this.#claim(name, (unit - (this.#at % unit)) % unit);
  }

  #readUint(at: number, width: Width): number {
    let value = 0;
    for (let i = width - 1; i >= 0; i--) value = value * 256 + this.#view.getUint8(at + i);
    return value;
  }

  #claim(name: string, length: number): number {
    const at = this.#at;
    if (at + length > this.#bytes.length) {
      if (!this.#isWriting) throw new CardImageError(`${name}: cut off`);
      this.#grow(at + length);
    }
    this.#at = at + length;
    return at;
  }

  #grow(length: number): void {
    const larger = new Uint8Array(Math.max(length, 2 * this.#bytes.length));
    larger.set(this.#bytes);
    this.#bytes = larger;
    this.#view = new DataView(larger.buffer);
  }
}

function inRange(name: string, value: number | undefined, min: number, max: number): number {
  if (value === undefined) throw new CardImageError(`${name}: missing`);
  if (!Number.isInteger(value) || value < min || value > max) throw new CardImageError(`${name}: not an integer from ${min} to ${max}`);
  return value;
}
