/** SetConfiguration beyond the value file: what the issuer settles for the card, and what this chip does not offer. */
import { beforeEach, describe, expect, it } from 'vitest';
import { aesCbc, DF_NAME_SELECT } from './testing/host.ts';
import { CardUnderTest, factoryImage, ZERO_KEY } from './testing/card.ts';
import { concatBytes, encodeHex, parseHex } from '#protocol/bytes.ts';
import { FileCardMemory } from './file-card-memory.ts';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const WRONG_KEY = parseHex('FF'.repeat(16));

let card: CardUnderTest;

beforeEach(async () => {
  card = new CardUnderTest();
  await card.begin(0);
});

const configure = async (option: number, data: string): Promise<number> => (await card.host.send(0x5c, [option], parseHex(data), 'full', 'mac')).status;

describe('the failed-authentication counter (0A)', () => {
  it('gets another limit and decrement', async () => {
    expect(await configure(0x0a, '0103000200')).toBe(0x9100);
    for (let i = 0; i < 2; i++) expect(await card.host.authenticate(1, WRONG_KEY)).toBe(0x91ae);
    expect(await card.host.authenticate(1, ZERO_KEY)).toBe(0x9100);
    expect(card.wallet.keys[1]).toMatchObject({ failures: 0 });
    for (let i = 0; i < 3; i++) expect(await card.host.authenticate(1, WRONG_KEY)).toBe(0x91ae);
    expect(await card.host.authenticate(1, ZERO_KEY)).toBe(0x919d);
    // Changing the key is the way back.
    await card.host.authenticate(0, ZERO_KEY);
    expect((await card.host.send(0xc4, [1], concatBytes(ZERO_KEY, parseHex('00AAB44413')), 'full', 'mac')).status).toBe(0x9100);
    expect(await card.host.authenticate(1, ZERO_KEY)).toBe(0x9100);
  });

  it('is switched off, whatever the other fields say, and on again', async () => {
    expect(await configure(0x0a, '0000000000')).toBe(0x9100);
    for (let i = 0; i < 60; i++) expect(await card.host.authenticate(1, WRONG_KEY)).toBe(0x91ae);
    expect(card.wallet.keys[1]).toMatchObject({ failures: 0, failuresInARow: 0 });
    await card.begin(0);
    expect(await configure(0x0a, '0101000A00')).toBe(0x9100);
    expect(await card.host.authenticate(1, WRONG_KEY)).toBe(0x91ae);
    expect(await card.host.authenticate(1, ZERO_KEY)).toBe(0x919d);
  });

  it.each([
    ['01000A00', 0x917e],
    ['0100000A0000', 0x917e],
    ['0100000A00', 0x919e],
    ['02E8030A00', 0x919e],
  ])('%s is refused', async (data, status) => {
    expect(await configure(0x0a, data)).toBe(status);
    expect(card.memory.image.picc.configuration.failedAuthentications).toEqual({ isCounted: true, limit: 1000, decrement: 10 });
  });
});

