/** What published documents leave open is an option of the profile: each with its documented default, and the other way. */
import { describe, expect, it } from 'vitest';
import { CardUnderTest, changeFile, factoryImage, NONE, UID, usableCard, ZERO_KEY } from './testing/card.ts';
import { createFactoryImage } from './factory-image.ts';
import { encodeHex, parseHex } from '#protocol/bytes.ts';
import { PROFILES } from './profile.ts';
import { secureRandom } from './crypto.ts';
import type { CardImage } from './card-image.ts';
import type { HostAnswer } from './testing/host.ts';
import type { Profile } from './profile.ts';

const WRONG_KEY = parseHex('FF'.repeat(16));

async function cardWith(options: Partial<Profile>, change: (image: CardImage) => CardImage = usableCard): Promise<CardUnderTest> {
  const card = new CardUnderTest(change, { profile: { ...PROFILES.light, ...options } });
  await card.begin(1);
  return card;
}

const settingsOf = async (card: CardUnderTest, file: number): Promise<string> => encodeHex((await card.host.send(0xf5, [file], NONE, 'mac', 'mac')).data);

describe('an empty transaction', () => {
  it.each([
    [{}, 0x910c],
    [{ emptyTransaction: 'NO_CHANGES' }, 0x910c],
    [{ emptyTransaction: 'OPERATION_OK' }, 0x9100],
  ] as const)('%o: commit and abort say %i', async (options, status) => {
    const card = await cardWith(options);
    expect((await card.host.send(0xc7, [], NONE, 'mac', 'mac')).status).toBe(status);
    expect((await card.abort()).status).toBe(status);
  });
});

describe('AuthenticateEV2First while a transaction is open', () => {
  it.each([
    [{}, 0x910c, 5000],
    [{ firstAuthentication: 'aborts-transaction' }, 0x910c, 5000],
    [{ firstAuthentication: 'keeps-transaction' }, 0x9100, 4900],
  ] as const)('%o: the commit after it says %i and leaves %i', async (options, status, value) => {
    const card = await cardWith(options);
    await card.debit(100);
    expect(await card.host.authenticate(1, ZERO_KEY)).toBe(0x9100);
    expect((await card.commit()).status).toBe(status);
    expect(card.fileOf('value').value).toBe(value);
  });

  it('that fails ends it in any case', async () => {
    const card = await cardWith({ firstAuthentication: 'keeps-transaction' });
    await card.debit(100);
    expect(await card.host.authenticate(1, WRONG_KEY)).toBe(0x91ae);
    await card.host.authenticate(1, ZERO_KEY);
    expect((await card.commit()).status).toBe(0x910c);
  });
});

describe('the transaction-MAC file', () => {
  it('is delivered with a key of zeros, unless the profile has another', () => {
    const keyOf = ({ applications: [wallet] }: CardImage): unknown => wallet?.files.find((file) => file.type === 'transaction-mac')?.appTmKey;
    expect(keyOf(factoryImage())).toEqual(ZERO_KEY);
    const factoryTransactionMacKey = parseHex('77'.repeat(16));
    expect(keyOf(createFactoryImage({ uid: UID, random: secureRandom, factoryTransactionMacKey }))).toEqual(factoryTransactionMacKey);
  });

  it.each([
    [{}, '0523F01F020009000000'],
    [{ counterLimitShown: true }, '0523F01F020009000000'],
    [{ counterLimitShown: false }, '0503F01F0200'],
  ] as const)('%o: its settings are %s', async (options, settings) => {
    const card = await cardWith(options, (image) => changeFile(usableCard(image), 'transaction-mac', { counterLimit: 9 }));
    expect(await settingsOf(card, 15)).toBe(settings);
  });
});

describe('GetVersion, second frame', () => {
  it.each([
    [{}, '04080101001305'],
    [{ softwareVersion: parseHex('04080130001305') }, '04080130001305'],
  ])('of %o is %s', async (options, frame) => {
    const card = new CardUnderTest(usableCard, { profile: { ...PROFILES.light, ...options } });
    await card.host.native(0x60);
    expect(encodeHex((await card.host.native(0xaf)).data)).toBe(frame);
  });
});

describe('GetValue before the commit', () => {
  it.each([
    [{}, '88130000'],
    [{ openValue: 'committed' }, '88130000'],
    [{ openValue: 'shadow' }, '87130000'],
  ] as const)('%o: shows %s', async (options, value) => {
    const card = await cardWith(options);
    await card.debit(1);
    expect(encodeHex((await card.getValue()).data)).toBe(value);
  });
});

