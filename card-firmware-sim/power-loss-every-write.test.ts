/** Every kind of change that a host can order, cut at every write that it makes to the card's memory, and again at every write of the recovery: all old or all new. */
import { describe, expect, it } from 'vitest';
import { changeFile, factoryImage, NONE, UID, usableCard, ZERO_KEY } from './testing/card.ts';
import { concatBytes, encodeUintLE, parseHex } from '#protocol/bytes.ts';
import { JournalledCardMemory } from './memory/journalled-card-memory.ts';
import { createFactoryImage } from './factory-image.ts';
import { encodeCardLayout } from './memory/card-layout.ts';
import { encodeInt32LE } from './card-image.ts';
import { hostCrc } from './testing/legacy-host.ts';
import { NO_RINGS } from './memory/record-rings.ts';
import { PAGE_BYTES } from './memory/eeprom.ts';
import { TEAR_NAMES, TEARS, TearableEeprom } from './memory/testing-eeprom.ts';
import { TearableCard } from './testing/tearable-card.ts';
import type { Bytes } from '#protocol/bytes.ts';
import type { CardImage } from './card-image.ts';
import type { CardUnderTest } from './testing/card.ts';
import type { HostAnswer } from './testing/host.ts';
import type { Tear } from './memory/testing-eeprom.ts';

interface Change {
  readonly image: () => CardImage | Promise<CardImage>;
  /** Up to the command that makes it permanent. */
  readonly prepare: (card: CardUnderTest) => Promise<unknown>;
  /** That command; returns its status. */
  readonly act: (card: CardUnderTest) => Promise<number>;
}

const NEW_KEY = parseHex('D0'.repeat(16));
const CARD_KEY = parseHex('C0'.repeat(16));
const RECORD = parseHex('5A'.repeat(16));
const READER_ID = parseHex('7E'.repeat(16));

const statusOf = async (answer: Promise<HostAnswer>): Promise<number> => (await answer).status;
const commit = (card: CardUnderTest): Promise<number> => statusOf(card.commit());
const plain = (card: CardUnderTest, instruction: number, hex: string): Promise<HostAnswer> => card.host.native(instruction, parseHex(hex));
const records = (count: number): Bytes[] => Array.from({ length: count }, (_, index) => new Uint8Array(16).fill(count - index));

const wallet = (): CardImage => usableCard(factoryImage());
const fullLog = (): CardImage => changeFile(wallet(), 'cyclic', { records: records(4) });
const withReaderId = (): CardImage => changeFile(wallet(), 'transaction-mac', { rights: { read: 1, write: 15, readWrite: 1, change: 0 } });
const withAllowance = (): CardImage => changeFile(wallet(), 'value', { limitedCreditEnabled: true, limitedCredit: 500 });

/** A light with a session of one key, and whatever else comes first. */
const light = (image: () => CardImage, keyNo: number, prepare: (card: CardUnderTest) => Promise<unknown>, act: Change['act']): Change => ({
  image,
  prepare: async (card) => {
    await card.begin(keyNo);
    await prepare(card);
  },
  act,
});
const nothing = (): Promise<void> => Promise.resolve();
/** One command with key 0. */
const managed = (instruction: number, header: readonly number[], data: Bytes, request: 'mac' | 'full', response: 'mac' | 'plain' = 'mac'): Change =>
  light(wallet, 0, nothing, (card) => statusOf(card.host.send(instruction, header, data, request, response)));

/** A card for applications whose master key is AES already. */
function blankImage(): CardImage {
  const image = createFactoryImage({ profile: 'ev2', uid: UID, random: (length) => new Uint8Array(length) });
  return { ...image, picc: { ...image.picc, masterKey: { type: 'aes', value: CARD_KEY, version: 0, failures: 0, failuresInARow: 0 } } };
}

