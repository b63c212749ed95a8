/** The published vectors, which remember what of them was looked at, so that none lies there unused. The sources are named in desfire.json. */
import { readFileSync } from 'node:fs';
import { parseHex, type Bytes } from '#protocol/bytes.ts';

type Entry = Readonly<Record<string, unknown>>;

/** What an entry says about itself: nothing to check. */
const ABOUT = new Set(['id', 'kind', 'source', 'note', 'verified']);

/** One entry; asking for a field marks it. */
export interface Vector {
  readonly id: string;
  readonly kind: string;
  has(field: string): boolean;
  text(field: string): string;
  bytes(field: string): Bytes;
  number(field: string): number;
  /** `id.field` for all that nobody has asked for. */
  unread(): string[];
}

export function readVectors(): readonly Vector[] {
  const { vectors } = JSON.parse(readFileSync(new URL('desfire.json', import.meta.url), 'utf8')) as { vectors: Entry[] };
  return vectors.map(vectorOf);
}

function vectorOf(entry: Entry): Vector {
  const id = String(entry['id']);
  const unread = new Set(Object.keys(entry).filter((field) => !ABOUT.has(field)));
  const take = (field: string): unknown => {
    unread.delete(field);
    return entry[field];
  };
  const text = (field: string): string => {
    const value = take(field);
    if (typeof value !== 'string') throw new Error(`${id}.${field} is no text`);
    return value;
  };
  return {
    id,
    kind: String(entry['kind']),
    has: (field) => field in entry,
    text,
    bytes: (field) => parseHex(text(field)),
    number: (field) => {
      const value = take(field);
      if (typeof value !== 'number') throw new Error(`${id}.${field} is no number`);
      return value;
    },
    unread: () => [...unread].map((field) => `${id}.${field}`),
  };
}
