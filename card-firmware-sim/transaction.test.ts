/** Values, records and data: what they answer, and that a commit makes them permanent together. */
import { beforeEach, describe, expect, it } from 'vitest';
import { CardUnderTest, changeFile, changeWallet, NONE, UID, usableCard, ZERO_KEY } from './testing/card.ts';
import { tmvOf } from './testing/host.ts';
import { concatBytes, encodeHex, parseHex } from '#protocol/bytes.ts';
import { findFile, withFile } from './card-image.ts';
import type { Bytes } from '#protocol/bytes.ts';
import type { HostAnswer } from './testing/host.ts';

const READER_ID = parseHex('000102030405060708090A0B0C0D0E0F');

let card: CardUnderTest;

beforeEach(() => {
  card = new CardUnderTest();
});

describe('records and data', () => {
  beforeEach(async () => {
    card = new CardUnderTest(usableCard);
    await card.begin(1);
  });

  const record = (byte: number): Bytes => new Uint8Array(16).fill(byte);
  const append = async (byte: number): Promise<void> => {
    await card.writeRecord(record(byte));
    await card.commit();
  };

  it('of five records four can be used; record 0 is the newest, and several come oldest first', async () => {
    for (const byte of [1, 2, 3, 4, 5]) await append(byte);
    expect(encodeHex((await card.readRecords(0, 1)).data)).toBe('05'.repeat(16));
    expect(encodeHex((await card.readRecords(0, 0)).data)).toBe(['02', '03', '04', '05'].map((byte) => byte.repeat(16)).join(''));
    expect(encodeHex((await card.readRecords(1, 2)).data)).toBe(['03', '04'].map((byte) => byte.repeat(16)).join(''));
    expect((await card.readRecords(0, 5)).status).toBe(0x91be);
  });

  it('an empty file has nothing to read', async () => {
    card = new CardUnderTest((image) => changeFile(usableCard(image), 'cyclic', { records: [] }));
    await card.begin(1);
    expect((await card.readRecords(0, 0)).status).toBe(0x91be);
  });

  it('a second write in one transaction goes over the first', async () => {
    await card.writeRecord(record(1));
    await card.writeRecord(parseHex('AABB'), 14);
    await card.commit();
    expect(encodeHex((await card.readRecords(0, 1)).data)).toBe(`${'01'.repeat(14)}AABB`);
    expect(card.fileOf('cyclic').records).toHaveLength(2);
  });

  it.each([
    [16, 1, 0x91be],
    [0, 17, 0x91be],
    [0, 0, 0x919e],
  ])('a record write at %i of %i bytes', async (offset, length, status) => {
    expect((await card.writeRecord(new Uint8Array(length), offset)).status).toBe(status);
  });

  it('the length in the header must be that of the data', async () => {
    expect((await card.host.send(0x8b, [1, 0, 0, 0, 5, 0, 0], new Uint8Array(4), 'full', 'mac')).status).toBe(0x917e);
  });

  it('standard files are read by offset and length, and written at once', async () => {
    card = new CardUnderTest((image) => changeWallet(image, (wallet) => withFile(wallet, { ...findFile(wallet, 4)!, mode: 3, rights: { read: 1, write: 1, readWrite: 3, change: 0 } })));
    await card.begin(1);
    expect((await card.host.send(0x8d, [4, 254, 0, 0, 2, 0, 0], parseHex('ABCD'), 'full', 'mac')).status).toBe(0x9100);
    await card.chip.reset();
    await card.begin(1);
    expect(encodeHex((await card.host.send(0xad, [4, 254, 0, 0, 0, 0, 0], NONE, 'mac', 'full')).data)).toBe('ABCD');
    expect((await card.host.send(0xad, [4, 255, 0, 0, 2, 0, 0], NONE, 'mac', 'full')).status).toBe(0x91be);
  });

  it('a read from the end of a file on is beyond it, whatever its length', async () => {
    for (const length of [0, 1]) {
      await card.begin(1);
      expect((await card.host.send(0xad, [15, 12, 0, 0, length, 0, 0], NONE, 'mac', 'full')).status).toBe(0x91be);
    }
  });

  it('no answer is longer than 255 bytes', async () => {
    card = new CardUnderTest((image) => changeWallet(image, (wallet) => withFile(wallet, { ...findFile(wallet, 4)!, mode: 0, rights: { read: 14, write: 14, readWrite: 14, change: 14 } })));
    await card.host.select();
    expect((await card.chip.process(parseHex('90AD0000070400000000000000'))).slice(-2)).toEqual(parseHex('917E'));
    expect(await card.chip.process(parseHex('90AD00000704000000FD000000'))).toHaveLength(255);
  });
});

