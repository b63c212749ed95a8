/** Files of every type in an application of an EV2 or EV3: made, used, deleted, and reached by the opcodes that take several frames. */
import { beforeEach, describe, expect, it } from 'vitest';
import { CardUnderTest, NONE, UID, ZERO_KEY } from './testing/card.ts';
import { tmvOf } from './testing/host.ts';
import { concatBytes, encodeHex, parseHex, parseUintLE } from '#protocol/bytes.ts';
import { createFactoryImage } from './factory-image.ts';
import { secureRandom } from './crypto.ts';
import { VolatileCardMemory } from './card-memory.ts';
import type { Bytes } from '#protocol/bytes.ts';
import type { HostAnswer } from './testing/host.ts';

let card: CardUnderTest;

const plain = (instruction: number, hex = ''): Promise<HostAnswer> => card.host.native(instruction, parseHex(hex));
const status = async (answer: Promise<HostAnswer>): Promise<string> => (await answer).status.toString(16);

async function ok(answer: Promise<HostAnswer>): Promise<Bytes> {
  const { status: word, data } = await answer;
  expect(word.toString(16)).toBe('9100');
  return data;
}

/** An application of three keys, selected; KeySett2 83, or A3 with ISO identifiers of files. */
async function application(settings2: string): Promise<void> {
  card = new CardUnderTest(undefined, { memory: new VolatileCardMemory(createFactoryImage({ profile: 'ev3', uid: UID, random: secureRandom })) });
  await ok(plain(0xca, `0100000F${settings2}${settings2 === 'A3' ? '0110' : ''}`));
  await ok(plain(0x5a, '010000'));
}

beforeEach(() => application('83'));

describe('what is made', () => {
  it.each([
    ['standard data', 0xcd, '0203EEEE200000', '0003EEEE200000'],
    ['backup data', 0xcb, '0200EEEE200000', '0100EEEE200000'],
    ['value', 0xcc, '0201201100000080FFFFFF7FFBFFFFFF03', '0201201100000080FFFFFF7F0000000003'],
    ['linear records', 0xc1, '0203EEEE100000030000', '0303EEEE100000030000000000'],
    ['cyclic records', 0xc0, '0203EEEE100000030000', '0403EEEE100000030000000000'],
  ])('a file of %s shows itself as it was ordered, can be there once, and be deleted', async (_, instruction, order, settings) => {
    await ok(plain(instruction, order));
    expect(encodeHex(await ok(plain(0xf5, '02')))).toBe(settings);
    expect(await status(plain(instruction, order))).toBe('91de');
    expect(encodeHex(await ok(plain(0x6f)))).toBe('02');
    await ok(plain(0xdf, '02'));
    expect(await status(plain(0xf5, '02'))).toBe('91f0');
    await ok(plain(instruction, order));
  });

  it.each([
    ['file number 20', 0xcd, '2000EEEE200000', '919e'],
    ['secure dynamic messaging', 0xcd, '0240EEEE200000', '919e'],
    ['additional access rights', 0xcd, '0280EEEE200000', '919e'],
    ['a key that is not there', 0xcd, '0200EEE3200000', '919e'],
    ['no content', 0xcd, '0200EEEE000000', '919e'],
    ['a byte short', 0xcd, '0200EEEE2000', '917e'],
    ['an ISO identifier where none is due', 0xcd, '02011000EEEE200000', '917e'],
    ['a value above its limit', 0xcc, '0200EEEE00000000640000006500000000', '919e'],
    ['a value below its limit', 0xcc, '0200EEEE0A000000640000000900000000', '919e'],
    ['an unknown value option', 0xcc, '0200EEEE00000000640000000000000004', '919e'],
    ['records of no length', 0xc1, '0200EEEE000000030000', '919e'],
    ['no records', 0xc1, '0200EEEE100000000000', '919e'],
    ['one cyclic record, which is the shadow', 0xc0, '0200EEEE100000010000', '919e'],
  ])('with %s is refused', async (_, instruction, order, expected) => {
    expect(await status(plain(instruction, order))).toBe(expected);
    expect(card.memory.image.applications[0]!.files).toEqual([]);
  });

  it('one linear record is enough', async () => {
    await ok(plain(0xc1, '0200EEEE100000010000'));
  });

  it('has an ISO identifier of its own where the application asks for it, except value and transaction MAC', async () => {
    await application('A3');
    expect(await status(plain(0xcd, '0200EEEE200000'))).toBe('917e');
    await ok(plain(0xcd, '0202EF00EEEE200000'));
    expect(await status(plain(0xcb, '0302EF00EEEE200000'))).toBe('91de');
    expect(await status(plain(0xcb, '03003F00EEEE200000'))).toBe('919e');
    await ok(plain(0xc0, '0103EF00EEEE100000030000'));
    await ok(plain(0xcc, '0300EEEE00000000640000000000000000'));
    await ok(card.host.native(0xce, concatBytes(parseHex('0F00EFFF02'), new Uint8Array(17))));
    expect(encodeHex(await ok(plain(0x61)))).toBe('02EF03EF');
    expect((await card.host.raw(parseHex('00A4020C02EF0300'))).status).toBe(0x9000);
    expect((await card.host.raw(parseHex('00A4020C02EF0400'))).status).toBe(0x6a82);
  });

  it('is for the master key where settings say so', async () => {
    await card.host.authenticate(0, ZERO_KEY);
    await ok(card.host.send(0x54, [], parseHex('0B'), 'full', 'mac'));
    await ok(plain(0x5a, '010000'));
    expect(await status(plain(0xcd, '0200EEEE200000'))).toBe('91ae');
    expect(await status(plain(0xdf, '02'))).toBe('91ae');
    await card.host.authenticate(0, ZERO_KEY);
    await ok(card.host.send(0xcd, [], parseHex('0200EEEE200000'), 'mac', 'mac'));
  });

  it('belongs to an application', async () => {
    await ok(plain(0x5a, '000000'));
    expect(await status(plain(0xcd, '0200EEEE200000'))).toBe('919d');
  });
});

