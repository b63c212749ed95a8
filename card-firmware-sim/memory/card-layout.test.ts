/** The layout of a card's memory: every image comes back, what is damaged is refused by name, and a payment touches few pages. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { applicationBytes, fileBytes } from '../memory-use.ts';
import { cardImage } from './testing-images.ts';
import { CardImageError } from './card-image-error.ts';
import { changeFile, factoryImage, usableCard, walletOf } from '../testing/card.ts';
import { createFactoryImage } from '../factory-image.ts';
import { encodeCardLayout, HOME_PAGES, parseCardLayout } from './card-layout.ts';
import { NO_RINGS, turnRings } from './record-rings.ts';
import { PAGE_BYTES } from './eeprom.ts';
import { VolatileCardMemory } from '../card-memory.ts';
import type { Bytes } from '#protocol/bytes.ts';
import type { CardApplication, CardFile, CardImage, CyclicFile, RecordFile } from '../card-image.ts';
import type { Rings } from './record-rings.ts';

const encode = (image: CardImage, rings: Rings = NO_RINGS): Bytes => encodeCardLayout({ image, rings });

/** Undefined if it is refused. */
function parsed(bytes: Bytes): CardImage | undefined {
  try {
    return parseCardLayout(bytes).image;
  } catch (error) {
    expect(error).toBeInstanceOf(CardImageError);
    return undefined;
  }
}

function recordFileOf<T extends RecordFile['type']>(image: CardImage, type: T): Extract<RecordFile, { type: T }> {
  return walletOf(image).files.find((file) => file.type === type) as Extract<RecordFile, { type: T }>;
}

