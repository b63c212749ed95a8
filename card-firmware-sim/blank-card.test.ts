/** A blank EV2 or EV3 made a wallet by a host that shares no code with the chip, and then loaded and paid with. */
import { beforeEach, describe, expect, it } from 'vitest';
import { CardUnderTest, NONE, UID, ZERO_KEY } from './testing/card.ts';
import { tmvOf } from './testing/host.ts';
import { concatBytes, encodeHex, parseHex } from '#protocol/bytes.ts';
import { createFactoryImage } from './factory-image.ts';
import { hostCrc, LegacyHost } from './testing/legacy-host.ts';
import { secureRandom } from './crypto.ts';
import { VolatileCardMemory } from './card-memory.ts';
import { walletApplication } from './card-image.ts';
import type { Bytes } from '#protocol/bytes.ts';
import type { HostAnswer } from './testing/host.ts';

const CARD_KEY = parseHex('C0'.repeat(16));
const KEYS = ['A0', 'A1', 'A2', 'A3', 'A4'].map((byte) => parseHex(byte.repeat(16)));
const TM_KEY = parseHex('B0'.repeat(16));
const VERSION = 1;
/** AID 4B5301, settings 0B: no free create and delete; five AES keys and ISO identifiers of files; DF 4B53 with the wallet's name. */
const APPLICATION = `01534B0BA5534BA00000039656434103F015400000000B`;

let card: CardUnderTest;

const send = (instruction: number, data: string): Promise<HostAnswer> => card.host.send(instruction, [], parseHex(data), 'mac', 'mac');
const list = async (instruction: number, header: readonly number[] = []): Promise<string> => encodeHex(await ok(card.host.send(instruction, header, NONE, 'mac', 'mac')));

async function ok(answer: Promise<HostAnswer>): Promise<Bytes> {
  const { status, data } = await answer;
  expect(status.toString(16)).toBe('9100');
  return data;
}

async function authenticate(keyNo: number, key: Bytes): Promise<void> {
  expect((await card.host.authenticate(keyNo, key)).toString(16)).toBe('9100');
}

function changeKey(keyNo: number): Promise<HostAnswer> {
  const next = KEYS[keyNo]!;
  return card.host.send(0xc4, [keyNo], concatBytes(next, new Uint8Array([VERSION]), hostCrc(next)), 'full', 'mac');
}

/** The card level: its key to AES, then only with that key are applications created and deleted. */
async function closeCardLevel(): Promise<void> {
  const legacy = new LegacyHost(card.host);
  await ok(card.host.native(0x5a, new Uint8Array(3)));
  expect(await legacy.authenticate(ZERO_KEY)).toBe(0x9100);
  await ok(legacy.changeToAes(CARD_KEY, VERSION));
  await authenticate(0, CARD_KEY);
  expect(await ok(card.host.send(0x51, [], NONE, 'mac', 'full'))).toEqual(UID);
  await ok(card.host.send(0x54, [], parseHex('0B'), 'full', 'mac'));
}

async function personalise(): Promise<void> {
  await closeCardLevel();
  await ok(send(0xca, APPLICATION));
  await ok(card.host.native(0x5a, parseHex('01534B')));
  await authenticate(0, ZERO_KEY);
  await ok(send(0xcc, '0303301F00000000A08601000000000000'));
  await ok(send(0xc0, '0101EF033011100000050000'));
  await ok(card.host.send(0xce, [...parseHex('0F03F01F02')], concatBytes(TM_KEY, new Uint8Array([VERSION])), 'full', 'mac'));
  for (const keyNo of [1, 2, 3, 4]) await ok(changeKey(keyNo));
  expect(await ok(card.host.send(0xc4, [0], concatBytes(KEYS[0]!, new Uint8Array([VERSION])), 'full', 'plain'))).toEqual(NONE);
}