/** Two applications, the first with a file of each type, some of them in use. */
async function personalised(): Promise<CardImage> {
  const { card } = await TearableCard.insert(blankImage());
  const orders: [number, string][] = [
    [0xca, '0200000F83'],
    [0xca, '0100000F83'],
    [0x5a, '010000'],
    [0xcd, '0000EEEE640000'],
    [0xcb, '0100EEEE500000'],
    [0xcc, '0200EEEE00000000FFFFFF7F8813000001'],
    [0xc1, '0300EEEE300000030000'],
    [0xc0, '0400EEEE300000030000'],
    [0xce, `0F00FFEF02${'22'.repeat(16)}00`],
    [0x8b, `04000000300000${'33'.repeat(48)}`],
    [0xdc, '0201000000'],
    [0xc7, ''],
  ];
  for (const [instruction, hex] of orders) expect([instruction, (await plain(card, instruction, hex)).status]).toEqual([instruction, 0x9100]);
  return card.memory.image;
}

let personalisedImage: Promise<CardImage> | undefined;
const withApplications = (): Promise<CardImage> => (personalisedImage ??= personalised());

/** In the first application, in plain, after other commands. */
const inApplication = (before: readonly [number, string][], instruction: number, hex: string): Change => ({
  image: withApplications,
  prepare: async (card) => {
    for (const [earlier, order] of [[0x5a, '010000'] as const, ...before]) expect((await plain(card, earlier, order)).status).toBe(0x9100);
  },
  act: (card) => statusOf(plain(card, instruction, hex)),
});
/** At card level, with its master key. */
const atCardLevel = (instruction: number, header: readonly number[], data: Bytes, request: 'mac' | 'full', response: 'mac' | 'plain' = 'mac'): Change => ({
  image: withApplications,
  prepare: async (card) => {
    expect(await card.host.authenticate(0, CARD_KEY)).toBe(0x9100);
  },
  act: (card) => statusOf(card.host.send(instruction, header, data, request, response)),
});

const CHANGES: Readonly<Record<string, Change>> = {
  'debit and record': light(wallet, 1, async (card) => [await card.writeRecord(RECORD), await card.debit(420)], commit),
  'debit and record over the oldest of a full log': light(fullLog, 1, async (card) => [await card.writeRecord(RECORD), await card.debit(420)], commit),
  'debit, record and reader id': light(withReaderId, 1, async (card) => [await card.writeRecord(RECORD), await card.debit(420), await card.host.send(0xc8, [], READER_ID, 'mac', 'mac')], commit),
  'credit and record': light(wallet, 3, async (card) => [await card.writeRecord(RECORD), await card.credit(420)], commit),
  'limited credit': light(withAllowance, 1, (card) => card.limitedCredit(300), commit),
  'reading, which is counted too': light(wallet, 1, (card) => card.getValue(), commit),
  'update of a record': light(fullLog, 3, (card) => card.host.send(0xba, [1, ...encodeUintLE(2, 3), ...encodeUintLE(1, 3), 4, 0, 0], RECORD.slice(0, 4), 'full', 'mac'), commit),
  'clearing the log': light(fullLog, 1, (card) => card.host.send(0xeb, [1], NONE, 'mac', 'mac'), commit),
  'changing another key': managed(0xc4, [1], concatBytes(NEW_KEY, new Uint8Array([7]), hostCrc(NEW_KEY)), 'full'),
  "changing the session's key": managed(0xc4, [0], concatBytes(NEW_KEY, new Uint8Array([7])), 'full', 'plain'),
  'changing the settings of a file': managed(0x5f, [1], parseHex('031234'), 'full'),
  'configuring the value file': managed(0x5c, [9], concatBytes(new Uint8Array([3]), ...[-5, 5, 1].map(encodeInt32LE), new Uint8Array([1])), 'full'),
  'configuring failed authentications': managed(0x5c, [0x0a], parseHex('0164000A00'), 'full'),
  'deleting the transaction-MAC file': managed(0xdf, [15], NONE, 'mac'),
  'creating the transaction-MAC file': light(
    wallet,
    0,
    (card) => card.host.send(0xdf, [15], NONE, 'mac', 'mac'),
    (card) => statusOf(card.host.send(0xce, [15, 3, 0x10, 0x1f, 2], concatBytes(NEW_KEY, new Uint8Array([1])), 'full', 'mac')),
  ),
  'a failed authentication': { image: wallet, prepare: (card) => card.host.select(), act: (card) => card.host.authenticate(1, NEW_KEY) },
  'a success that pays failures back': {
    image: wallet,
    prepare: async (card) => {
      await card.host.select();
      await card.host.authenticate(1, NEW_KEY);
    },
    act: async (card) => {
      await card.host.select();
      return card.host.authenticate(1, ZERO_KEY);
    },
  },
  'writing a page of data': light(wallet, 2, nothing, (card) => statusOf(card.host.send(0x8d, [4, 64, 0, 0, 64, 0, 0], new Uint8Array(64).fill(9), 'full', 'mac'))),
  'writing data over the border of two pages': light(wallet, 2, nothing, (card) => statusOf(card.host.send(0x8d, [4, 40, 0, 0, 100, 0, 0], new Uint8Array(100).fill(9), 'full', 'mac'))),
  'creating an application': inApplication([[0x5a, '000000']], 0xca, '0300000FA10310414243'),
  'deleting an application': atCardLevel(0xda, [1, 0, 0], NONE, 'mac'),
  'formatting the card': atCardLevel(0xfc, [], NONE, 'mac'),
  'changing the key of the card level': atCardLevel(0xc4, [0x80], concatBytes(NEW_KEY, new Uint8Array([7])), 'full', 'plain'),
  'changing key settings': atCardLevel(0x54, [], parseHex('0B'), 'full'),
  'creating a standard data file': inApplication([], 0xcd, '0500EEEE640000'),
  'creating a backup data file': inApplication([], 0xcb, '0500EEEE640000'),
  'creating a value file': inApplication([], 0xcc, '0500EEEE00000000640000003200000001'),
  'creating a linear record file': inApplication([], 0xc1, '0500EEEE100000030000'),
  'creating a cyclic record file': inApplication([], 0xc0, '0500EEEE100000030000'),
  'deleting a file': inApplication([], 0xdf, '00'),
  'backup data, records of both kinds and value': inApplication([[0x8d, `01000000460000${'44'.repeat(70)}`], [0x8b, `03000000300000${'55'.repeat(48)}`], [0x8b, `04000000300000${'66'.repeat(48)}`], [0xdc, '0207000000']], 0xc7, ''),
};

