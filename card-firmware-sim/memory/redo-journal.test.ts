/** The redo journal on its own: whatever write the power goes at, the home area is wholly before or wholly after a commit. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { concatBytes, encodeUintLE, parseHex } from '#protocol/bytes.ts';
import { crc32 } from '../crc32.ts';
import { createJournalledContent, RedoJournal } from './redo-journal.ts';
import { MemoryEeprom, PAGE_BYTES } from './eeprom.ts';
import { ReorderingEeprom, TEAR_NAMES, TearableEeprom } from './testing-eeprom.ts';
import type { Bytes } from '#protocol/bytes.ts';
import type { Tear } from './testing-eeprom.ts';

const HOME_PAGES = 26;

function filled(...bytes: number[]): Bytes {
  return new Uint8Array(HOME_PAGES * PAGE_BYTES).map((_, index) => bytes[Math.floor(index / PAGE_BYTES) % bytes.length] ?? 0);
}

/** Pages 1, 3 and 20 of `home` filled anew. */
function changed(home: Bytes, byte: number): Bytes {
  const next = home.slice();
  for (const page of [1, 3, 20]) next.fill(byte, page * PAGE_BYTES, (page + 1) * PAGE_BYTES);
  return next;
}

async function begun(...commits: Bytes[]): Promise<{ eeprom: TearableEeprom; journal: RedoJournal }> {
  const eeprom = new TearableEeprom(createJournalledContent(HOME_PAGES, filled(1, 2, 3)));
  const journal = RedoJournal.begin(eeprom, HOME_PAGES);
  for (const one of commits) await journal.commit(one);
  return { eeprom, journal };
}

async function homeAfterPowerUp(eeprom: TearableEeprom): Promise<Bytes> {
  eeprom.powerUp();
  return (await RedoJournal.powerUp(eeprom, HOME_PAGES)).home;
}

const START = filled(1, 2, 3);
const FIRST = changed(START, 0x11);
const SECOND = changed(FIRST, 0x22);

/** Cuts every write of every recovery from `content`, which `eeprom` was just recovered from; returns how many cuts that were. */
async function cutRecoveries(content: Bytes, writes: number, expected: Bytes, tears: readonly Tear[]): Promise<number> {
  for (let write = 1; write <= writes; write++) {
    for (const tear of tears) {
      const eeprom = new TearableEeprom(content.slice());
      eeprom.cutAt(write, tear);
      await expect(RedoJournal.powerUp(eeprom, HOME_PAGES)).rejects.toThrow('no power');
      expect(Buffer.compare(await homeAfterPowerUp(eeprom), expected)).toBe(0);
    }
  }
  return writes * tears.length;
}

/** Powers up and commits until the power goes; returns what may be there afterwards. */
async function live(eeprom: ReorderingEeprom, before: Bytes[], changes: readonly (readonly [page: number, byte: number])[]): Promise<Bytes[]> {
  let states = before;
  try {
    const journal = await RedoJournal.powerUp(eeprom, 6);
    expect(before).toContainEqual(journal.home);
    states = [journal.home];
    for (const [page, byte] of changes) {
      const next = journal.home;
      // Two pages, so that a half of it is a state of its own.
      next[page * PAGE_BYTES] = byte;
      next[((page + 1) % 6) * PAGE_BYTES + 9] = byte;
      states = [journal.home, next];
      await journal.commit(next);
      states = [next];
    }
  } catch (error) {
    if (!String(error).includes('no power')) throw error;
  }
  return states;
}