describe.each(['ev2', 'ev3'] as const)('a blank card of profile %s', (profile) => {
  beforeEach(() => {
    card = new CardUnderTest(undefined, { memory: new VolatileCardMemory(createFactoryImage({ profile, uid: UID, random: secureRandom })) });
  });

  it('says what it is, and how much is free', async () => {
    const frames = [await card.host.native(0x60), await card.host.native(0xaf), await card.host.native(0xaf)];
    expect(frames.map(({ status }) => status)).toEqual([0x91af, 0x91af, 0x9100]);
    const major = profile === 'ev2' ? ['1200', '0201'] : ['3300', '0300'];
    expect(frames.map(({ data }) => encodeHex(data))).toEqual([`040101${major[0]}1805`, `040101${major[1]}1805`, `${encodeHex(UID)}FFFFFFFFFF4017`]);
    expect(encodeHex(await ok(card.host.native(0x6e)))).toBe('001200');
    expect(encodeHex(await ok(card.host.native(0x45)))).toBe('0F01');
    expect(await ok(card.host.native(0x6a))).toEqual(NONE);
    expect(await ok(card.host.native(0x6d))).toEqual(NONE);
    expect(walletApplication(card.memory.image)).toBeUndefined();
  });

  it('is personalised to what a Light is issued as, found by the same ISO SELECT, with its card level closed', async () => {
    await personalise();
    await card.host.select();
    expect(await card.host.authenticate(0, ZERO_KEY)).toBe(0x91ae);
    await authenticate(0, KEYS[0]!);
    for (const keyNo of [0, 1, 2, 3, 4]) expect(await list(0x64, [keyNo])).toBe('01');
    expect(await list(0x45)).toBe('0BA5');
    expect(await list(0x6f)).toBe('03010F');
    expect(await list(0x61)).toBe('01EF');
    expect(await list(0xf5, [3])).toBe('0203301F00000000A08601000000000000');
    expect(await list(0xf5, [1])).toBe('04033011100000050000000000');
    expect(await list(0xf5, [15])).toBe('0503F01F0201');
    await ok(card.host.native(0x5a, new Uint8Array(3)));
    expect(encodeHex(await ok(card.host.native(0x6d)))).toBe('01534B534BA00000039656434103F015400000000B');
    expect((await card.host.native(0xca, parseHex('02534B0F81'))).status).toBe(0x91ae);
    expect((await card.host.native(0xda, parseHex('01534B'))).status).toBe(0x91ae);
    expect((await card.host.native(0xfc)).status).toBe(0x91ae);
  });

  it('then key 3 loads, key 1 pays, each in one commit whose TMV the holder of the key can compute', async () => {
    await personalise();
    await card.host.select();
    await authenticate(3, KEYS[3]!);
    await ok(card.writeRecord(parseHex('01'.repeat(16))));
    await ok(card.credit(10_000));
    await ok(card.commit());
    await authenticate(1, KEYS[1]!);
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
    expect(card.fileOf('value').value).toBe(9580);
    expect(card.fileOf('cyclic').records).toHaveLength(2);
  });

  it('then who can pay cannot load, and only the master keys change what there is', async () => {
    await personalise();
    await card.host.select();
    await authenticate(1, KEYS[1]!);
    expect((await card.credit(1)).status).toBe(0x91ae);
    for (const keyNo of [1, 2, 3, 4]) {
      await authenticate(keyNo, KEYS[keyNo]!);
      expect((await changeKey(keyNo)).status).toBe(0x91ae);
      await authenticate(keyNo, KEYS[keyNo]!);
      expect((await card.host.send(0xdf, [3], NONE, 'mac', 'mac')).status).toBe(0x91ae);
      await authenticate(keyNo, KEYS[keyNo]!);
      expect((await send(0xcd, '0202EF03301F100000')).status).toBe(0x91ae);
      await authenticate(keyNo, KEYS[keyNo]!);
      expect((await card.host.send(0x54, [], parseHex('0F'), 'full', 'mac')).status).toBe(0x91ae);
    }
  });

  it('is blank again after FormatPICC, but for its key and settings', async () => {
    await personalise();
    await ok(card.host.native(0x5a, new Uint8Array(3)));
    await authenticate(0, CARD_KEY);
    await ok(card.host.send(0xfc, [], NONE, 'mac', 'mac'));
    expect((await card.host.native(0xca, parseHex('02534B0F81'))).status).toBe(0x91ae);
    const { picc, applications } = card.memory.image;
    expect([applications, picc.lostBytes, picc.keySettings, picc.masterKey?.type]).toEqual([[], 0, 0x0b, 'aes']);
    expect(encodeHex(await ok(card.host.native(0x6e)))).toBe('001200');
  });
});