describe('a backup file', () => {
  beforeEach(() => ok(plain(0xcb, '0200EEEE040000')));

  it('takes the memory of its content twice, for the shadow', async () => {
    const free = async (): Promise<number> => parseUintLE(await ok(plain(0x6e)));
    const before = await free();
    await ok(plain(0xcb, '0300EEEE210000'));
    expect(before - (await free())).toBe(128);
    await ok(plain(0xcd, '0400EEEE210000'));
    expect(before - (await free())).toBe(192);
  });

  it('shows what was written from the commit on, and not after an abort or a loss of the field', async () => {
    const read = async (): Promise<string> => encodeHex(await ok(plain(0xad, '02000000000000')));
    await ok(plain(0x8d, '02000000020000AABB'));
    await ok(plain(0x8d, '02030000010000CC'));
    expect(await read()).toBe('00000000');
    await ok(plain(0xc7));
    expect(await read()).toBe('AABB00CC');
    await ok(plain(0x8d, '02000000010000FF'));
    await ok(plain(0xa7));
    await card.chip.reset();
    await ok(plain(0x5a, '010000'));
    expect(await status(plain(0xc7))).toBe('910c');
    expect(await read()).toBe('AABB00CC');
  });
});

describe('a linear record file', () => {
  it('takes records until it is full, newest first, and is emptied by ClearRecordFile', async () => {
    await ok(plain(0xc1, '0200EEEE010000020000'));
    for (const record of ['AA', 'BB']) {
      await ok(plain(0x8b, `02000000010000${record}`));
      await ok(plain(0xc7));
    }
    expect(encodeHex(await ok(plain(0xab, '02000000000000')))).toBe('AABB');
    expect(encodeHex(await ok(plain(0xab, '02000000010000')))).toBe('BB');
    expect(await status(plain(0x8b, '02000000010000CC'))).toBe('91be');
    await ok(plain(0xeb, '02'));
    await ok(plain(0xc7));
    await ok(plain(0x8b, '02000000010000CC'));
    await ok(plain(0xc7));
    expect(encodeHex(await ok(plain(0xab, '02000000000000')))).toBe('CC');
  });
});