describe('the layout of an image', () => {
  it('comes back as it was, with nothing or with empty memory behind it', () => {
    fc.assert(
      fc.property(cardImage, (image) => {
        const bytes = encode(image);
        expect(parseCardLayout(bytes)).toEqual({ image, rings: expect.anything() as unknown });
        const memory = new Uint8Array(HOME_PAGES * PAGE_BYTES);
        memory.set(bytes);
        expect(parseCardLayout(memory).image).toEqual(image);
      }),
      { numRuns: 300 },
    );
  });

  it('cut anywhere, or with something behind it, is refused', () => {
    fc.assert(
      fc.property(cardImage, fc.nat(), fc.integer({ min: 1, max: 255 }), fc.nat(), (image, cut, extra, gap) => {
        const bytes = encode(image);
        expect(parsed(bytes.slice(0, cut % bytes.length))).toBeUndefined();
        expect(parsed(new Uint8Array([...bytes, ...new Uint8Array(gap % 100), extra]))).toBeUndefined();
      }),
      { numRuns: 200 },
    );
  });

  it('with any bit of it flipped is refused or another image, never the same', () => {
    const image = changeFile(usableCard(factoryImage()), 'transaction-mac', { counterLimit: 9 });
    const bytes = encode(image);
    let refused = 0;
    for (let bit = 0; bit < 8 * bytes.length; bit++) {
      const damaged = bytes.slice();
      damaged[bit >> 3] = (damaged[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      const other = parsed(damaged);
      if (other === undefined) refused++;
      else if (Buffer.compare(encode(other), bytes) === 0) expect(other).not.toEqual(image);
    }
    expect(refused).toBeGreaterThan(4000);
  });

  it('is refused whatever bytes it is made of', () => {
    fc.assert(
      fc.property(cardImage, fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 5 }), (image, damages) => {
        const damaged = encode(image);
        for (const [at, byte] of damages) damaged[at % damaged.length] = byte;
        const other = parsed(damaged);
        // What is believed is what is there, to the last byte.
        if (other !== undefined) expect(Buffer.compare(encode(other, parseCardLayout(damaged).rings), damaged)).toBe(0);
      }),
      { numRuns: 500 },
    );
  });

  const inWallet = (change: (wallet: CardApplication) => object): CardImage => {
    const image = factoryImage();
    return { ...image, applications: [{ ...walletOf(image), ...change(walletOf(image)) }] };
  };
  const withFiles = (change: (files: readonly CardFile[]) => readonly object[]): CardImage => inWallet(({ files }) => ({ files: change(files) }));
  const record = new Uint8Array(16);
  const blank = createFactoryImage({ profile: 'ev2', random: (length) => new Uint8Array(length) });
  const impossible: [string, CardImage, string][] = [
    ['a short UID', { ...factoryImage(), uid: new Uint8Array(4) }, 'image.uid: not 7 bytes'],
    ['an unknown profile', { ...factoryImage(), profile: 'ev9' as 'ev2' }, 'image.profile: not light or ev2 or ev3'],
    ['no application on a Light', { ...factoryImage(), applications: [] }, 'image.applications: not an integer from 1 to 1'],
    ['no master key on an EV2', { ...blank, picc: { ...blank.picc, masterKey: undefined } }, 'image.picc.masterKey: missing'],
    ['an application without AID on an EV2', { ...blank, applications: [walletOf(factoryImage())] }, 'image.applications: one without AID'],
    ['one AID twice', { ...blank, applications: [1, 1].map((aid) => ({ ...walletOf(factoryImage()), aid })) }, 'image.applications: two with one AID'],
    ['an AID of zero', { ...blank, applications: [{ ...walletOf(factoryImage()), aid: 0 }] }, 'image.applications[0].aid'],
    ['a key of 15 bytes', inWallet(({ keys }) => ({ keys: [...keys.slice(1), { ...keys[0], value: new Uint8Array(15) }] })), 'image.applications[0].keys[4].value: not 16 bytes'],
    ['four keys on a Light', inWallet(({ keys }) => ({ keys: keys.slice(1), files: [] })), 'image.applications[0].keys: not 5'],
    ['fifteen keys', { ...blank, applications: [{ ...walletOf(factoryImage()), aid: 1, keys: new Array(15).fill(walletOf(factoryImage()).keys[0]) }] }, 'image.applications[0].keys: not an integer from 1 to 14'],
    ['a key version of 256', inWallet(({ keys }) => ({ keys: [{ ...keys[0], version: 256 }, ...keys.slice(1)] })), 'image.applications[0].keys[0].version: not an integer from 0 to 255'],
    ['a name of 17 bytes', inWallet(() => ({ name: new Uint8Array(17) })), 'image.applications[0].name'],
    ['a file twice', withFiles((files) => [...files, ...files.slice(1, 2)]), 'image.applications[0].files: two files with one number'],
    ['two transaction-MAC files', withFiles((files) => [...files, { ...files[0], number: 9 }]), 'image.applications[0].files: more than one transaction-MAC file'],
    ['a transaction-MAC file that can be written', withFiles(([file]) => [{ ...file, rights: { read: 0, write: 0, readWrite: 0, change: 0 } }]), 'image.applications[0].files[0].rights: a transaction-MAC file cannot be written'],
    ['a value above its limit', changeFile(factoryImage(), 'value', { upper: 5, value: 6 }), 'image.applications[0].files[2].value: not an integer from 0 to 5'],
    ['limits the wrong way round', changeFile(factoryImage(), 'value', { lower: 5, upper: 4 }), 'image.applications[0].files[2].upper'],
    ['a right of no key', changeFile(factoryImage(), 'value', { rights: { read: 7, write: 1, readWrite: 1, change: 1 } }), 'image.applications[0].files[2].rights: a key'],
    ['a communication mode of 2', changeFile(factoryImage(), 'value', { mode: 2 as 3 }), 'image.applications[0].files[2].mode: no communication mode'],
    ['a record too short', changeFile(factoryImage(), 'cyclic', { records: [new Uint8Array(15)] }), 'image.applications[0].files[4].records: not 16 bytes each'],
    ['a record too many', changeFile(factoryImage(), 'cyclic', { records: new Array<Bytes>(5).fill(record) }), 'image.applications[0].files[4].records: not an integer from 0 to 4'],
    ['a file of nothing', changeFile(factoryImage(), 'standard', { content: new Uint8Array() }), 'image.applications[0].files[1].size: not an integer from 1'],
    ['a file as large as the memory', changeFile(factoryImage(), 'standard', { content: new Uint8Array(HOME_PAGES * PAGE_BYTES) }), 'image: 34496 bytes do not fit into the 32768 of the memory'],
    ['records larger than the memory', changeFile(factoryImage(), 'cyclic', { recordBytes: 0xffff, maxRecords: 0xffff }), 'image.applications[0].files[4].recordBytes'],
    ['more records than the memory holds', changeFile(factoryImage(), 'cyclic', { maxRecords: 0xffffff }), 'image.applications[0].files[4].maxRecords'],
  ];

  it.each(impossible)('with %s cannot be written', (_, image, message) => {
    expect(() => encode(image)).toThrow(CardImageError);
    expect(() => encode(image)).toThrow(message);
  });

  it('has room for whatever the largest card takes', () => {
    const key = walletOf(factoryImage()).keys.slice(0, 1);
    const rights = { read: 0, write: 0, readWrite: 0, change: 0 };
    const small: CardFile[] = Array.from({ length: 32 }, (_, number) => ({ type: 'standard', number, mode: 0, rights, isoId: 1, content: new Uint8Array(1) }));
    const fill = (files: readonly CardFile[]): CardImage => {
      const applications: CardApplication[] = [];
      let free = 8192;
      for (let aid = 1; free >= applicationBytes({ aid, isoId: 1, name: new Uint8Array(16), keySettings: 0, hasIsoFileIds: true, keys: key, files: [] }); aid++) {
        const empty: CardApplication = { aid, isoId: 1, name: new Uint8Array(16), keySettings: 0, hasIsoFileIds: true, keys: key, files: [] };
        free -= applicationBytes(empty);
        const fitting = files.filter((file) => (free -= fileBytes(file)) >= 0);
        applications.push({ ...empty, files: fitting });
      }
      return { ...blank, applications };
    };
    for (const image of [fill([]), fill(small.slice(0, 1)), fill(small.slice(0, 4)), fill(small)]) expect(parseCardLayout(encode(image)).image).toEqual(image);
    const one: CardApplication = { ...walletOf(factoryImage()), aid: 1, files: [{ type: 'standard', number: 1, mode: 0, rights, isoId: 1, content: new Uint8Array(8192).fill(1) }] };
    expect(parseCardLayout(encode({ ...blank, applications: [one] })).image.applications).toEqual([one]);
  });
});

