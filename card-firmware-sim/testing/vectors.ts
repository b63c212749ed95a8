/** For tests only: the published vectors, which remember what of them was looked at, so that none lies there unused. The sources are named in vectors/desfire.json. */
import { parseHex } from '#protocol/bytes.ts';
import published from '../vectors/desfire.json' with { type: 'json' };
import type { Bytes } from '#protocol/bytes.ts';

type Entry = Readonly<Record<string, string | number | boolean | null>>;

/** What an entry says about itself: nothing to check. */
const ABOUT = new Set(['id', 'kind', 'source', 'note', 'verified']);

/** One entry; reading a field marks it. */
export class Vector {
  readonly #entry: Entry;
  readonly #read = new Set<string>();

  constructor(entry: Entry) {
    this.#entry = entry;
  }

  get id(): string {
    return String(this.#entry['id']);
  }

  get kind(): string {
    return String(this.#entry['kind']);
  }

  has(field: string): boolean {
    return field in this.#entry;
  }

  text(field: string): string {
    const value = this.#field(field);
    if (typeof value !== 'string') throw new TypeError(`${this.id} has no text ${field}`);
    return value;
  }

  hex(field: string): Bytes {
    return parseHex(this.text(field));
  }

  number(field: string): number {
    const value = this.#field(field);
    if (typeof value !== 'number') throw new TypeError(`${this.id} has no number ${field}`);
    return value;
  }

  /** `id: field` of all that nobody has read. */
  get unread(): string[] {
    return Object.keys(this.#entry)
      .filter((field) => !ABOUT.has(field) && !this.#read.has(field))
      .map((field) => `${this.id}: ${field}`);
  }

  toString(): string {
    return this.id;
  }

  #field(name: string): Entry[string] | undefined {
    this.#read.add(name);
    return this.#entry[name];
  }
}

export const VECTORS: readonly Vector[] = (published.vectors as unknown as Entry[]).map((entry) => new Vector(entry));

export function vectorsOf(...kinds: readonly string[]): Vector[] {
  return VECTORS.filter(({ kind }) => kinds.includes(kind));
}