/** A command cut into frames; the answer's frames put together. */
async function inFrames(instruction: number, payload: Bytes, cuts: readonly number[]): Promise<HostAnswer & { frames: number }> {
  let answer = await card.host.native(instruction, payload.slice(0, cuts[0]));
  for (const [index, cut] of cuts.entries()) {
    expect([answer.status, answer.data.length]).toEqual([0x91af, 0]);
    answer = await card.host.native(0xaf, payload.slice(cut, cuts[index + 1]));
  }
  let data = answer.data;
  let frames = 1;
  for (; answer.status === 0x91af; frames++) {
    answer = await card.host.native(0xaf);
    data = concatBytes(data, answer.data);
  }
  return { status: answer.status, data, frames };
}

describe('the opcodes from before EV2', () => {
  const content = new Uint8Array(400).map((_, index) => index);

  it('write and read in as many frames as they need, counted once, with one MAC over all', async () => {
    await ok(plain(0xcd, '02030000900100'));
    await card.host.authenticate(0, ZERO_KEY);
    const header = parseHex('02000000900100');
    const written = await inFrames(0x3d, card.host.protect(0x3d, header, content, 'full'), [52, 111, 300]);
    card.host.session!.counter++;
    expect(written.status).toBe(0x9100);
    expect(card.host.opened(0, written.data, 'mac')).toEqual(NONE);
    const read = await inFrames(0xbd, card.host.protect(0xbd, header, NONE, 'mac'), []);
    card.host.session!.counter++;
    expect([read.status, read.frames]).toEqual([0x9100, 8]);
    expect(card.host.opened(0, read.data, 'full')).toEqual(content);
    expect(await status(card.host.send(0xad, [...header], NONE, 'mac', 'full'))).toBe('917e');
  });

  it('answer the last frame last: too much, nothing, and something else in between are refused', async () => {
    await ok(plain(0xcd, '0200EEEE900100'));
    await ok(card.host.native(0x3d, concatBytes(parseHex('02000000050000'), content.subarray(0, 5))));
    expect(await status(card.host.native(0x3d, concatBytes(parseHex('02000000050000'), content.subarray(0, 6))))).toBe('917e');
    expect(await status(plain(0x3d, '0200000005000000'))).toBe('91af');
    expect(await status(card.host.native(0xaf, content.subarray(0, 5)))).toBe('917e');
    expect(await status(plain(0x3d, '0200000005000000'))).toBe('91af');
    expect(await status(plain(0xaf))).toBe('917e');
    expect(await status(plain(0x3d, '0200000005000000'))).toBe('91af');
    expect(await status(plain(0x6f))).toBe('91ca');
    expect(await status(plain(0x3d, '020000'))).toBe('917e');
    expect(await status(plain(0x3d, '02000000FFFFFF00'))).toBe('91be');
    expect(await status(plain(0x8d, '0200000005000000'))).toBe('917e');
    expect(await status(plain(0xbd, '020000000000'))).toBe('917e');
  });

  it('a read without its MAC is refused at once', async () => {
    await ok(plain(0xcd, '02010000900100'));
    await card.host.authenticate(0, ZERO_KEY);
    expect(await status(plain(0xbd, '02000000010000'))).toBe('917e');
  });

  it('go into the transaction MAC as they were sent', async () => {
    const tmKey = parseHex('B0'.repeat(16));
    await ok(plain(0xc0, '0100EEEE020000030000'));
    await ok(plain(0xcb, '0200EEEE040000'));
    await ok(card.host.native(0xce, concatBytes(parseHex('0F00FFEF02'), tmKey, new Uint8Array(1))));
    await ok(plain(0x3b, '01000000020000AABB'));
    await ok(plain(0xc7, '01'));
    await ok(plain(0x3d, '02000000010000CC'));
    await ok(plain(0xbd, '02000000010000'));
    await ok(plain(0xdb, '01000000000000010000DD'));
    const records = await ok(plain(0xbb, '01000000010000'));
    expect(encodeHex(records)).toBe('AABB');
    const committed = await ok(plain(0xc7, '01'));
    const block = (hex: string): Bytes => parseHex(hex.padEnd(32, '0'));
    const tmi = [block('3D02000000010000'), block('CC'), block('BD02000000010000'), block('00'), block('DB01000000000000010000'), block('DD'), block('BB01000000010000'), block('AABB')];
    expect(encodeHex(committed)).toBe(`02000000${tmvOf(tmKey, 2, UID, ...tmi)}`);
    expect(encodeHex(await ok(plain(0xbb, '01000000010000')))).toBe('DDBB');
  });
});