describe('transactions', () => {
  beforeEach(async () => {
    card = new CardUnderTest(usableCard);
    await card.begin(1);
  });

  it('debits gather, GetValue shows the committed value, and the commit makes value, log and counter permanent', async () => {
    await card.writeRecord(parseHex('77'.repeat(16)));
    await card.debit(100);
    await card.debit(20);
    expect(encodeHex((await card.getValue()).data)).toBe('88130000');
    expect(card.fileOf('value').value).toBe(5000);
    const { data } = await card.commit();
    expect(encodeHex(data.slice(0, 4))).toBe('01000000');
    expect(data.slice(4)).toEqual(card.fileOf('transaction-mac').tmv);
    expect(card.fileOf('value').value).toBe(4880);
    expect(encodeHex(card.fileOf('cyclic').records[0]!)).toBe('77'.repeat(16));
  });

  it('a commit or an abort of nothing says 0C; an abort drops what was open, reads of the MAC included', async () => {
    expect((await card.commit()).status).toBe(0x910c);
    expect((await card.host.send(0xa7, [], NONE, 'mac', 'mac')).status).toBe(0x910c);
    await card.debit(1);
    expect((await card.host.send(0xa7, [], NONE, 'mac', 'mac')).status).toBe(0x9100);
    expect((await card.commit()).status).toBe(0x910c);
    await card.getValue();
    expect((await card.commit()).status).toBe(0x9100);
  });

  it('commits without option answer no data', async () => {
    await card.debit(1);
    expect(await card.host.send(0xc7, [], NONE, 'mac', 'mac')).toEqual({ status: 0x9100, data: NONE });
    await card.debit(1);
    expect(await card.host.send(0xc7, [], new Uint8Array([0]), 'mac', 'mac')).toEqual({ status: 0x9100, data: NONE });
  });

  it('with reader-id commitment a commit needs it, once, and remembers it', async () => {
    card = new CardUnderTest((image) => changeFile(usableCard(image), 'transaction-mac', { rights: { read: 1, write: 15, readWrite: 1, change: 0 } }));
    await card.begin(1);
    await card.debit(1);
    expect((await card.commit()).status).toBe(0x919d);
    await card.host.authenticate(1, ZERO_KEY);
    await card.debit(1);
    expect((await card.host.send(0xc8, [], READER_ID, 'mac', 'mac')).data).toHaveLength(16);
    expect((await card.commit()).status).toBe(0x9100);
    expect(card.fileOf('transaction-mac').readerId).toEqual(READER_ID);
    await card.host.send(0xc8, [], READER_ID, 'mac', 'mac');
    expect((await card.host.send(0xc8, [], READER_ID, 'mac', 'mac')).status).toBe(0x919d);
  });

  it('a reader id that was committed without a session is part of the MAC, and not remembered', async () => {
    const free = { read: 14, write: 14, readWrite: 14, change: 0 };
    card = new CardUnderTest((image) => changeFile(changeFile(usableCard(image), 'value', { rights: free }), 'transaction-mac', { rights: { ...free, write: 15 } }));
    await card.host.select();
    expect((await card.host.native(0xdc, parseHex('0301000000'))).status).toBe(0x9100);
    expect(await card.host.native(0xc8, READER_ID)).toEqual({ status: 0x9100, data: NONE });
    const { data } = await card.host.native(0xc7, new Uint8Array([1]));
    const tmv = tmvOf(parseHex('22'.repeat(16)), 1, UID, parseHex('DC0301000000'), concatBytes(new Uint8Array([0xc8]), READER_ID));
    expect(encodeHex(data)).toBe(`01000000${tmv}`);
    expect(card.fileOf('transaction-mac').readerId).toEqual(new Uint8Array(16));
  });

  it('LimitedCredit gives back at most the last debit, once, and only where it is switched on', async () => {
    expect((await card.limitedCredit(0)).status).toBe(0x919d);
    card = new CardUnderTest((image) => changeFile(usableCard(image), 'value', { limitedCreditEnabled: true }));
    await card.begin(1);
    await card.debit(40);
    await card.commit();
    await card.limitedCredit(30);
    expect((await card.commit()).status).toBe(0x9100);
    expect(card.fileOf('value').value).toBe(4990);
    expect((await card.limitedCredit(1)).status).toBe(0x91be);
  });

  it('a credit may not pass the upper limit', async () => {
    card = new CardUnderTest((image) => changeFile(usableCard(image), 'value', { upper: 5010 }));
    await card.host.select();
    await card.host.authenticate(3, ZERO_KEY);
    expect((await card.credit(11)).status).toBe(0x91be);
    await card.host.authenticate(3, ZERO_KEY);
    await card.credit(10);
    expect((await card.commit()).status).toBe(0x9100);
  });

  it('a counter limit that is set while a transaction is open stops its commit', async () => {
    await card.debit(1);
    await card.host.authenticate(0, ZERO_KEY, 0x77);
    expect((await card.host.send(0x5f, [15], parseHex('23F01F00000000'), 'full', 'mac')).status).toBe(0x9100);
    expect((await card.commit()).status).toBe(0x919d);
    expect(card.fileOf('value').value).toBe(5000);
  });
});

