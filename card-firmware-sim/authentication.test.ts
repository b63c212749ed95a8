/** Keys and sessions in their corners: what the first pass takes, what a failure leaves, which keys stay locked. */
import { describe, expect, it } from 'vitest';
import { aesCbc } from './testing/host.ts';
import { CardUnderTest, changeWallet, NONE, usableCard, ZERO_KEY } from './testing/card.ts';
import { concatBytes, encodeHex, parseHex } from '#protocol/bytes.ts';
import { hostCrc } from './testing/legacy-host.ts';
import { PROFILES } from './profile.ts';
import { withKey } from './card-image.ts';
import type { CardImage } from './card-image.ts';
import type { HostAnswer } from './testing/host.ts';

const WRONG_KEY = parseHex('FF'.repeat(16));
const NEW_KEY = parseHex('A5'.repeat(16));

/** A usable card on which one key has failed before. */
const failed = (keyNo: number, failures: number, failuresInARow: number) => (image: CardImage): CardImage =>
  changeWallet(usableCard(image), (wallet) => withKey(wallet, keyNo, { value: ZERO_KEY, version: 0, failures, failuresInARow }));

const changeKey = (card: CardUnderTest, keyNo: number, checksum = hostCrc(NEW_KEY)): Promise<HostAnswer> =>
  card.host.send(0xc4, [keyNo], concatBytes(NEW_KEY, new Uint8Array([1]), checksum), 'full', 'mac');

describe('AuthenticateEV2First', () => {
  it('takes six capability bytes of the reader and gives them all back', async () => {
    const card = new CardUnderTest();
    await card.host.select();
    const first = await card.host.native(0x71, parseHex('0006010203040506'));
    const rndB = aesCbc(ZERO_KEY, ZERO_KEY, first.data, 'decrypt');
    const second = await card.host.native(0xaf, aesCbc(ZERO_KEY, ZERO_KEY, concatBytes(new Uint8Array(16), rndB.subarray(1), rndB.subarray(0, 1))));
    expect(encodeHex(aesCbc(ZERO_KEY, ZERO_KEY, second.data, 'decrypt').slice(-6))).toBe('010203040506');
  });

  it('ends the session before it with its first pass, whatever becomes of the transaction', async () => {
    const card = new CardUnderTest(usableCard, { profile: { ...PROFILES.light, firstAuthentication: 'keeps-transaction', onInterruption: 'start-anew' } });
    await card.begin(1);
    await card.host.native(0x71, new Uint8Array([1, 0]));
    expect((await card.host.native(0x51)).status).toBe(0x91ae);
  });

  it('opens a session with every key of a factory card, all of version 00', async () => {
    const card = new CardUnderTest();
    for (const keyNo of [0, 1, 2, 3, 4]) {
      await card.begin(keyNo);
      expect(await card.host.send(0x64, [keyNo], NONE, 'mac', 'mac')).toEqual({ status: 0x9100, data: new Uint8Array([0]) });
    }
  });
});

it('a NonFirst with a wrong key leaves no session and no transaction', async () => {
  const card = new CardUnderTest(usableCard);
  await card.begin(1);
  await card.debit(100);
  expect(await card.host.authenticate(3, WRONG_KEY, 0x77)).toBe(0x91ae);
  expect((await card.host.native(0x51)).status).toBe(0x91ae);
  await card.host.authenticate(1, ZERO_KEY);
  expect((await card.commit()).status).toBe(0x910c);
});

it('a key version is told without a session too, in plain', async () => {
  const card = new CardUnderTest();
  await card.host.select();
  expect(await card.host.native(0x64, new Uint8Array([4]))).toEqual({ status: 0x9100, data: new Uint8Array([0]) });
});

it('without its field the card forgets a first pass, and which application was selected', async () => {
  const card = new CardUnderTest();
  await card.host.select();
  await card.host.native(0x71, new Uint8Array([0, 0]));
  await card.chip.reset();
  expect((await card.host.native(0xaf, new Uint8Array(32))).status).toBe(0x911c);
  expect((await card.host.native(0x6f)).status).toBe(0x919d);
});

describe('ChangeKey', () => {
  it('of any key needs key 0: not even its own key is enough', async () => {
    const card = new CardUnderTest();
    await card.begin(1);
    expect((await card.host.send(0xc4, [1], concatBytes(NEW_KEY, new Uint8Array([1])), 'full', 'plain')).status).toBe(0x91ae);
    expect(card.wallet.keys[1]?.value).toEqual(ZERO_KEY);
  });

  it.each([0, 1, 2, 3])('sees a checksum that is wrong in byte %i', async (index) => {
    const card = new CardUnderTest();
    await card.begin(0);
    const checksum = hostCrc(NEW_KEY);
    checksum[index]! ^= 1;
    expect((await changeKey(card, 2, checksum)).status).toBe(0x911e);
    expect(card.wallet.keys[2]?.value).toEqual(ZERO_KEY);
  });

  it('forgets the failures of the key before it, in a row and in all', async () => {
    const card = new CardUnderTest(failed(2, 1000, 60));
    await card.begin(0);
    expect((await changeKey(card, 2)).status).toBe(0x9100);
    expect(card.wallet.keys[2]).toEqual({ value: NEW_KEY, version: 1, failures: 0, failuresInARow: 0 });
  });

  it('cannot bring back a locked key 0: there is no session that may', async () => {
    const card = new CardUnderTest(failed(0, 1000, 1));
    await card.host.select();
    expect(await card.host.authenticate(0, ZERO_KEY)).toBe(0x919d);
    for (const keyNo of [1, 2, 3, 4]) {
      await card.begin(keyNo);
      expect((await changeKey(card, 0)).status).toBe(0x91ae);
    }
  });
});

describe('failed authentications', () => {
  it('lock no key while they are not counted, however many there were', async () => {
    const card = new CardUnderTest(failed(2, 1000, 60));
    await card.begin(0);
    expect((await card.host.send(0x5c, [0x0a], parseHex('0000000000'), 'full', 'mac')).status).toBe(0x9100);
    expect(await card.host.authenticate(2, ZERO_KEY)).toBe(0x9100);
  });

  it('in a row are counted up to 255, in all further on', async () => {
    const card = new CardUnderTest(failed(2, 300, 255), { profile: { ...PROFILES.light, authenticationDelay: undefined } });
    await card.host.select();
    expect(await card.host.authenticate(2, WRONG_KEY)).toBe(0x91ae);
    expect(card.wallet.keys[2]).toMatchObject({ failures: 301, failuresInARow: 255 });
  });
});
