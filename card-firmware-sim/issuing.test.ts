/** Issuing, and the payment and load after it, done to a factory card by a host that shares no code with the chip. */
import { crc32 as crc32OfZlib } from 'node:zlib';
import { beforeEach, describe, expect, it } from 'vitest';
import { CardUnderTest, NONE, UID, ZERO_KEY } from './testing/card.ts';
import { tmvOf } from './testing/host.ts';
import { concatBytes, encodeHex, encodeUintLE, parseHex } from '#protocol/bytes.ts';
import { crc32 } from './crc32.ts';
import type { Bytes } from '#protocol/bytes.ts';
import type { HostAnswer } from './testing/host.ts';

const KEYS = ['A0', 'A1', 'A2', 'A3', 'A4'].map((byte) => parseHex(byte.repeat(16)));
const TM_KEY = parseHex('B0'.repeat(16));
const VERSION = 1;

let card: CardUnderTest;

beforeEach(async () => {
  card = new CardUnderTest();
  await card.begin(0);
});

/** By the host's own arithmetic: zlib's CRC-32 with its final inversion undone. */
function hostCrc(key: Bytes): Bytes {
  return encodeUintLE((crc32OfZlib(key) ^ 0xffffffff) >>> 0, 4);
}

function changeKey(keyNo: number, next: Bytes, old: Bytes, version = VERSION): Promise<HostAnswer> {
  const difference = next.map((byte, index) => byte ^ old[index]!);
  return card.host.send(0xc4, [keyNo], concatBytes(difference, new Uint8Array([version]), hostCrc(next)), 'full', 'mac');
}

function changeOwnKey(next: Bytes): Promise<HostAnswer> {
  return card.host.send(0xc4, [0], concatBytes(next, new Uint8Array([VERSION])), 'full', 'plain');
}

const configureValue = (data: string): Promise<HostAnswer> => card.host.send(0x5c, [9], parseHex(data), 'full', 'mac');
const changeSettings = (file: number, data: string): Promise<HostAnswer> => card.host.send(0x5f, [file], parseHex(data), 'full', 'mac');
const createMacFile = (header: string): Promise<HostAnswer> => card.host.send(0xce, [...parseHex(header)], concatBytes(TM_KEY, new Uint8Array([VERSION])), 'full', 'mac');
const deleteFile = (number: number): Promise<HostAnswer> => card.host.send(0xdf, [number], NONE, 'mac', 'mac');

async function ok(answer: Promise<HostAnswer>): Promise<Bytes> {
  const { status, data } = await answer;
  expect(status.toString(16)).toBe('9100');
  return data;
}

async function issue(): Promise<void> {
  expect(await ok(card.host.send(0x51, [], NONE, 'mac', 'full'))).toEqual(UID);
  await ok(configureValue('0300000000A08601000000000000'));
  await ok(changeSettings(3, '03301F'));
  await ok(changeSettings(1, '033011'));
  await ok(deleteFile(15));
  await ok(createMacFile('0F03F01F02'));
  for (const keyNo of [1, 2, 3, 4]) await ok(changeKey(keyNo, KEYS[keyNo]!, ZERO_KEY));
  expect(await ok(changeOwnKey(KEYS[0]!))).toEqual(NONE);
}

