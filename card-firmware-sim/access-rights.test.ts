/** Who may do what with a file, by which key, and how a refusal is called. */
import { beforeEach, describe, expect, it } from 'vitest';
import { CardUnderTest, changeFile, changeWallet, NONE, usableCard, walletOf, ZERO_KEY } from './testing/card.ts';
import { encodeHex, parseHex } from '#protocol/bytes.ts';
import { encodeInt32LE } from './card-image.ts';
import type { AccessRights } from './card-image.ts';
import type { HostMode } from './testing/host.ts';

let card: CardUnderTest;

beforeEach(() => {
  card = new CardUnderTest();
});

describe('access rights', () => {
  const rights = (read: number, write: number, readWrite: number): AccessRights => ({ read, write, readWrite, change: 0 });
  const commands = {
    getValue: { apdu: '906C0000010300', needs: 'read write readWrite' },
    debit: { apdu: '90DC000005030000000000', needs: 'read write readWrite' },
    limitedCredit: { apdu: '901C000005030000000000', needs: 'write readWrite' },
    credit: { apdu: '900C000005030000000000', needs: 'readWrite' },
    readRecords: { apdu: '90AB0000070100000000000000', needs: 'read readWrite' },
    writeRecord: { apdu: '908B000008010000000100000000', needs: 'write readWrite' },
    updateRecord: { apdu: '90BA00000B01000000000000010000FF00', needs: 'readWrite' },
    clearRecordFile: { apdu: '90EB0000010100', needs: 'write readWrite' },
    readData: { apdu: '90AD0000070000000001000000', needs: 'read readWrite' },
    writeData: { apdu: '908D000008000000000100000000', needs: 'write readWrite' },
  };

  function insert(given: AccessRights): void {
    card = new CardUnderTest((image) => {
      const files = walletOf(image).files.map((file) => (file.type === 'transaction-mac' ? file : { ...file, rights: given }));
      const open = changeFile(changeWallet(image, (wallet) => ({ ...wallet, files })), 'value', { freeGetValue: false });
      return changeFile(open, 'cyclic', { records: [new Uint8Array(16)] });
    });
  }

  const names = ['read', 'write', 'readWrite'] as const;
  const table = Object.entries(commands).flatMap(([name, { apdu, needs }]) => names.map((right) => [name, right, needs.split(' ').includes(right), apdu] as const));

  it.each(table)('%s with only %s free: allowed is %s', async (_, right, isAllowed, apdu) => {
    const free = (one: string): number => (one === right ? 0xe : 0xf);
    insert(rights(free('read'), free('write'), free('readWrite')));
    await card.host.select();
    expect((await card.host.raw(parseHex(apdu))).status).toBe(isAllowed ? 0x9100 : 0x919d);
  });

  it.each(table)('%s without a session, only %s given to a key: AE if it could grant (%s), else 9D', async (_, right, couldGrant, apdu) => {
    const keyed = (one: string): number => (one === right ? 2 : 0xf);
    insert(rights(keyed('read'), keyed('write'), keyed('readWrite')));
    await card.host.select();
    expect((await card.host.raw(parseHex(apdu))).status).toBe(couldGrant ? 0x91ae : 0x919d);
  });

  it('a right that comes from FREE alone travels in plain even in a session, and is counted', async () => {
    insert(rights(0xe, 2, 0xf));
    await card.begin(1);
    expect(encodeHex((await card.host.send(0x6c, [3], NONE, 'plain', 'plain')).data)).toBe('00000000');
    expect((await card.host.send(0x64, [0], NONE, 'mac', 'mac')).status).toBe(0x9100);
  });

  it('the key that has the right uses the mode of the file', async () => {
    insert(rights(0xe, 2, 0xf));
    await card.host.select();
    await card.host.authenticate(2, ZERO_KEY);
    expect(encodeHex((await card.getValue()).data)).toBe('00000000');
  });

  it.each([
    ['plain', 0],
    ['mac', 1],
    ['full', 3],
  ] as const)('a file of mode %s is read and written in it', async (mode: HostMode, value) => {
    card = new CardUnderTest((image) => changeFile(usableCard(image), 'value', { mode: value }));
    await card.begin(1);
    expect(encodeHex((await card.host.send(0x6c, [3], NONE, mode === 'full' ? 'mac' : mode, mode)).data)).toBe('88130000');
    expect((await card.host.send(0xdc, [3], encodeInt32LE(1), mode, mode === 'full' ? 'mac' : mode)).status).toBe(0x9100);
  });
});