describe('LimitedCredit after a debit of 40', () => {
  const enabled = (image: CardImage): CardImage => changeFile(usableCard(image), 'value', { limitedCreditEnabled: true, limitedCredit: 40 });
  const giveBack = async (card: CardUnderTest, amount: number): Promise<HostAnswer> => {
    await card.begin(1);
    await card.limitedCredit(amount);
    return card.commit();
  };

  it.each([
    [{}, 0],
    [{ limitedCreditLeft: 'nothing' }, 0],
    [{ limitedCreditLeft: 'the-rest' }, 10],
  ] as const)('%o: 30 given back leave %i', async (options, left) => {
    const card = await cardWith(options, enabled);
    await giveBack(card, 30);
    expect(card.fileOf('value').limitedCredit).toBe(left);
    expect((await card.limitedCredit(left + 1)).status).toBe(0x91be);
  });

  it.each(['nothing', 'the-rest'] as const)('several in one transaction count together, a credit does not, a debit sets it anew (%s)', async (limitedCreditLeft) => {
    const card = await cardWith({ limitedCreditLeft }, enabled);
    await card.limitedCredit(30);
    expect((await card.limitedCredit(11)).status).toBe(0x91be);
    await card.begin(3);
    await card.credit(5);
    await card.commit();
    expect(card.fileOf('value').limitedCredit).toBe(40);
    await card.begin(1);
    await card.limitedCredit(10);
    await card.debit(3);
    await card.debit(4);
    await card.commit();
    expect(card.fileOf('value').limitedCredit).toBe(7);
  });
});

describe('a command in the middle of an authentication', () => {
  it.each([{}, { onInterruption: 'abort' }] as const)('%o: is CA, and everything is gone', async (options) => {
    const card = await cardWith(options);
    await card.host.native(0x77, new Uint8Array([3]));
    expect((await card.host.native(0x64, new Uint8Array([0]))).status).toBe(0x91ca);
    expect((await card.host.native(0xaf, new Uint8Array(32))).status).toBe(0x911c);
  });

  it('or is carried out, and the session that was to be continued is gone', async () => {
    const card = await cardWith({ onInterruption: 'start-anew' });
    await card.host.native(0x77, new Uint8Array([3]));
    expect((await card.host.native(0x64, new Uint8Array([0]))).status).toBe(0x9100);
    expect((await card.host.native(0xaf, new Uint8Array(32))).status).toBe(0x911c);
  });
});

describe("a value file's option in GetFileSettings", () => {
  it.each([
    [{}, '03'],
    [{ valueOptionShown: 'both' }, '03'],
    [{ valueOptionShown: 'limited-credit' }, '01'],
  ] as const)('%o: is %s', async (options, shown) => {
    const card = await cardWith(options, factoryImage);
    expect((await settingsOf(card, 3)).slice(-2)).toBe(shown);
  });
});

describe('failed authentications in a row', () => {
  async function failing(options: Partial<Profile>, times: number): Promise<{ card: CardUnderTest; wait: (ms: number) => void }> {
    let nowMs = 0;
    const card = new CardUnderTest(usableCard, { profile: { ...PROFILES.light, ...options }, now: () => nowMs });
    await card.host.select();
    for (let i = 0; i < times; i++) expect(await card.host.authenticate(1, WRONG_KEY)).toBe(0x91ae);
    return { card, wait: (ms) => void (nowMs += ms) };
  }

  it('after 50 the key answers AD for 25 ms, and one step longer after each more; a success ends it', async () => {
    const { card, wait } = await failing({}, 50);
    expect(await card.host.authenticate(1, ZERO_KEY)).toBe(0x91ad);
    wait(24);
    expect(await card.host.authenticate(1, ZERO_KEY)).toBe(0x91ad);
    wait(1);
    expect(await card.host.authenticate(1, WRONG_KEY)).toBe(0x91ae);
    expect(await card.host.authenticate(1, ZERO_KEY)).toBe(0x91ad);
    wait(49);
    expect(await card.host.authenticate(1, ZERO_KEY)).toBe(0x91ad);
    wait(1);
    expect(await card.host.authenticate(1, ZERO_KEY)).toBe(0x9100);
    expect(card.wallet.keys[1]).toMatchObject({ failures: 41, failuresInARow: 0 });
    expect(await card.host.authenticate(1, WRONG_KEY)).toBe(0x91ae);
    expect(await card.host.authenticate(1, ZERO_KEY)).toBe(0x9100);
  });

  it('the wait begins anew when the field was lost; other keys do not wait; AD ends the session', async () => {
    const { card, wait } = await failing({ authenticationDelay: { afterFailures: 2, stepMs: 100 } }, 2);
    expect(await card.host.authenticate(1, ZERO_KEY)).toBe(0x91ad);
    wait(99);
    await card.chip.reset();
    await card.host.select();
    expect(await card.host.authenticate(3, ZERO_KEY)).toBe(0x9100);
    expect(await card.host.authenticate(1, ZERO_KEY)).toBe(0x91ad);
    expect((await card.host.native(0x51)).status).toBe(0x91ae);
    wait(99);
    expect(await card.host.authenticate(1, ZERO_KEY)).toBe(0x91ad);
    wait(1);
    expect(await card.host.authenticate(1, ZERO_KEY)).toBe(0x9100);
  });

  it('may cost nothing', async () => {
    const { card } = await failing({ authenticationDelay: undefined }, 60);
    expect(await card.host.authenticate(1, ZERO_KEY)).toBe(0x9100);
  });
});
