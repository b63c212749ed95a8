/**
 * Changes any number of an EEPROM's pages together or not at all: the new pages go into a journal first, whose checksum is the
 * one commit point, and then home; whoever powers up writes home again what a complete journal says.
 *
 * Two journals take turns. Neither is ever cleared: a complete one may be redone any number of times, and it is overwritten
 * only after a barrier that came after its pages had gone home.
 */
import { concatBytes, encodeUintLE, equalBytes, parseHex, parseUintLE } from '#protocol/bytes.ts';
import { crc32 } from '../crc32.ts';
import { PAGE_BYTES } from './eeprom.ts';
import type { Bytes } from '#protocol/bytes.ts';
import type { Eeprom } from './eeprom.ts';

/** Of a journal's head: magic, sequence number, number of pages, checksum over all of it but itself; then the number of each page. */
const MAGIC = parseHex('4B4A524E');
const SEQUENCE_AT = 4;
const COUNT_AT = 10;
const CRC_AT = 12;
const PAGE_NUMBERS_AT = 16;
const SEQUENCE_BYTES = 6;
const PAGE_NUMBER_BYTES = 2;

/** Pages by their number. */
type Pages = ReadonlyMap<number, Bytes>;

interface Entry {
  readonly sequence: number;
  readonly pages: Pages;
}

const headPagesFor = (pages: number): number => Math.ceil((PAGE_NUMBERS_AT + pages * PAGE_NUMBER_BYTES) / PAGE_BYTES);
/** A journal has room for all of home. */
const journalPagesFor = (homePages: number): number => headPagesFor(homePages) + homePages;

/** Size of an EEPROM with a home area of so many pages and its two journals. */
export function journalledBytes(homePages: number): number {
  return (homePages + 2 * journalPagesFor(homePages)) * PAGE_BYTES;
}

/** The whole EEPROM of a card whose home area begins with `home`, as it is before its first commit. Throws RangeError if it is larger than that area. */
export function createJournalledContent(homePages: number, home: Uint8Array): Bytes {
  requireFits(homePages, home);
  const content = new Uint8Array(journalledBytes(homePages));
  content.set(home);
  return content;
}

export class RedoJournal {
  readonly #eeprom: Eeprom;
  readonly #homePages: number;
  /** What home holds, or will hold after the next power-up. */
  readonly #home: Bytes;
  /** Behind it home is empty. */
  #usedBytes: number;
  #sequence: number;
  #isUsable = true;

  private constructor(eeprom: Eeprom, homePages: number, sequence: number) {
    this.#eeprom = eeprom;
    this.#homePages = homePages;
    this.#sequence = sequence;
    this.#home = eeprom.read(0, homePages);
    this.#usedBytes = this.#home.length;
  }

  /** For content that was just created: there is nothing to redo. */
  static begin(eeprom: Eeprom, homePages: number): RedoJournal {
    return new RedoJournal(eeprom, homePages, 0);
  }

  /** Finishes the commit that a loss of power broke off after its commit point, and forgets one that was broken off before. May itself be broken off and begun anew. */
  static async powerUp(eeprom: Eeprom, homePages: number): Promise<RedoJournal> {
    const entries = [0, 1].flatMap((area) => parseEntry(eeprom, homePages, area) ?? []).sort((a, b) => a.sequence - b.sequence);
    // The later one wins where both have a page: going back to the older page even for a moment is a write for nothing.
    const pages: Pages = new Map(entries.flatMap((entry) => [...entry.pages]));
    const torn = [...pages].filter(([page, content]) => !equalBytes(eeprom.read(page, 1), content));
    for (const [page, content] of torn) eeprom.writePage(page, content);
    if (torn.length > 0) await eeprom.barrier();
    return new RedoJournal(eeprom, homePages, entries.at(-1)?.sequence ?? 0);
  }

  /** The home area. */
  get home(): Bytes {
    return this.#home.slice();
  }

