/** Applications, key settings and memory of an EV2 or EV3, command by command. */
import { beforeEach, describe, expect, it } from 'vitest';
import { CardUnderTest, NONE, UID, ZERO_KEY } from './testing/card.ts';
import { concatBytes, encodeHex, encodeUintLE, parseHex } from '#protocol/bytes.ts';
import { createFactoryImage } from './factory-image.ts';
import { hostCrc } from './testing/legacy-host.ts';
import { secureRandom } from './crypto.ts';
import { VolatileCardMemory } from './card-memory.ts';
import type { Bytes } from '#protocol/bytes.ts';
import type { CardImage } from './card-image.ts';
import type { HostAnswer } from './testing/host.ts';

const CARD_KEY = parseHex('C0'.repeat(16));
const NEW_KEY = parseHex('D0'.repeat(16));

let card: CardUnderTest;

/** A card whose master key is AES already. */
function insert(keySettings = 0x0f): void {
  const image: CardImage = createFactoryImage({ profile: 'ev2', uid: UID, random: secureRandom });
  const masterKey = { type: 'aes', value: CARD_KEY, version: 0, failures: 0, failuresInARow: 0 } as const;
  card = new CardUnderTest(undefined, { memory: new VolatileCardMemory({ ...image, picc: { ...image.picc, masterKey, keySettings } }) });
}

beforeEach(() => insert());

const plain = (instruction: number, hex = ''): Promise<HostAnswer> => card.host.native(instruction, parseHex(hex));
const maced = (instruction: number, hex = ''): Promise<HostAnswer> => card.host.send(instruction, [], parseHex(hex), 'mac', 'mac');
const status = async (answer: Promise<HostAnswer>): Promise<string> => (await answer).status.toString(16);

async function ok(answer: Promise<HostAnswer>): Promise<Bytes> {
  const { status: word, data } = await answer;
  expect(word.toString(16)).toBe('9100');
  return data;
}

async function authenticate(keyNo: number, key: Bytes = ZERO_KEY): Promise<void> {
  expect((await card.host.authenticate(keyNo, key)).toString(16)).toBe('9100');
}

/** An application of AID 000001 and three keys, selected. */
async function application(keySettings: string): Promise<void> {
  await ok(plain(0xca, `010000${keySettings}83`));
  await ok(plain(0x5a, '010000'));
}

describe('CreateApplication', () => {
  it.each([
    ['a byte short', '0100000F', '917e'],
    ['an ISO identifier that its settings do not announce', '0100000F810110', '917e'],
    ['no ISO identifier that its settings announce', '0100000FA1', '917e'],
    ['half an ISO identifier', '0100000FA101', '917e'],
    ['a name of 17 bytes', `0100000FA10110${'41'.repeat(17)}`, '917e'],
    ['no KeySett3 that its settings announce', '0100000F91', '917e'],
    ['the AID of the card level', '0000000F81', '919e'],
    ['no key', '0100000F80', '919e'],
    ['15 keys', '0100000F8F', '919e'],
    ['DES keys', '0100000F01', '919e'],
    ['three-key triple-DES keys', '0100000F41', '919e'],
    ['key sets', '0100000F9101', '919e'],
    ['a change key that it does not have', '0100001F81', '919e'],
    ['the ISO identifier of the card level', '0100000FA1003F', '919e'],
    ['a reserved ISO identifier', '0100000FA1FF3F', '919e'],
  ])('with %s is refused', async (_, data, expected) => {
    expect(await status(plain(0xca, data))).toBe(expected);
    expect(card.memory.image.applications).toEqual([]);
  });

  it.each([
    ['14 keys', '0100000F8E', '0F8E'],
    ['an empty KeySett3', '0100000F9100', '0F81'],
    ['an ISO identifier and no name', '0100000FA10110', '0FA1'],
    ['keys that change themselves', '010000EF83', 'EF83'],
    ['keys that nobody changes', '010000FF83', 'FF83'],
  ])('with %s is done, and its key settings say so', async (_, data, settings) => {
    await ok(plain(0xca, data));
    await ok(plain(0x5a, '010000'));
    expect(encodeHex(await ok(plain(0x45)))).toBe(settings);
    await authenticate(0);
  });

  it.each([
    ['AID', '0100000FA10210'],
    ['ISO identifier', '0200000FA10110'],
    ['name', '0200000FA1021041'],
  ])('with the %s of another is a duplicate', async (_, data) => {
    await ok(plain(0xca, '0100000FA1011041'));
    expect(await status(plain(0xca, data))).toBe('91de');
  });

  it('needs the master key where settings say so, and the card level always', async () => {
    insert(0x0b);
    expect(await status(plain(0xca, '0100000F81'))).toBe('91ae');
    await authenticate(0, CARD_KEY);
    await ok(maced(0xca, '0100000F81'));
    await ok(plain(0x5a, '010000'));
    await authenticate(0);
    expect(await status(maced(0xca, '0200000F81'))).toBe('919d');
  });
});