const FINISHED = [0x9100, 0x91ae];
/** Few tears where the chip runs along or the recovery is cut again, all of them where only the memory is. */
const TEARS_WITH_CHIP = ['before', 'first half written', 'garbage', 'after'] as const satisfies Tear[];
const TEARS_OF_RECOVERY: readonly Tear[] = ['before', 'every other byte written', 'garbage'];

const contentOf = (image: CardImage): Buffer => Buffer.from(encodeCardLayout({ image, rings: NO_RINGS }));

interface Course {
  readonly old: Buffer;
  readonly next: Buffer;
  /** The whole EEPROM before the command, and each page that it wrote. */
  readonly before: Bytes;
  readonly writes: readonly { readonly page: number; readonly content: Bytes }[];
}

/** The change without a cut. */
async function record({ image, prepare, act }: Change): Promise<Course> {
  const written: number[] = [];
  const contents: Bytes[] = [];
  const torn: TearableCard = await TearableCard.insert(await image(), {
    onWrite: (page) => {
      written.push(page);
      contents.push(torn.eeprom.read(page, 1));
    },
  });
  await prepare(torn.card);
  const earlier = written.length;
  const [old, before] = [contentOf(torn.image), torn.eeprom.content];
  expect(FINISHED).toContain(await act(torn.card));
  const writes = written.slice(earlier).map((page, index) => ({ page, content: contents[earlier + index] ?? NONE }));
  return { old, next: contentOf(torn.image), before, writes };
}

/** 'old' or 'new'; anything else is a failure. */
function outcome(course: Course, image: CardImage): 'old' | 'new' {
  const content = contentOf(image);
  if (content.equals(course.old)) return 'old';
  expect(content.equals(course.next)).toBe(true);
  return 'new';
}

