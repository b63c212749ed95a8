/** For tests only: EEPROMs that lose their power at a chosen write, and keep what a real one would. */
import { CarriedEeprom, MemoryEeprom, PAGE_BYTES } from './eeprom.ts';
import type { Bytes } from '#protocol/bytes.ts';

/** What a page holds after the power went during its write. */
export type Tear = keyof typeof TEARS;

const mixed = (takesNew: (index: number) => boolean) => (old: Bytes, next: Uint8Array): Bytes => old.map((byte, index) => (takesNew(index) ? (next[index] ?? 0) : byte));

export const TEARS = {
  before: (old: Bytes) => old,
  'first byte written': mixed((index) => index === 0),
  'first half written': mixed((index) => index < PAGE_BYTES / 2),
  'second half written': mixed((index) => index >= PAGE_BYTES / 2),
  'last byte missing': mixed((index) => index < PAGE_BYTES - 1),
  'every other byte written': mixed((index) => index % 2 === 0),
  erased: (old: Bytes) => new Uint8Array(old.length),
  'erased to ones': (old: Bytes) => new Uint8Array(old.length).fill(0xff),
  garbage: (old: Bytes, next: Uint8Array) => old.map((byte, index) => (byte * 31 + (next[index] ?? 0) * 17 + index * 101 + 7) & 0xff),
  after: (_: Bytes, next: Uint8Array) => new Uint8Array(next),
} as const satisfies Record<string, (old: Bytes, next: Uint8Array) => Bytes>;

export const TEAR_NAMES = Object.keys(TEARS) as Tear[];

/** Writes in the order in which it is told to, as an EEPROM on a chip does, or a file whose process is killed. */
export class TearableEeprom extends CarriedEeprom {
  /** Writes since the power came, the torn one with them. */
  writes = 0;
  #cut: { readonly write: number; readonly tear: Tear } | undefined;
  #hasPower = true;

  get hasPower(): boolean {
    return this.#hasPower;
  }

  get content(): Bytes {
    return this.read(0, this.pageCount);
  }

  /** The power goes in the `write`-th write from now on, counted from 1. */
  cutAt(write: number, tear: Tear): void {
    this.writes = 0;
    this.#cut = { write, tear };
  }

  /** The power is there from now on. */
  powerUp(): void {
    this.#hasPower = true;
    this.#cut = undefined;
    this.writes = 0;
  }

  override writePage(page: number, content: Uint8Array): void {
    this.#requirePower();
    this.writes++;
    if (this.writes !== this.#cut?.write) return super.writePage(page, content);
    super.writePage(page, TEARS[this.#cut.tear](this.read(page, 1), content));
    this.#hasPower = false;
    this.#requirePower();
  }

  override async barrier(): Promise<void> {
    await Promise.resolve();
    this.#requirePower();
  }

  protected override store(): void {
    // The content in memory is all there is.
  }

  #requirePower(): void {
    if (!this.#hasPower) throw new Error('no power');
  }
}

/** Keeps the order of writes only at barriers, as a disk does whose machine loses its power. */
export class ReorderingEeprom extends MemoryEeprom {
  readonly #durable: Bytes;
  #pending: { readonly page: number; readonly content: Bytes }[] = [];
  #writesLeft = Infinity;

  constructor(content: Bytes) {
    super(content);
    this.#durable = content.slice();
  }

  /** The power goes after `writes` more writes. */
  cutAfter(writes: number): void {
    this.#writesLeft = writes;
  }

  override writePage(page: number, content: Uint8Array): void {
    if (this.#writesLeft-- <= 0) throw new Error('no power');
    super.writePage(page, content);
    this.#pending.push({ page, content: new Uint8Array(content) });
  }

  override async barrier(): Promise<void> {
    await Promise.resolve();
    if (this.#writesLeft <= 0) throw new Error('no power');
    this.#keep(() => 'after');
  }

  /** What the disk holds when the power is back; `tear` says how far each write since the last barrier came. */
  surviving(tear: (index: number, page: number) => Tear): Bytes {
    this.#keep(tear);
    return this.#durable.slice();
  }

  #keep(tear: (index: number, page: number) => Tear): void {
    this.#pending.forEach(({ page, content }, index) => {
      const at = page * PAGE_BYTES;
      this.#durable.set(TEARS[tear(index, page)](this.#durable.slice(at, at + PAGE_BYTES), content), at);
    });
    this.#pending = [];
  }
}