describe('a transaction that is open while key 0 changes what it is about', () => {
  const configureValue = (): Promise<HostAnswer> => card.host.send(0x5c, [9], parseHex('0300000000A08601000A00000001'), 'full', 'mac');
  const deleteMacFile = (): Promise<HostAnswer> => card.host.send(0xdf, [15], NONE, 'mac', 'mac');
  const createMacFile = (): Promise<HostAnswer> => card.host.send(0xce, [15, 3, 0xf0, 0x1f, 2], new Uint8Array(17), 'full', 'mac');

  it.each([
    ['the value file is configured', [], configureValue, 10],
    ['the transaction-MAC file is deleted', [], deleteMacFile, 5000],
    ['a transaction-MAC file is created', [deleteMacFile], createMacFile, 5000],
  ])('is gone when %s', async (_, earlier, act, value) => {
    card = new CardUnderTest(usableCard);
    await card.begin(0);
    for (const one of earlier) expect((await one()).status).toBe(0x9100);
    await card.host.authenticate(1, ZERO_KEY);
    await card.debit(100);
    await card.host.authenticate(0, ZERO_KEY, 0x77);
    expect((await act()).status).toBe(0x9100);
    expect((await card.host.send(0xc7, [], NONE, 'mac', 'mac')).status).toBe(0x910c);
    expect(card.fileOf('value').value).toBe(value);
  });

  it('is not the only thing: an allowance of LimitedCredit is gone with the old value, too', async () => {
    card = new CardUnderTest((image) => changeFile(usableCard(image), 'value', { limitedCreditEnabled: true, limitedCredit: 40 }));
    await card.begin(0);
    expect((await configureValue()).status).toBe(0x9100);
    expect(card.fileOf('value')).toMatchObject({ value: 10, limitedCredit: 0, limitedCreditEnabled: true });
  });
});
