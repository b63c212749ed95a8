/** The transaction MAC: what each command adds to its input, and what its counter allows. */
import { beforeEach, describe, expect, it } from 'vitest';
import { CardUnderTest, changeFile, changeWallet, NONE, UID, usableCard } from './testing/card.ts';
import { concatBytes, encodeHex, parseHex } from '#protocol/bytes.ts';
import { tmvOf } from './testing/host.ts';
import { Transaction } from './transaction.ts';
import type { AccessRights, CardImage } from './card-image.ts';
import type { HostAnswer } from './testing/host.ts';

const TM_KEY = parseHex('22'.repeat(16));
const RECORDS = ['33', '22', '11'].map((byte) => parseHex(byte.repeat(16)));
const FREE: AccessRights = { read: 14, write: 14, readWrite: 14, change: 0 };

/** Every file but the transaction-MAC file with these rights. */
function withRights(image: CardImage, rights: AccessRights): CardImage {
  return changeWallet(image, (wallet) => ({ ...wallet, files: wallet.files.map((file) => (file.type === 'transaction-mac' ? file : { ...file, rights })) }));
}

let card: CardUnderTest;

describe('what a command adds to the input', () => {
  beforeEach(async () => {
    card = new CardUnderTest((image) => {
      const open = withRights(usableCard(image), { read: 1, write: 1, readWrite: 1, change: 0 });
      return changeFile(changeFile(open, 'cyclic', { records: RECORDS }), 'value', { limitedCreditEnabled: true, limitedCredit: 50 });
    });
    await card.begin(1);
  });

  const read = (header: string): Promise<HostAnswer> => card.host.send(0xad, [...parseHex(header)], NONE, 'mac', 'full');
  const commands: [string, () => Promise<HostAnswer>, string[]][] = [
    ['ReadData', () => read('00FE0000010000'), ['AD00FE0000010000', '00']],
    ['ReadData to the end, with its actual length', () => read('00FA0000000000'), ['AD00FA0000060000', '000000000000']],
    ['WriteData of a standard file', () => card.host.send(0x8d, [4, 2, 0, 0, 3, 0, 0], parseHex('ABCDEF'), 'full', 'mac'), ['8D04020000030000', 'ABCDEF']],
    ['GetValue', () => card.getValue(), ['6C0388130000']],
    ['Credit', () => card.credit(7), ['0C0307000000']],
    ['Debit', () => card.debit(7), ['DC0307000000']],
    ['LimitedCredit', () => card.limitedCredit(7), ['1C0307000000']],
    ['ReadRecords', () => card.readRecords(1, 1), ['AB01010000010000', '22'.repeat(16)]],
    ['ReadRecords of all, with their actual number', () => card.readRecords(1, 0), ['AB01010000020000', '11'.repeat(16) + '22'.repeat(16)]],
    ['WriteRecord', () => card.writeRecord(parseHex('5A5B'), 3), ['8B01030000020000', '5A5B']],
  ];

  it.each(commands)('%s', async (_, act, blocks) => {
    expect((await act()).status).toBe(0x9100);
    expect(encodeHex((await card.commit()).data)).toBe(`01000000${tmvOf(TM_KEY, 1, UID, ...blocks.map(parseHex))}`);
  });

  it('nothing, where the transaction-MAC file is read', async () => {
    await card.debit(7);
    expect((await card.readCounter()).status).toBe(0x9100);
    expect(encodeHex((await card.commit()).data.slice(4))).toBe(tmvOf(TM_KEY, 1, UID, parseHex('DC0307000000')));
  });

  it('is gone with an abort: reads before it are in no transaction MAC', async () => {
    await card.getValue();
    await card.readRecords(0, 0);
    await card.abort();
    await card.debit(7);
    expect(encodeHex((await card.commit()).data.slice(4))).toBe(tmvOf(TM_KEY, 1, UID, parseHex('DC0307000000')));
  });
});

describe('the transaction counter', () => {
  const COMMANDS = ['AD04000000010000', '8D0400000001000000', 'AB01000000010000', '8B0100000001000000', 'BA0100000000000001000000', 'EB01', '6C03', '0C0301000000', 'DC0301000000', '1C0301000000', `C8${'00'.repeat(16)}`];

  async function insert(fields: { counter: number; counterLimit?: number }): Promise<void> {
    card = new CardUnderTest((image) => {
      const open = changeFile(withRights(usableCard(image), FREE), 'transaction-mac', { ...fields, rights: { ...FREE, write: 15 } });
      return changeFile(open, 'value', { limitedCreditEnabled: true, limitedCredit: 50 });
    });
    await card.host.raw(parseHex('00A4000C02DF01'));
  }
  const send = async (hex: string): Promise<number> => (await card.host.native(parseHex(hex)[0]!, parseHex(hex).slice(1))).status;

  it.each(COMMANDS)('below its limit lets %s through, at its limit not', async (command) => {
    await insert({ counter: 6, counterLimit: 7 });
    expect(await send(command)).toBe(0x9100);
    await insert({ counter: 7, counterLimit: 7 });
    expect(await send(command)).toBe(0x919d);
    expect(await send('AD0F000000000000')).toBe(0x9100);
  });

  it('without a limit ends with its last number', async () => {
    await insert({ counter: 0xfffffffe });
    expect([await send('DC0301000000'), await send(COMMANDS.at(-1)!), await send('C7')]).toEqual([0x9100, 0x9100, 0x9100]);
    expect(card.fileOf('transaction-mac').counter).toBe(0xffffffff);
    expect((await card.host.raw(parseHex('00A4000C02DF01'))).status).toBe(0x6283);
    expect(await send('DC0301000000')).toBe(0x919d);
  });

  it.each([
    [6, 0x919e],
    [7, 0x9100],
  ])('that stands at 7 takes a limit of %i: %i', async (limit, status) => {
    card = new CardUnderTest((image) => changeFile(usableCard(image), 'transaction-mac', { counter: 7 }));
    await card.begin(0);
    expect((await card.host.send(0x5f, [15], concatBytes(parseHex('231F1F'), new Uint8Array([limit, 0, 0, 0])), 'full', 'mac')).status).toBe(status);
  });
});

it('CommitReaderID is refused where nobody may, and where another key may', async () => {
  card = new CardUnderTest(usableCard);
  await card.begin(1);
  expect((await card.host.send(0xc8, [], new Uint8Array(16), 'mac', 'mac')).status).toBe(0x919d);
  card = new CardUnderTest((image) => changeFile(usableCard(image), 'transaction-mac', { rights: { read: 1, write: 15, readWrite: 2, change: 0 } }));
  await card.begin(1);
  expect((await card.host.send(0xc8, [], new Uint8Array(16), 'mac', 'mac')).status).toBe(0x91ae);
});

it('the input is bounded: whoever reads on and on without a commit is stopped', () => {
  const { wallet } = new CardUnderTest();
  const transaction = new Transaction();
  transaction.appendToTmi(wallet, new Uint8Array((1 << 20) - 16), new Uint8Array(1));
  expect(transaction.tmi).toHaveLength(1 << 20);
  expect(() => transaction.appendToTmi(wallet, new Uint8Array(1))).toThrow('MEMORY_ERROR');
});