describe('SelectApplication', () => {
  it('ends the session, in plain; an unknown one is A0 and leaves the selection', async () => {
    await application('0F');
    await authenticate(0);
    expect(await plain(0x5a, '000000')).toEqual({ status: 0x9100, data: NONE });
    expect(await status(plain(0xfc))).toBe('91ae');
    await ok(plain(0x5a, '010000'));
    expect(await status(plain(0x5a, '020000'))).toBe('91a0');
    await authenticate(2);
    expect(await status(plain(0x5a, '0100'))).toBe('917e');
    expect(await status(plain(0x5a, '010000020000'))).toBe('917e');
  });

  it('selects also by name and by ISO identifier', async () => {
    await ok(plain(0xca, '0100000FA10110414243'));
    for (const select of ['00A4040C0341424300', '00A4000C02100100']) {
      await ok(plain(0x5a, '000000'));
      expect((await card.host.raw(parseHex(select))).status).toBe(0x9000);
      await authenticate(0);
    }
    expect((await card.host.raw(parseHex('00A4040C024142'))).status).toBe(0x6a82);
  });

  it('shows of a large file control information what one answer holds', async () => {
    await ok(plain(0xca, '0100000FA10110414243'));
    await ok(plain(0x5a, '010000'));
    await ok(plain(0xcd, '1F01EF00EEEE000400'));
    await ok(plain(0x8d, `1F000000030000112233`));
    const answer = await card.chip.process(parseHex('00A404000341424300'));
    expect([answer.length, encodeHex(answer.slice(0, 4)), encodeHex(answer.slice(-2))]).toEqual([255, '11223300', '9000']);
  });
});

describe('lists', () => {
  it('of AIDs come 19 a frame', async () => {
    for (let aid = 1; aid <= 40; aid++) await ok(card.host.native(0xca, concatBytes(encodeUintLE(aid, 3), parseHex('0F81'))));
    const frames = [await plain(0x6a), await plain(0xaf), await plain(0xaf)];
    expect(frames.map(({ status: word, data }) => [word, data.length])).toEqual([[0x91af, 57], [0x91af, 57], [0x9100, 6]]);
    expect(encodeHex(frames[2]!.data)).toBe('270000280000');
  });

  it('of DF names come one a frame, under a session with one MAC at the end, and leave out who has no identifier', async () => {
    await ok(plain(0xca, '0100000FA1011041'));
    await ok(plain(0xca, '0200000F81'));
    await ok(plain(0xca, '0300000FA10310'));
    await authenticate(0, CARD_KEY);
    const first = await card.host.native(0x6d, card.host.protect(0x6d, NONE, NONE, 'mac'));
    const second = await plain(0xaf);
    expect([first.status, second.status, encodeHex(first.data)]).toEqual([0x91af, 0x9100, '010000011041']);
    card.host.session!.counter++;
    expect(encodeHex(card.host.opened(0, concatBytes(first.data, second.data), 'mac'))).toBe('0100000110410300000310');
  });

  it('are closed to others than the master key where settings say so', async () => {
    insert(0x0d);
    for (const list of [0x6a, 0x6d, 0x45]) expect(await status(plain(list))).toBe('91ae');
    await authenticate(0, CARD_KEY);
    for (const list of [0x6a, 0x6d, 0x45]) await ok(maced(list));
    await ok(maced(0xca, '0100000D81'));
    await ok(plain(0x5a, '010000'));
    for (const list of ['6f', '61', '45']) expect(await status(plain(parseInt(list, 16)))).toBe('91ae');
    expect(await status(plain(0xf5, '00'))).toBe('91ae');
    await authenticate(0);
    await ok(maced(0x6f));
  });

  it('of the card level are not given inside an application', async () => {
    await application('0F');
    for (const list of [0x6a, 0x6d, 0xfc]) expect(await status(plain(list))).toBe('919d');
  });
});

describe('DeleteApplication', () => {
  it('is for the master key of the card level, gives no memory back, and the place may be taken again', async () => {
    await application('0F');
    await ok(plain(0x5a, '000000'));
    const free = encodeHex(await ok(plain(0x6e)));
    expect(await status(plain(0xda, '010000'))).toBe('91ae');
    await authenticate(0, CARD_KEY);
    expect(await status(maced(0xda, '020000'))).toBe('91a0');
    await authenticate(0, CARD_KEY);
    await ok(maced(0xda, '010000'));
    expect(encodeHex(await ok(maced(0x6e)))).toBe(free);
    expect(await ok(maced(0x6a))).toEqual(NONE);
    await ok(maced(0xca, '0100000F81'));
  });

  it('is for an application itself too, while the card level lets go freely; its answer is the last of the session', async () => {
    await ok(plain(0xca, '0200000F81'));
    await application('0F');
    await authenticate(1);
    expect(await status(maced(0xda, '010000'))).toBe('91ae');
    await authenticate(0);
    expect(await status(maced(0xda, '020000'))).toBe('919d');
    await authenticate(0);
    await ok(maced(0xda, '010000'));
    expect(encodeHex(await ok(plain(0x6a)))).toBe('020000');
    expect(await status(plain(0xfc))).toBe('91ae');
  });

  it('is not for an application itself once the card level is closed', async () => {
    await application('0F');
    await ok(plain(0x5a, '000000'));
    await authenticate(0, CARD_KEY);
    await ok(card.host.send(0x54, [], parseHex('0B'), 'full', 'mac'));
    await ok(plain(0x5a, '010000'));
    await authenticate(0);
    expect(await status(maced(0xda, '010000'))).toBe('919d');
  });
});