  /** Makes `next`, filled up with zeros, the content of the home area. If it rejects, only the next power-up tells which content is there; a RangeError is a refusal and changes nothing. */
  async commit(next: Uint8Array): Promise<void> {
    requireFits(this.#homePages, next);
    if (!this.#isUsable) throw new Error('the memory has no power since a commit was cut, or another commit is under way');
    const pages = this.#changedPages(next);
    this.#usedBytes = next.length;
    if (pages.size === 0) return;
    // Only success opens it again.
    this.#isUsable = false;
    this.#writeJournal({ sequence: this.#sequence + 1, pages });
    await this.#eeprom.barrier();
    for (const [page, content] of pages) {
      this.#eeprom.writePage(page, content);
      this.#home.set(content, page * PAGE_BYTES);
    }
    this.#sequence++;
    this.#isUsable = true;
  }

  #changedPages(next: Uint8Array): Pages {
    const pages = new Map<number, Bytes>();
    for (let at = 0; at < Math.max(this.#usedBytes, next.length); at += PAGE_BYTES) {
      if (isSamePage(this.#home, next, at)) continue;
      const content = new Uint8Array(PAGE_BYTES);
      content.set(next.subarray(at, at + PAGE_BYTES));
      pages.set(at / PAGE_BYTES, content);
    }
    return pages;
  }

  /** The pages first and the head's first page last: until that is whole there is no journal. */
  #writeJournal(entry: Entry): void {
    const begin = areaStart(this.#homePages, entry.sequence % 2);
    const bytes = encodeEntry(entry);
    for (let page = bytes.length / PAGE_BYTES - 1; page >= 0; page--) this.#eeprom.writePage(begin + page, bytes.subarray(page * PAGE_BYTES, (page + 1) * PAGE_BYTES));
  }
}

function requireFits(homePages: number, home: Uint8Array): void {
  if (home.length > homePages * PAGE_BYTES) throw new RangeError(`${home.length} bytes do not fit into ${homePages} EEPROM pages`);
}

function isSamePage(home: Uint8Array, next: Uint8Array, at: number): boolean {
  for (let i = at; i < at + PAGE_BYTES; i++) if (home[i] !== (next[i] ?? 0)) return false;
  return true;
}

function areaStart(homePages: number, area: number): number {
  return homePages + area * journalPagesFor(homePages);
}

function encodeEntry({ sequence, pages }: Entry): Bytes {
  const head = new Uint8Array(headPagesFor(pages.size) * PAGE_BYTES);
  head.set(MAGIC);
  head.set(encodeUintLE(sequence, SEQUENCE_BYTES), SEQUENCE_AT);
  head.set(encodeUintLE(pages.size, PAGE_NUMBER_BYTES), COUNT_AT);
  [...pages.keys()].forEach((page, index) => head.set(encodeUintLE(page, PAGE_NUMBER_BYTES), PAGE_NUMBERS_AT + index * PAGE_NUMBER_BYTES));
  const entry = concatBytes(head, ...pages.values());
  entry.set(checksum(entry), CRC_AT);
  return entry;
}

/** The journal of this area; undefined if there never was one or if it was torn. */
function parseEntry(eeprom: Eeprom, homePages: number, area: number): Entry | undefined {
  const begin = areaStart(homePages, area);
  const first = eeprom.read(begin, 1);
  if (!equalBytes(first.subarray(0, MAGIC.length), MAGIC)) return undefined;
  const sequence = parseUintLE(first.subarray(SEQUENCE_AT, COUNT_AT));
  const count = parseUintLE(first.subarray(COUNT_AT, CRC_AT));
  // A torn head may claim anything: bound it before it is believed.
  if (sequence % 2 !== area || count === 0 || count > homePages) return undefined;
  const entry = eeprom.read(begin, headPagesFor(count) + count);
  if (!equalBytes(entry.subarray(CRC_AT, PAGE_NUMBERS_AT), checksum(entry))) return undefined;
  const pages = new Map<number, Bytes>();
  for (let index = 0; index < count; index++) {
    const page = parseUintLE(entry.subarray(PAGE_NUMBERS_AT + index * PAGE_NUMBER_BYTES, PAGE_NUMBERS_AT + (index + 1) * PAGE_NUMBER_BYTES));
    if (page >= homePages) return undefined;
    const at = (headPagesFor(count) + index) * PAGE_BYTES;
    pages.set(page, entry.slice(at, at + PAGE_BYTES));
  }
  return { sequence, pages };
}

function checksum(entry: Uint8Array): Bytes {
  return crc32(concatBytes(entry.subarray(0, CRC_AT), entry.subarray(PAGE_NUMBERS_AT)));
}
