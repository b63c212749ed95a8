/** The factory's DES key of an EV2 or EV3: its authentication, its session, and the change to AES. */
import { beforeEach, describe, expect, it } from 'vitest';
import { CardUnderTest, UID, ZERO_KEY } from './testing/card.ts';
import { Chip } from './chip.ts';
import { concatBytes, encodeHex, parseHex } from '#protocol/bytes.ts';
import { createFactoryImage } from './factory-image.ts';
import { LegacyHost } from './testing/legacy-host.ts';
import { PROFILES } from './profile.ts';
import { secureRandom } from './crypto.ts';
import { TripleDes, ZERO_DES_BLOCK } from './triple-des.ts';
import { VolatileCardMemory } from './card-memory.ts';
import type { CardImage } from './card-image.ts';

const AES_KEY = parseHex('C0'.repeat(16));

function blank(): CardImage {
  return createFactoryImage({ profile: 'ev3', uid: UID, random: secureRandom });
}

let card: CardUnderTest;
let legacy: LegacyHost;

function insert(image: CardImage = blank()): void {
  card = new CardUnderTest(undefined, { memory: new VolatileCardMemory(image) });
  legacy = new LegacyHost(card.host);
}

beforeEach(() => insert());

describe('triple DES', () => {
  // NIST SP 800-38B, D.5: two-key triple DES.
  const key = new TripleDes(parseHex('4CF15134A2850DD58A3D10BA80570D38'));
  const message = parseHex('6BC1BEE22E409F96E93D7E117393172AAE2D8A571E03AC9C9EB76FAC45AF8E51');

  it.each([
    [0, 'BD2EBF9A3BA00361'],
    [8, '4FF2AB813C53CE83'],
    [20, '62DD1B471902BD4E'],
    [32, '31B1E431DABC4EB8'],
  ])('CMAC of %i bytes is that of the standard', async (length, mac) => {
    expect(encodeHex(await key.cmac(ZERO_DES_BLOCK, message.subarray(0, length)))).toBe(mac);
  });

  it('CBC comes back, of whole blocks only, with keys of 8 and 16 bytes only', async () => {
    for (const length of [0, 8, 24]) expect(await key.decryptCbc(UID_BLOCK, await key.encryptCbc(UID_BLOCK, message.subarray(0, length)))).toEqual(message.slice(0, length));
    await expect(key.encryptCbc(ZERO_DES_BLOCK, new Uint8Array(7))).rejects.toThrow(RangeError);
    for (const length of [0, 7, 15, 24]) expect(() => new TripleDes(new Uint8Array(length))).toThrow(RangeError);
  });
});

const UID_BLOCK = concatBytes(UID, new Uint8Array(1));

/** Recorded with a real card: proxmark3, issue 2961, 2025-08-29. */
it('a recorded authentication and FormatPICC of a real card is answered byte for byte', async () => {
  const chip = new Chip({ memory: new VolatileCardMemory(blank()), random: () => parseHex('99D2F4FF53EF2D54') });
  const say = async (command: string): Promise<string> => encodeHex(await chip.process(parseHex(command)));
  expect(await say('901A0000010000')).toBe('83B879409232725991AF');
  expect(await say('90AF000010CC4506665C229B49BBD7B67113A942F300')).toBe('03FB11800B8204959100');
  expect(await say('90FC000000')).toBe('0A2819F80BA056A09100');
});

