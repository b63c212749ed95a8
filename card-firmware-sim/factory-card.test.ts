/** A Light as it leaves the factory: its files, its rights, and the reader id that its commits ask for. */
import { beforeEach, describe, expect, it } from 'vitest';
import { CardUnderTest, changeFile, NONE, usableCard, ZERO_KEY } from './testing/card.ts';
import { DF_NAME_SELECT } from './testing/host.ts';
import { encodeHex, parseHex } from '#protocol/bytes.ts';

const SELECT_WITH_FCI = '00A4040010A00000039656434103F015400000000B00';

let card: CardUnderTest;

beforeEach(() => {
  card = new CardUnderTest();
});

describe('a factory card', () => {
  it.each([
    [0x00, '0003301F000100'],
    [0x01, '04033012100000050000000000'],
    [0x03, '0203301200000000FFFFFF7F0000000003'],
    [0x04, '00033012000100'],
    [0x0f, '0503101F0200'],
    [0x1f, '000030EF200000'],
  ])('file %i says %s of itself', async (number, settings) => {
    await card.host.select();
    expect(encodeHex((await card.host.native(0xf5, new Uint8Array([number]))).data)).toBe(settings);
  });

  it('shows its file control information to everybody, in plain', async () => {
    await card.host.select();
    expect(await card.host.native(0xad, parseHex('1F000000000000'))).toEqual({ status: 0x9100, data: new Uint8Array(32) });
  });

  it('shows there, and at its selection, what was written into it', async () => {
    const content = new Uint8Array(32).fill(0x6f);
    await card.begin(3);
    expect((await card.host.send(0x8d, [0x1f, 0, 0, 0, 32, 0, 0], content, 'plain', 'plain')).status).toBe(0x9100);
    expect(await card.host.raw(parseHex(SELECT_WITH_FCI))).toEqual({ status: 0x9000, data: content });
  });

  it('commits only with a reader id, which another key gives: NonFirst changes the key within the transaction', async () => {
    await card.begin(3);
    await card.credit(500);
    expect((await card.commit()).status).toBe(0x919d);
    await card.begin(3);
    await card.credit(500);
    expect((await card.host.send(0xc8, [], new Uint8Array(16), 'mac', 'mac')).status).toBe(0x91ae);
    await card.begin(3);
    await card.credit(500);
    expect(await card.host.authenticate(1, ZERO_KEY, 0x77)).toBe(0x9100);
    expect((await card.host.send(0xc8, [], new Uint8Array(16), 'mac', 'mac')).status).toBe(0x9100);
    expect(encodeHex((await card.commit()).data.slice(0, 4))).toBe('01000000');
    expect(card.fileOf('value').value).toBe(500);
  });

  it('lets only key 0 delete and make its transaction-MAC file', async () => {
    await card.begin(1);
    expect((await card.host.send(0xdf, [15], NONE, 'mac', 'mac')).status).toBe(0x91ae);
    await card.begin(1);
    expect((await card.host.send(0xce, [15, 3, 0x1f, 0x1f, 2], new Uint8Array(17), 'full', 'mac')).status).toBe(0x91ae);
    await card.host.select();
    expect((await card.host.native(0xdf, new Uint8Array([15]))).status).toBe(0x91ae);
  });
});

it.each([
  ['the application by name', DF_NAME_SELECT, 0xc7, 0x910c],
  ['the application by identifier', '00A4000C02DF01', 0xc7, 0x910c],
  ['the card level by name', '00A4040C07D2760000850100', 0x51, 0x91ae],
  ['the card level by identifier', '00A4000C023F00', 0x51, 0x91ae],
])('selecting %s ends session and open transaction', async (_, apdu, instruction, status) => {
  card = new CardUnderTest(usableCard);
  await card.begin(1);
  await card.debit(100);
  expect((await card.host.raw(parseHex(apdu))).status).toBe(0x9000);
  // Within the session it would lack its MAC.
  expect((await card.host.native(instruction)).status).toBe(status);
  await card.host.select();
  expect((await card.host.native(0xc7)).status).toBe(0x910c);
  expect(card.fileOf('value').value).toBe(5000);
});

it('a record that is not written as a whole is zero elsewhere', async () => {
  card = new CardUnderTest((image) => changeFile(usableCard(image), 'cyclic', { records: ['44', '33', '22', '11'].map((byte) => parseHex(byte.repeat(16))) }));
  await card.begin(1);
  await card.writeRecord(parseHex('ABCD'), 3);
  await card.commit();
  expect(encodeHex((await card.readRecords(0, 1)).data)).toBe(`000000ABCD${'00'.repeat(11)}`);
});

describe('LimitedCredit', () => {
  it('may not pass the upper limit either', async () => {
    card = new CardUnderTest((image) => changeFile(usableCard(image), 'value', { upper: 5010, limitedCreditEnabled: true, limitedCredit: 40 }));
    await card.begin(1);
    expect((await card.limitedCredit(10)).status).toBe(0x9100);
    expect((await card.limitedCredit(1)).status).toBe(0x91be);
  });

  it.each([
    ['a debit of nothing', () => card.debit(0)],
    ['a LimitedCredit of nothing', () => card.limitedCredit(0)],
  ])('has nothing to give back after %s', async (_, act) => {
    card = new CardUnderTest((image) => changeFile(usableCard(image), 'value', { limitedCreditEnabled: true, limitedCredit: 40 }));
    await card.begin(1);
    expect((await act()).status).toBe(0x9100);
    await card.commit();
    expect(card.fileOf('value').limitedCredit).toBe(0);
  });
});