async function cutWithChip({ image, prepare, act }: Change, course: Course, write: number, tear: Tear): Promise<'old' | 'new'> {
  const torn = await TearableCard.insert(await image());
  await prepare(torn.card);
  torn.eeprom.cutAt(write, tear);
  // Whatever it was about to answer: without power it confirms nothing.
  expect(await act(torn.card)).toBe(0x91ee);
  expect(torn.eeprom.writes).toBe(write);
  expect((await torn.card.host.native(0x60)).status).toBe(0x91ee);
  torn.eeprom.powerUp();
  // The field comes back to the same chip, and once more to another one over the same memory.
  await torn.card.chip.reset();
  const found = outcome(course, torn.image);
  expect((await torn.card.host.native(0x60)).status).toBe(0x91af);
  await torn.powerUp();
  expect(outcome(course, torn.image)).toBe(found);
  return found;
}

/** The memory alone, torn in its n-th write, powered up, and powered up with a second cut at each write of that. Returns how many cuts that were. */
async function cutMemory(course: Course, write: number, tear: Tear): Promise<{ readonly outcome: 'old' | 'new'; readonly cuts: number }> {
  const content = course.before.slice();
  course.writes.slice(0, write).forEach(({ page, content: written }, index) => {
    const at = page * PAGE_BYTES;
    content.set(index + 1 < write ? written : TEARS[tear](content.slice(at, at + PAGE_BYTES), written), at);
  });
  const eeprom = new TearableEeprom(content.slice());
  const first = outcome(course, (await JournalledCardMemory.powerUp(eeprom)).image);
  let cuts = 1;
  if (!TEARS_OF_RECOVERY.includes(tear)) return { outcome: first, cuts };
  for (let second = 1; second <= eeprom.writes; second++) {
    for (const again of TEARS_OF_RECOVERY) {
      const torn = new TearableEeprom(content.slice());
      torn.cutAt(second, again);
      await expect(JournalledCardMemory.powerUp(torn)).rejects.toThrow('no power');
      torn.powerUp();
      expect(outcome(course, (await JournalledCardMemory.powerUp(torn)).image)).toBe(first);
      cuts++;
    }
  }
  return { outcome: first, cuts };
}

describe('all old or all new, wherever the power goes in', () => {
  const counted = { writes: 0, cutsWithChip: 0, cutsOfMemory: 0 };

  it.each(Object.entries(CHANGES))('%s', async (_, change) => {
    const course = await record(change);
    expect(course.next.equals(course.old)).toBe(false);
    // At least a page in the journal, its head, and the page at home.
    expect(course.writes.length).toBeGreaterThanOrEqual(3);
    counted.writes += course.writes.length;
    const outcomes: string[] = [];
    for (let write = 1; write <= course.writes.length; write++) {
      for (const tear of TEARS_WITH_CHIP) {
        outcomes.push(await cutWithChip(change, course, write, tear));
        counted.cutsWithChip++;
      }
      for (const tear of TEAR_NAMES) {
        const { outcome: found, cuts } = await cutMemory(course, write, tear);
        if (tear === 'before' || tear === 'after') expect(found).toBe(outcomes[(write - 1) * TEARS_WITH_CHIP.length + (tear === 'before' ? 0 : TEARS_WITH_CHIP.length - 1)]);
        counted.cutsOfMemory += cuts;
      }
    }
    // There is one commit point: old before it, new after it.
    expect([outcomes[0], outcomes.at(-1)]).toEqual(['old', 'new']);
    expect(outcomes.lastIndexOf('old')).toBeLessThan(outcomes.indexOf('new') + TEARS_WITH_CHIP.length);
  });

  it('at no fewer points than that', () => {
    expect(counted.writes).toBeGreaterThanOrEqual(200);
    expect(counted.cutsWithChip).toBe(TEARS_WITH_CHIP.length * counted.writes);
    expect(counted.cutsOfMemory).toBeGreaterThanOrEqual(TEAR_NAMES.length * counted.writes + 2000);
    process.stdout.write(`power cut at ${counted.writes} writes of ${Object.keys(CHANGES).length} kinds of change: ${counted.cutsWithChip} times with the chip, ${counted.cutsOfMemory} times in the memory alone\n`);
  });
});