describe('a payment', () => {
  const pay = (image: CardImage, round: number): CardImage => {
    const log = recordFileOf(image, 'cyclic');
    const paid = changeFile(image, 'value', { value: 5000 - round, limitedCredit: round });
    const logged = changeFile(paid, 'cyclic', { records: [new Uint8Array(16).fill(round), ...log.records].slice(0, 4) });
    return changeFile(logged, 'transaction-mac', { counter: round, tmv: new Uint8Array(8).fill(round), readerId: new Uint8Array(16).fill(round) });
  };

  it('writes five pages: two and a head in the journal, two home; two more where the oldest record goes from a page of its own', async () => {
    let pages = 0;
    const memory = new VolatileCardMemory(usableCard(factoryImage()), () => pages++);
    const written: number[] = [];
    for (let round = 1; round <= 13; round++) {
      pages = 0;
      await memory.commit(pay(memory.image, round));
      written.push(pages);
    }
    // Five slots of 16 bytes, four of them on the first page.
    expect(written).toEqual([5, 5, 5, 7, 5, 5, 5, 7, 7, 5, 5, 5, 7]);
  });

  it('puts a record into the free slot of the ring and moves none', () => {
    // Records of a page each, so that every slot is seen.
    const start = changeFile(usableCard(factoryImage()), 'cyclic', { recordBytes: PAGE_BYTES, records: [] });
    let layout = { image: start, rings: NO_RINGS };
    for (let round = 1; round <= 20; round++) {
      const log = recordFileOf(layout.image, 'cyclic');
      const records = [new Uint8Array(PAGE_BYTES).fill(round), ...log.records].slice(0, 4);
      const image = changeFile(layout.image, 'cyclic', { records });
      const next = { image, rings: turnRings(layout.rings, layout.image, image) };
      const [before, after] = [encodeCardLayout(layout), encodeCardLayout(next)];
      const changedPages = new Set([...after].flatMap((byte, at) => (byte === before[at] ? [] : [Math.floor(at / PAGE_BYTES)])));
      // Log position, the new record and, once the log is full, the slot that becomes free.
      expect(changedPages.size).toBe(round <= 4 ? 2 : 3);
      expect(parseCardLayout(after)).toEqual(next);
      layout = next;
    }
  });

  it('keeps the ring right through whatever becomes of a log', () => {
    const content = fc.tuple(fc.integer({ min: 2, max: 6 }), fc.array(fc.nat(255), { maxLength: 5 }), fc.boolean());
    fc.assert(
      fc.property(fc.array(content, { minLength: 1, maxLength: 12 }), (steps) => {
        let layout = { image: usableCard(factoryImage()), rings: NO_RINGS };
        for (const [maxRecords, added, isCleared] of steps) {
          const log: CyclicFile = recordFileOf(layout.image, 'cyclic');
          const kept = isCleared ? [] : log.records;
          const records = [...added.map((byte) => new Uint8Array(16).fill(byte)), ...kept].slice(0, maxRecords - 1);
          const image = changeFile(layout.image, 'cyclic', { maxRecords, records });
          layout = { image, rings: turnRings(layout.rings, layout.image, image) };
          expect(parseCardLayout(encodeCardLayout(layout)).image).toEqual(image);
        }
      }),
    );
  });
});
