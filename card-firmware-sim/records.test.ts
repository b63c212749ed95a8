/** UpdateRecord and ClearRecordFile: what they ask, what they change at the commit, and what the transaction MAC says of them. */
import { beforeEach, describe, expect, it } from 'vitest';
import { CardUnderTest, changeFile, NONE, UID, usableCard, ZERO_KEY } from './testing/card.ts';
import { encodeHex, encodeUintLE, parseHex } from '#protocol/bytes.ts';
import { tmvOf } from './testing/host.ts';
import type { HostAnswer } from './testing/host.ts';

const TM_KEY = parseHex('22'.repeat(16));
const RECORDS = ['33', '22', '11'].map((byte) => parseHex(byte.repeat(16)));

let card: CardUnderTest;

/** Three records, the newest first; key 3 may do all, key 1 read and write. */
beforeEach(async () => {
  card = new CardUnderTest((image) => changeFile(usableCard(image), 'cyclic', { records: RECORDS }));
  await card.begin(3);
});

function update(recordNumber: number, offset: number, data: Uint8Array, length = data.length): Promise<HostAnswer> {
  return card.host.send(0xba, [1, ...encodeUintLE(recordNumber, 3), ...encodeUintLE(offset, 3), ...encodeUintLE(length, 3)], data, 'full', 'mac');
}
const clear = (file = 1): Promise<HostAnswer> => card.host.send(0xeb, [file], NONE, 'mac', 'mac');
const kept = (): string[] => card.fileOf('cyclic').records.map(encodeHex);
const before = RECORDS.map(encodeHex);

describe('UpdateRecord', () => {
  it('changes a part of one record at the commit, and only then', async () => {
    expect((await update(1, 14, parseHex('ABCD'))).status).toBe(0x9100);
    expect(encodeHex((await card.readRecords(1, 1)).data)).toBe(before[1]);
    expect(kept()).toEqual(before);
    await card.commit();
    expect(kept()).toEqual([before[0], `${'22'.repeat(14)}ABCD`, before[2]]);
  });

  it('twice on one record adds up; an abort drops both', async () => {
    await update(2, 0, parseHex('AA'));
    await update(2, 15, parseHex('BB'));
    await card.abort();
    await update(2, 1, parseHex('CC'));
    await update(2, 14, parseHex('DD'));
    await card.commit();
    expect(kept()[2]).toBe(`11CC${'11'.repeat(12)}DD11`);
  });

  it('is part of the transaction MAC with its header and data', async () => {
    await update(1, 14, parseHex('ABCD'));
    const { data } = await card.commit();
    expect(encodeHex(data.slice(4))).toBe(tmvOf(TM_KEY, 1, UID, parseHex('BA01010000' + '0E0000' + '020000'), parseHex('ABCD')));
  });

  it.each([
    ['a record that is not there', 3, 0, 1, 0x91be],
    ['beyond the record', 0, 15, 2, 0x91be],
    ['nothing', 0, 0, 0, 0x919e],
  ])('refuses %s', async (_, recordNumber, offset, length, status) => {
    expect((await update(recordNumber, offset, new Uint8Array(length))).status).toBe(status);
  });

  it('refuses data of another length than the header says, and whoever may only write', async () => {
    expect((await update(0, 0, new Uint8Array(3), 4)).status).toBe(0x917e);
    await card.begin(1);
    expect((await card.writeRecord(new Uint8Array(16))).status).toBe(0x9100);
    await card.begin(1);
    expect((await update(0, 0, new Uint8Array(1))).status).toBe(0x91ae);
    expect(kept()).toEqual(before);
  });
});

describe('ClearRecordFile', () => {
  it('empties the file at the commit, and only then', async () => {
    expect((await clear()).status).toBe(0x9100);
    expect((await card.readRecords(0, 0)).data).toHaveLength(48);
    expect(kept()).toEqual(before);
    await card.commit();
    expect(kept()).toEqual([]);
    expect((await card.readRecords(0, 0)).status).toBe(0x91be);
  });

  it('is part of the transaction MAC', async () => {
    await clear();
    expect(encodeHex((await card.commit()).data)).toBe(`01000000${tmvOf(TM_KEY, 1, UID, parseHex('EB01'))}`);
  });

  it('travels under a MAC in a session even where the file is plain and free, and in plain without one', async () => {
    const rights = { read: 14, write: 14, readWrite: 14, change: 0 };
    card = new CardUnderTest((image) => changeFile(usableCard(image), 'cyclic', { records: RECORDS, mode: 0, rights }));
    await card.begin(1);
    expect((await card.host.send(0xeb, [1], NONE, 'plain', 'plain')).status).toBe(0x917e);
    await card.begin(1);
    expect((await clear()).status).toBe(0x9100);
    await card.host.select();
    expect(await card.host.native(0xeb, new Uint8Array([1]))).toEqual({ status: 0x9100, data: NONE });
    expect((await card.host.native(0xc7)).status).toBe(0x9100);
    expect(kept()).toEqual([]);
  });

  it('is for record files, and for whoever may write', async () => {
    expect((await clear(3)).status).toBe(0x919d);
    card = new CardUnderTest((image) => changeFile(usableCard(image), 'cyclic', { rights: { read: 1, write: 2, readWrite: 3, change: 0 } }));
    await card.begin(1);
    expect((await clear()).status).toBe(0x91ae);
    await card.host.authenticate(2, ZERO_KEY);
    expect((await clear()).status).toBe(0x9100);
  });
});

describe('the one spare slot of the file', () => {
  const acts: [string, () => Promise<HostAnswer>][] = [
    ['a new record', () => card.writeRecord(new Uint8Array(16))],
    ['an update of record 0', () => update(0, 0, parseHex('AA'))],
    ['an update of record 1', () => update(1, 0, parseHex('AA'))],
    ['emptying', clear],
  ];
  const pairs = acts.flatMap(([first, act]) => acts.map(([second, other]) => [first, second, act, other] as const));

  it.each(pairs)('%s, then %s: in one transaction only if they are the same', async (first, second, act, other) => {
    expect((await act()).status).toBe(0x9100);
    expect((await other()).status).toBe(first === second ? 0x9100 : 0x919d);
  });
});