describe('memory', () => {
  it('is full at some time, for applications and files; only FormatPICC gives back what was deleted', async () => {
    await application('0F');
    await ok(plain(0xcd, '00000000801100'));
    expect(await status(plain(0xcb, '01000000001000'))).toBe('910e');
    expect(await status(plain(0xcd, '01000000FFFFFF'))).toBe('910e');
    expect(await status(plain(0xc1, '01000000FFFFFFFFFFFF'))).toBe('910e');
    await ok(plain(0xdf, '00'));
    expect(encodeHex(await ok(plain(0x6e)))).toBe('200000');
    expect(await status(card.host.native(0xce, concatBytes(parseHex('0F00000F02'), new Uint8Array(17))))).toBe('910e');
    await ok(plain(0xcc, '0100000000000000FFFFFF7F0000000000'));
    await ok(plain(0x5a, '000000'));
    expect(await status(plain(0xca, '0200000F81'))).toBe('910e');
    await authenticate(0, CARD_KEY);
    await ok(maced(0xfc));
    expect(encodeHex(await ok(plain(0x6e)))).toBe('001200');
    await ok(plain(0xca, '0200000F81'));
  });
});

describe('key settings', () => {
  const change = (keyNo: number, data: Bytes): Promise<HostAnswer> => card.host.send(0xc4, [keyNo], data, 'full', 'mac');
  const other = (): Bytes => concatBytes(NEW_KEY, new Uint8Array([1]), hostCrc(NEW_KEY));
  const own = concatBytes(NEW_KEY, new Uint8Array([1]));

  /** By whom each key may be changed: key settings, session key, key to change, status. */
  it.each([
    ['0F', 0, 1, '9100'],
    ['0F', 1, 2, '91ae'],
    ['0F', 1, 1, '91ae'],
    ['1F', 1, 2, '9100'],
    ['1F', 0, 2, '91ae'],
    ['1F', 0, 1, '9100'],
    ['1F', 1, 1, '91ae'],
    ['1F', 1, 0, '91ae'],
    ['EF', 2, 2, '9100'],
    ['EF', 0, 2, '91ae'],
    ['EF', 0, 0, '9100'],
    ['FF', 0, 1, '919d'],
    ['FF', 1, 1, '919d'],
    ['FF', 0, 0, '9100'],
    ['0E', 0, 0, '919d'],
    ['0E', 0, 1, '9100'],
    ['0F', 0, 3, '9140'],
  ])('under %s a session with key %i changes key %i: %s', async (settings, sessionKeyNo, keyNo, expected) => {
    await application(settings);
    await authenticate(sessionKeyNo);
    const isOwn = sessionKeyNo === keyNo;
    const answer = isOwn ? card.host.send(0xc4, [keyNo], own, 'full', 'plain') : change(keyNo, other());
    expect(await status(answer)).toBe(expected);
    expect(encodeHex(card.memory.image.applications[0]!.keys[keyNo]?.value ?? ZERO_KEY)).toBe(encodeHex(expected === '9100' ? NEW_KEY : ZERO_KEY));
  });

  it('are changed with the master key, unless they are frozen', async () => {
    await application('0F');
    expect(await status(plain(0x54, '0B'))).toBe('91ae');
    await authenticate(0);
    expect(await status(card.host.send(0x54, [], parseHex('3F'), 'full', 'mac'))).toBe('919e');
    await authenticate(0);
    await ok(card.host.send(0x54, [], parseHex('13'), 'full', 'mac'));
    expect(encodeHex(await ok(maced(0x45)))).toBe('1383');
    expect(await status(card.host.send(0x54, [], parseHex('0F'), 'full', 'mac'))).toBe('919d');
  });

  it('of the card level name no change key', async () => {
    await authenticate(0, CARD_KEY);
    expect(await status(card.host.send(0x54, [], parseHex('1F'), 'full', 'mac'))).toBe('919e');
  });
});

it('the failed authentications of the card level count like all others', async () => {
  expect(await card.host.authenticate(0, ZERO_KEY)).toBe(0x91ae);
  expect(card.memory.image.picc.masterKey).toMatchObject({ type: 'aes', failures: 1 });
  expect(await card.host.authenticate(1, ZERO_KEY)).toBe(0x9140);
});

it.each(['1A', '45', '54', '5A', '6A', '6D', '6E', 'CA', 'DA', 'FC', 'CD', 'CB', 'CC', 'C1', 'C0', 'BD', '3D', 'BB', '3B', 'DB'])('a Light does not know command %s', async (instruction) => {
  const light = new CardUnderTest();
  expect((await light.host.native(parseInt(instruction, 16))).status).toBe(0x911c);
  await light.host.select();
  expect((await light.host.native(parseInt(instruction, 16), new Uint8Array(7))).status).toBe(0x911c);
});