describe('the redo journal', () => {
  // Writes up to and with the first page of the journal's head, which is the commit point; then as many as pages change.
  it.each([
    ['the first commit', [], START, FIRST, 4, 3, TEAR_NAMES],
    ['the second, in the other journal', [FIRST], FIRST, SECOND, 4, 3, TEAR_NAMES],
    ['the third, over the first', [FIRST, SECOND], SECOND, changed(START, 0x33), 4, 3, TEAR_NAMES],
    ['one of every page, with a head of two pages', [FIRST], FIRST, filled(7, 8), 28, 26, ['before', 'garbage'] as Tear[]],
  ])('%s is done or not done, wherever it and its recovery are cut', async (_, before, old, next, commitPoint, pages, recoveryTears) => {
    let recoveryCuts = 0;
    const whole = await begun(...before);
    whole.eeprom.writes = 0;
    await whole.journal.commit(next);
    expect(whole.eeprom.writes).toBe(commitPoint + pages);
    for (let write = 1; write <= commitPoint + pages; write++) {
      for (const tear of TEAR_NAMES) {
        const { eeprom, journal } = await begun(...before);
        eeprom.cutAt(write, tear);
        await expect(journal.commit(next)).rejects.toThrow('no power');
        await expect(journal.commit(old)).rejects.toThrow('the memory has no power');
        const { content } = eeprom;
        const home = await homeAfterPowerUp(eeprom);
        const isNew = Buffer.compare(home, next) === 0;
        expect(isNew || Buffer.compare(home, old) === 0).toBe(true);
        if (write !== commitPoint) expect(isNew).toBe(write > commitPoint);
        else if (tear === 'before' || tear === 'after') expect(isNew).toBe(tear === 'after');
        if (recoveryTears.includes(tear)) recoveryCuts += await cutRecoveries(content, eeprom.writes, home, recoveryTears);
      }
    }
    // After the commit point each cut leaves pages to redo: all of them at first, one less with each page that went home.
    expect(recoveryCuts).toBeGreaterThanOrEqual((recoveryTears.length ** 2 * pages * pages) / 3);
  });

  it('of a disk that reorders what lies between barriers keeps every commit that was acknowledged, and of the cut one all or nothing', async () => {
    const life = fc.record({
      changes: fc.array(fc.tuple(fc.nat(5), fc.nat(255)), { minLength: 1, maxLength: 6 }),
      writes: fc.nat(30),
      tears: fc.array(fc.constantFrom<Tear>('before', 'before', 'after', 'after', ...TEAR_NAMES), { minLength: 16, maxLength: 16 }),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(life, { minLength: 1, maxLength: 4 }), async (lives) => {
        let content = createJournalledContent(6, new Uint8Array());
        let states = [new Uint8Array(6 * PAGE_BYTES)];
        for (const { changes, writes, tears } of lives) {
          const eeprom = new ReorderingEeprom(content);
          eeprom.cutAfter(writes);
          states = await live(eeprom, states, changes);
          content = eeprom.surviving((index) => tears[index] ?? 'after');
        }
        const { home } = await RedoJournal.powerUp(new MemoryEeprom(content), 6);
        expect(states).toContainEqual(home);
      }),
      { numRuns: 700 },
    );
  });

  it('of such a disk overwrites no journal before what it redid from it has come to stay', async () => {
    const filledPages = (...pages: number[]): Bytes => new Uint8Array(6 * PAGE_BYTES).map((_, index) => (pages.includes(Math.floor(index / PAGE_BYTES)) ? index % 251 : 0));
    const homeIsLost = (_: number, page: number): Tear => (page < 6 ? 'before' : 'after');
    // The page of the first commit has not come home when the second is in its journal.
    const first = new ReorderingEeprom(createJournalledContent(6, new Uint8Array()));
    const journal = RedoJournal.begin(first, 6);
    first.cutAfter(5);
    await journal.commit(filledPages(0));
    await expect(journal.commit(filledPages(0, 2))).rejects.toThrow('no power');
    // Both are redone; the third begins to overwrite the journal of the first, and the power goes again.
    const second = new ReorderingEeprom(first.surviving(homeIsLost));
    second.cutAfter(3);
    const again = await RedoJournal.powerUp(second, 6);
    expect(again.home).toEqual(filledPages(0, 2));
    await expect(again.commit(filledPages(0, 2, 4))).rejects.toThrow('no power');
    expect((await RedoJournal.powerUp(new MemoryEeprom(second.surviving(homeIsLost)), 6)).home).toEqual(filledPages(0, 2));
  });

  it('with any one byte changed, before its pages have gone home, is no journal', async () => {
    const { eeprom, journal } = await begun();
    eeprom.cutAt(5, 'before');
    await expect(journal.commit(FIRST)).rejects.toThrow('no power');
    const { content } = eeprom;
    expect(await homeAfterPowerUp(new TearableEeprom(content.slice()))).toEqual(FIRST);
    // The journal with an odd sequence number is the second one: behind home and a journal for all of home, with two pages of head.
    const begin = (2 * HOME_PAGES + 2) * PAGE_BYTES;
    let refused = 0;
    for (let at = begin; at < begin + 4 * PAGE_BYTES; at++) {
      const damaged = content.slice();
      damaged[at] = (damaged[at] ?? 0) ^ (1 << (at % 8));
      const home = await homeAfterPowerUp(new TearableEeprom(damaged));
      if (Buffer.compare(home, START) === 0) refused++;
    }
    expect(refused).toBe(4 * PAGE_BYTES);
  });

  it('that names a page outside of home is no journal, whole as it is', async () => {
    const content = createJournalledContent(HOME_PAGES, START);
    const entry = new Uint8Array(2 * PAGE_BYTES).fill(0xee, PAGE_BYTES);
    // Sequence number 2, one page: the first behind home.
    entry.set(concatBytes(parseHex('4B4A524E' + '020000000000' + '0100' + '00000000'), encodeUintLE(HOME_PAGES, 2), new Uint8Array(PAGE_BYTES - 18)));
    entry.set(crc32(concatBytes(entry.subarray(0, 12), entry.subarray(16))), 12);
    content.set(entry, HOME_PAGES * PAGE_BYTES);
    const eeprom = new TearableEeprom(content);
    expect(Buffer.compare(await homeAfterPowerUp(eeprom), START)).toBe(0);
    expect(eeprom.writes).toBe(0);
    // Of home it would have been one.
    entry.set(encodeUintLE(3, 2), 16);
    entry.set(crc32(concatBytes(entry.subarray(0, 12), entry.subarray(16))), 12);
    content.set(entry, HOME_PAGES * PAGE_BYTES);
    const redone = new TearableEeprom(content);
    expect((await homeAfterPowerUp(redone)).slice(3 * PAGE_BYTES, 4 * PAGE_BYTES)).toEqual(new Uint8Array(PAGE_BYTES).fill(0xee));
    expect(redone.writes).toBe(1);
  });

  it('leaves alone what is whole: a power-up after a commit, and a commit of what is there, write nothing', async () => {
    const { eeprom, journal } = await begun(FIRST, SECOND);
    eeprom.writes = 0;
    await journal.commit(SECOND);
    expect(await homeAfterPowerUp(eeprom)).toEqual(SECOND);
    expect(eeprom.writes).toBe(0);
  });

  it('fills the rest of home with zeros where the new content is shorter', async () => {
    const { eeprom, journal } = await begun(FIRST);
    await journal.commit(new Uint8Array([9]));
    const home = await homeAfterPowerUp(eeprom);
    expect(home[0]).toBe(9);
    expect(home.subarray(1).every((byte) => byte === 0)).toBe(true);
    await journal.commit(START);
    expect(await homeAfterPowerUp(eeprom)).toEqual(START);
  });

  it('refuses more than home holds, changes nothing by it and goes on', async () => {
    const { eeprom, journal } = await begun(FIRST);
    eeprom.writes = 0;
    await expect(journal.commit(new Uint8Array(HOME_PAGES * PAGE_BYTES + 1))).rejects.toThrow(RangeError);
    expect(eeprom.writes).toBe(0);
    expect(() => createJournalledContent(HOME_PAGES, new Uint8Array(HOME_PAGES * PAGE_BYTES + 1))).toThrow(RangeError);
    await journal.commit(SECOND);
    expect(await homeAfterPowerUp(eeprom)).toEqual(SECOND);
  });

  it('takes one commit at a time', async () => {
    const { eeprom, journal } = await begun();
    const first = journal.commit(FIRST);
    await expect(journal.commit(SECOND)).rejects.toThrow('another commit is under way');
    await first;
    expect(await homeAfterPowerUp(eeprom)).toEqual(FIRST);
  });
});

describe('an EEPROM', () => {
  it('tells of each page that it writes, and refuses pages that it does not have', () => {
    const written: number[] = [];
    const eeprom = new MemoryEeprom(new Uint8Array(2 * PAGE_BYTES), (page) => written.push(page));
    eeprom.writePage(1, new Uint8Array(PAGE_BYTES).fill(5));
    expect(written).toEqual([1]);
    expect(eeprom.read(1, 1)).toEqual(new Uint8Array(PAGE_BYTES).fill(5));
    expect(() => eeprom.writePage(2, new Uint8Array(PAGE_BYTES))).toThrow('no page 2');
    expect(() => eeprom.writePage(0, new Uint8Array(1))).toThrow('whole pages');
    expect(() => eeprom.read(1, 2)).toThrow(RangeError);
    expect(() => new MemoryEeprom(new Uint8Array(PAGE_BYTES + 1))).toThrow(RangeError);
  });
});