describe('issuing as the architecture asks', () => {
  it('ends with new keys, rights, limits and transaction-MAC key, and the session with key 0', async () => {
    await issue();
    expect((await card.host.native(0x51)).status).toBe(0x91ae);
    expect(await card.host.authenticate(0, ZERO_KEY)).toBe(0x91ae);
    expect(await card.host.authenticate(0, KEYS[0]!)).toBe(0x9100);
    for (const keyNo of [0, 1, 2, 3, 4]) expect(await ok(card.host.send(0x64, [keyNo], NONE, 'mac', 'mac'))).toEqual(new Uint8Array([VERSION]));
    expect(encodeHex(await ok(card.host.send(0xf5, [3], NONE, 'mac', 'mac')))).toBe('0203301F00000000A08601000000000000');
    expect(encodeHex(await ok(card.host.send(0xf5, [1], NONE, 'mac', 'mac')))).toBe('04033011100000050000000000');
    expect(encodeHex(await ok(card.host.send(0xf5, [15], NONE, 'mac', 'mac')))).toBe('0503F01F0201');
  });

  it('then key 3 loads, key 1 pays, each in one commit whose TMV the holder of the key can compute', async () => {
    await issue();
    expect(await card.host.authenticate(3, KEYS[3]!)).toBe(0x9100);
    await ok(card.writeRecord(parseHex('01'.repeat(16))));
    await ok(card.credit(10_000));
    await ok(card.commit());
    expect(await card.host.authenticate(1, KEYS[1]!)).toBe(0x9100);
    const balance = await ok(card.getValue());
    const record = await ok(card.readRecords(0, 1));
    expect(encodeHex((await ok(card.readCounter())).slice(0, 4))).toBe('01000000');
    const log = parseHex('02'.repeat(16));
    await ok(card.writeRecord(log));
    await ok(card.debit(420));
    const committed = await ok(card.commit());
    expect(encodeHex(await ok(card.getValue()))).toBe('6C250000');
    const blocks = [
      concatBytes(parseHex('6C03'), balance, new Uint8Array(10)),
      concatBytes(parseHex('AB01000000010000'), new Uint8Array(8), record),
      concatBytes(parseHex('8B01000000100000'), new Uint8Array(8), log),
      concatBytes(parseHex('DC03A4010000'), new Uint8Array(10)),
    ];
    expect(encodeHex(committed)).toBe(`02000000${tmvOf(TM_KEY, 2, UID, ...blocks)}`);
  });

  it('then who can pay cannot load, and who can load cannot do what only the master can', async () => {
    await issue();
    await card.host.authenticate(1, KEYS[1]!);
    expect((await card.credit(1)).status).toBe(0x91ae);
    await card.host.authenticate(1, KEYS[1]!);
    expect((await card.limitedCredit(1)).status).toBe(0x91ae);
    await card.host.authenticate(3, KEYS[3]!);
    expect((await changeKey(1, ZERO_KEY, KEYS[1]!)).status).toBe(0x91ae);
    expect((await card.host.native(0x6c, new Uint8Array([3]))).status).toBe(0x91ae);
  });
});