describe('from DES to AES', () => {
  it('the factory key authenticates, becomes an AES key, and the session is over', async () => {
    expect(await card.host.authenticate(0, ZERO_KEY)).toBe(0x91ae);
    expect(await legacy.authenticate(ZERO_KEY)).toBe(0x9100);
    const changed = await legacy.changeToAes(AES_KEY, 7);
    expect([changed.status, changed.data.length]).toEqual([0x9100, 0]);
    expect((await card.host.native(0xfc)).status).toBe(0x91ae);
    expect(await legacy.authenticate(ZERO_KEY)).toBe(0x91ae);
    expect(await card.host.authenticate(0, ZERO_KEY)).toBe(0x91ae);
    expect(await card.host.authenticate(0, AES_KEY)).toBe(0x9100);
    expect(encodeHex((await card.host.send(0x64, [0], new Uint8Array(), 'mac', 'mac')).data)).toBe('07');
    expect(encodeHex((await card.host.send(0x45, [], new Uint8Array(), 'mac', 'mac')).data)).toBe('0F81');
  });

  it('a key of two different halves makes a triple-DES session', async () => {
    const key = parseHex('00112233445566778899AABBCCDDEEFF');
    const image = blank();
    insert({ ...image, picc: { ...image.picc, masterKey: { type: '2k3des', value: key, version: 0, failures: 0, failuresInARow: 0 } } });
    expect(await legacy.authenticate(key)).toBe(0x9100);
    expect((await legacy.changeToAes(AES_KEY, 1)).status).toBe(0x9100);
    expect(await card.host.authenticate(0, AES_KEY)).toBe(0x9100);
  });

  it('the AES key is changed again under EV2 secure messaging, with its type in the key number', async () => {
    await legacy.authenticate(ZERO_KEY);
    await legacy.changeToAes(AES_KEY, 1);
    await card.host.authenticate(0, AES_KEY);
    expect((await card.host.send(0xc4, [0x00], concatBytes(ZERO_KEY, new Uint8Array([2])), 'full', 'plain')).status).toBe(0x919e);
    await card.host.authenticate(0, AES_KEY);
    expect((await card.host.send(0xc4, [0x80], concatBytes(ZERO_KEY, new Uint8Array([2])), 'full', 'plain')).status).toBe(0x9100);
    expect(await card.host.authenticate(0, ZERO_KEY)).toBe(0x9100);
  });

  it.each([
    ['a wrong checksum', { change: (plain: Uint8Array<ArrayBuffer>) => plain.map((byte, index) => (index === 17 ? byte ^ 1 : byte)) }, 0x911e],
    ['another key than its checksum says', { change: (plain: Uint8Array<ArrayBuffer>) => plain.map((byte, index) => (index === 0 ? byte ^ 1 : byte)) }, 0x911e],
    ['padding that is not zero', { change: (plain: Uint8Array<ArrayBuffer>) => plain.map((byte, index) => (index === 23 ? 1 : byte)) }, 0x911e],
    ['a block too much', { change: (plain: Uint8Array<ArrayBuffer>) => concatBytes(plain, ZERO_DES_BLOCK) }, 0x917e],
    ['two blocks too much', { change: (plain: Uint8Array<ArrayBuffer>) => concatBytes(plain, ZERO_DES_BLOCK, ZERO_DES_BLOCK) }, 0x917e],
    ['a DES key to be', { header: 0x00 }, 0x919e],
    ['another key number', { header: 0x81 }, 0x9140],
  ])('ChangeKey with %s is refused, changes nothing and ends the session', async (_, options, status) => {
    await legacy.authenticate(ZERO_KEY);
    expect((await legacy.changeToAes(AES_KEY, 1, options)).status).toBe(status);
    expect((await card.host.native(0xfc)).status).toBe(0x91ae);
    expect(card.memory.image).toEqual(blank());
  });

  it('settings that freeze the master key hold', async () => {
    const image = blank();
    insert({ ...image, picc: { ...image.picc, keySettings: 0x0e } });
    await legacy.authenticate(ZERO_KEY);
    expect((await legacy.changeToAes(AES_KEY, 1)).status).toBe(0x919d);
  });
});

describe('the session of the factory key', () => {
  it('is one chain through plain commands, an enciphered answer and the change of the key', async () => {
    await legacy.authenticate(ZERO_KEY);
    expect(encodeHex((await legacy.send(0x45)).data)).toBe('0F01');
    expect(await legacy.cardUid()).toEqual(UID);
    expect((await legacy.send(0xca, parseHex('01534B0F81'))).status).toBe(0x9100);
    expect(encodeHex((await legacy.send(0x6a)).data)).toBe('01534B');
    expect((await legacy.changeToAes(AES_KEY, 1)).status).toBe(0x9100);
    expect(await card.host.authenticate(0, AES_KEY)).toBe(0x9100);
  });

  it('carries ChangeKeySettings enciphered', async () => {
    await legacy.authenticate(ZERO_KEY);
    expect((await legacy.sendEnciphered(0x54, new Uint8Array([0x0b]))).status).toBe(0x9100);
    expect(encodeHex((await legacy.send(0x45)).data)).toBe('0B01');
    expect(card.memory.image.picc.keySettings).toBe(0x0b);
  });

  it('cannot go on with EV2 secure messaging', async () => {
    await legacy.authenticate(ZERO_KEY);
    expect((await card.host.native(0x77, new Uint8Array([0]))).status).toBe(0x919d);
  });

  it('ends with a selection', async () => {
    await legacy.authenticate(ZERO_KEY);
    expect((await card.host.native(0x5a, new Uint8Array(3))).status).toBe(0x9100);
    expect((await card.host.native(0xfc)).status).toBe(0x91ae);
  });
});

describe('AuthenticateISO', () => {
  it('refuses a wrong key, another key number, wrong lengths, and is not for applications', async () => {
    expect(await legacy.authenticate(parseHex('11'.repeat(16)))).toBe(0x91ae);
    expect(await legacy.authenticate(ZERO_KEY, 1)).toBe(0x9140);
    expect((await card.host.native(0x1a)).status).toBe(0x917e);
    await card.host.native(0x1a, new Uint8Array(1));
    expect((await card.host.native(0xaf, new Uint8Array(15))).status).toBe(0x917e);
    await card.host.native(0xca, parseHex('01534B0F81'));
    await card.host.native(0x5a, parseHex('01534B'));
    expect(await legacy.authenticate(ZERO_KEY)).toBe(0x91ae);
  });

  it('ends the session before it with its first pass', async () => {
    card = new CardUnderTest(undefined, { memory: new VolatileCardMemory(blank()), profile: { ...PROFILES.ev3, onInterruption: 'start-anew' } });
    expect(await new LegacyHost(card.host).authenticate(ZERO_KEY)).toBe(0x9100);
    await card.host.native(0x1a, new Uint8Array(1));
    expect((await card.host.native(0x51)).status).toBe(0x91ae);
  });

  it('is interrupted by any other command', async () => {
    await card.host.native(0x1a, new Uint8Array(1));
    expect((await card.host.native(0x6a)).status).toBe(0x91ca);
    expect((await card.host.native(0xaf, new Uint8Array(16))).status).toBe(0x911c);
  });

  it('a Light does not know it', async () => {
    expect(await new LegacyHost(new CardUnderTest().host).authenticate(ZERO_KEY)).toBe(0x911c);
  });
});