describe('the other options', () => {
  it('05 sets the end of PDcap2, which the card tells at each first authentication', async () => {
    expect(await configure(0x05, '0000000000000000ABCD')).toBe(0x9100);
    const first = await card.host.native(0x71, new Uint8Array([0, 0]));
    const rndB = aesCbc(ZERO_KEY, ZERO_KEY, first.data, 'decrypt');
    const proof = await card.host.native(0xaf, aesCbc(ZERO_KEY, ZERO_KEY, concatBytes(new Uint8Array(16), rndB.subarray(1), rndB.subarray(0, 1))));
    expect(encodeHex(aesCbc(ZERO_KEY, ZERO_KEY, proof.data, 'decrypt').slice(20))).toBe('00000000ABCD000000000000');
  });

  it('06 renames the application, once', async () => {
    expect(await configure(0x06, `85${encodeHex(new TextEncoder().encode('SHOPS'))}${'00'.repeat(11)}02DF`)).toBe(0x9100);
    expect((await card.host.raw(parseHex(DF_NAME_SELECT))).status).toBe(0x6a82);
    expect((await card.host.raw(parseHex('00A4000C02DF01'))).status).toBe(0x6a82);
    expect((await card.host.raw(parseHex('00A4000C02DF02'))).status).toBe(0x9000);
    expect((await card.host.raw(parseHex('00A4040C0553484F505300'))).status).toBe(0x9000);
    await card.host.authenticate(0, ZERO_KEY);
    expect(await configure(0x06, `81${'41'.repeat(16)}03DF`)).toBe(0x919d);
  });

  it.each([
    ['00, no change', 0x00, '00', 0x9100],
    ['00, random UID', 0x00, '02', 0x919d],
    ['00, an unknown bit', 0x00, '04', 0x919e],
    ['00, too long', 0x00, '0000', 0x917e],
    ['04, no change', 0x04, '0000', 0x9100],
    ['04, a bit of it', 0x04, '0004', 0x919e],
    ['04, too short', 0x04, '00', 0x917e],
    ['05, LRP', 0x05, '00000000020000000000', 0x919d],
    ['05, an unknown bit', 0x05, '01000000000000000000', 0x919e],
    ['05, too short', 0x05, '000000000000000000', 0x917e],
    ['06, no length mark', 0x06, `05${'41'.repeat(16)}02DF`, 0x919e],
    ['06, no name', 0x06, `80${'41'.repeat(16)}02DF`, 0x919e],
    ['06, a name too long', 0x06, `91${'41'.repeat(16)}02DF`, 0x919e],
    ["06, the master file's identifier", 0x06, `85${'41'.repeat(16)}003F`, 0x919e],
    ['06, the identifier of nothing', 0x06, `85${'41'.repeat(16)}0000`, 0x919e],
    ['06, the identifier of the selected application', 0x06, `85${'41'.repeat(16)}FF3F`, 0x919e],
    ['06, an identifier kept for the future', 0x06, `85${'41'.repeat(16)}FFFF`, 0x919e],
    ['06, too short', 0x06, `85${'41'.repeat(16)}02`, 0x917e],
    ['02, ATS', 0x02, '0675777102', 0x919e],
    ['03, SAK', 0x03, '20', 0x919e],
    ['0B, hardware', 0x0b, '01', 0x919e],
    ['0C, unknown', 0x0c, '00', 0x919e],
  ])('%s', async (_, option, data, status) => {
    expect(await configure(option, data)).toBe(status);
    if (status !== 0x9100) expect((await card.host.native(0x51)).status).toBe(0x91ae);
  });

  it('all need key 0', async () => {
    await card.begin(1);
    expect(await configure(0x0a, '0103000200')).toBe(0x91ae);
    expect((await card.host.native(0x5c, parseHex('0A0103000200'))).status).toBe(0x91ae);
  });
});

it('the configuration and the failures in a row outlive the power', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'kessai-card-'));
  try {
    const path = join(folder, 'card.json');
    const memory = await FileCardMemory.open(path, factoryImage);
    card = new CardUnderTest(undefined, { memory });
    await card.begin(0);
    await configure(0x0a, '0105000200');
    await card.host.send(0x5c, [0x05], parseHex('0000000000000000ABCD'), 'full', 'mac');
    expect(await card.host.authenticate(1, WRONG_KEY)).toBe(0x91ae);
    const kept = memory.image;
    memory.close();
    const again = await FileCardMemory.open(path);
    expect(again.image).toEqual(kept);
    expect(again.image.applications[0]?.keys[1]).toMatchObject({ failures: 1, failuresInARow: 1 });
    expect(again.image.picc.configuration).toEqual({ failedAuthentications: { isCounted: true, limit: 5, decrement: 2 }, capabilities: parseHex('ABCD'), isRenamed: false });
    again.close();
  } finally {
    await rm(folder, { recursive: true });
  }
});