describe('management commands', () => {
  it('the checksum of a key is that of the published example', () => {
    const key = parseHex('01234567890123456789012345678901');
    expect(encodeHex(crc32(key))).toBe('A0A60868');
    expect(hostCrc(key)).toEqual(crc32(key));
  });

  it('ChangeKey refuses a wrong checksum, a wrong length, an unknown key and another key than 0', async () => {
    const wrongSum = concatBytes(KEYS[1]!, new Uint8Array([VERSION, 0, 0, 0, 0]));
    expect((await card.host.send(0xc4, [1], wrongSum, 'full', 'mac')).status).toBe(0x911e);
    await card.begin(0);
    expect((await card.host.send(0xc4, [1], concatBytes(KEYS[1]!, new Uint8Array([VERSION])), 'full', 'mac')).status).toBe(0x917e);
    await card.begin(0);
    expect((await changeKey(0, KEYS[0]!, ZERO_KEY)).status).toBe(0x917e);
    await card.begin(0);
    expect((await changeKey(5, KEYS[0]!, ZERO_KEY)).status).toBe(0x9140);
    await card.begin(1);
    expect((await changeKey(2, KEYS[2]!, ZERO_KEY)).status).toBe(0x91ae);
    expect(card.wallet.keys.every((key) => encodeHex(key.value) === '00'.repeat(16))).toBe(true);
  });

  it('the value file is configured once', async () => {
    await ok(configureValue('0300000000E80300000000000000'));
    expect((await configureValue('0300000000E80300000000000000')).status).toBe(0x919d);
  });

  it.each([
    ['value above the upper limit', '0300000000E8030000E903000000', 0x919e],
    ['value below the lower limit', '0301000000E80300000000000000', 0x919e],
    ['an unknown option', '0300000000E80300000000000004', 0x919e],
    ['a byte missing', '0300000000E803000000000000', 0x917e],
    ['another type of file', '0100000000E80300000000000000', 0x919d],
    ['an unknown file', '0900000000E80300000000000000', 0x91f0],
  ])('configuring the value file with %s is refused', async (_, data, status) => {
    expect((await configureValue(data)).status).toBe(status);
    expect(card.fileOf('value').configured).toBe(false);
  });

  it('an unknown configuration, and one without key 0, are refused', async () => {
    expect((await card.host.send(0x5c, [0x0f], new Uint8Array([0]), 'full', 'mac')).status).toBe(0x919e);
    await card.begin(2);
    expect((await configureValue('0300000000E80300000000000000')).status).toBe(0x91ae);
  });

  it.each([
    ['an unknown key number', 3, '033015', 0x919e],
    ['an unknown option bit', 3, '43301F', 0x919e],
    ['a counter limit where there is no counter', 3, '23301F00000000', 0x917e],
    ['a counter limit without the limit', 15, '23101F', 0x917e],
    ['a transaction-MAC file to be written', 15, '031011', 0x919e],
    ['an unknown file', 9, '03301F', 0x91f0],
  ])('settings with %s are refused', async (_, file, data, status) => {
    expect((await changeSettings(file, data)).status).toBe(status);
  });

  it('settings can carry a counter limit, and show it', async () => {
    await ok(changeSettings(15, '23101F05000000'));
    expect(encodeHex(await ok(card.host.send(0xf5, [15], NONE, 'mac', 'mac')))).toBe('0523101F020005000000');
  });

  it('a Change right of FREE changes in plain, of NEVER not at all', async () => {
    await ok(changeSettings(4, '00EEEE'));
    await card.host.select();
    expect((await card.host.native(0x5f, parseHex('040030FF'))).status).toBe(0x9100);
    expect((await card.host.native(0x5f, parseHex('0400EEEE'))).status).toBe(0x91ae);
    await card.begin(0);
    await ok(changeSettings(4, '003FFF'));
    expect((await changeSettings(4, '00EEEE')).status).toBe(0x919d);
  });

  it('only the transaction-MAC file can be deleted, and only one can be there', async () => {
    expect((await createMacFile('0F03F01F02')).status).toBe(0x91de);
    await card.begin(0);
    expect((await createMacFile('0E03F01F02')).status).toBe(0x919d);
    await card.begin(0);
    expect((await deleteFile(3)).status).toBe(0x919d);
    await card.begin(0);
    await ok(deleteFile(15));
    expect((await deleteFile(15)).status).toBe(0x91f0);
  });

  it.each(['0F03F01F03', '0F03F01102', '0F43F01F02', '2003F01F02', '0F03F51F02'])('a transaction-MAC file described as %s is refused', async (header) => {
    await ok(deleteFile(15));
    expect((await createMacFile(header)).status).toBe(0x919e);
  });

  it('without a transaction-MAC file there is no TMV to return, and commits still work', async () => {
    await ok(deleteFile(15));
    await card.begin(3);
    await ok(card.credit(5));
    expect((await card.commit()).status).toBe(0x919d);
    await card.begin(3);
    await ok(card.credit(5));
    await ok(card.host.send(0xc7, [], NONE, 'mac', 'mac'));
    expect(card.fileOf('value').value).toBe(5);
  });

  it('GetVersion in a session is MACed over all its frames', async () => {
    const first = await card.host.native(0x60, card.host.protect(0x60, NONE, NONE, 'mac'));
    const second = await card.host.native(0xaf);
    const third = await card.host.native(0xaf);
    expect([first.status, second.status, third.status]).toEqual([0x91af, 0x91af, 0x9100]);
    card.host.session!.counter++;
    expect(card.host.opened(0, concatBytes(first.data, second.data, third.data), 'mac')).toHaveLength(28);
    await ok(card.host.send(0x64, [0], NONE, 'mac', 'mac'));
  });
});
