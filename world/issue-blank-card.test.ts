/** Blank DESFire EV2 and EV3, and a factory Light, issued on the simulated chip: set up alike, resumable wherever they are lifted, and refused if they are somebody else's. */
import { describe, expect, it } from 'vitest';
import { createOperatorGate } from '#bridge/apdu-gate.ts';
import { walletApplication, type CardImage } from '#card-firmware-sim/card-image.ts';
import { createFactoryImage } from '#card-firmware-sim/factory-image.ts';
import { openBlankContact } from '#protocol/card-contact.ts';
import { encodeHex, parseHex } from '#protocol/bytes.ts';
import { Failure } from '#protocol/failure.ts';
import { deriveCardKeys } from '#servers/security/issuing/card-state.ts';
import { issueCard, type IssuedCard } from '#servers/security/issuing/issue.ts';
import { CardOnReader, codeOf, tears, versionedKeyStore, type Tear } from './card-on-reader.fixture.ts';

const UID = parseHex('04DE5F1EACC040');
const ISSUE_ID = parseHex('0102030405060708');
const LIMIT_MINOR = 100_000n;
const keyStore = versionedKeyStore();
const blank = (profile: 'light' | 'ev2' | 'ev3'): CardImage => createFactoryImage({ profile, uid: UID, random: (length) => new Uint8Array(length) });

/** As an operator's tool begins, and then as the security server carries it out; all through the gate of such a tool. */
async function issue(card: CardOnReader, { tear, store = keyStore, isRecorded = false }: { tear?: Tear; store?: typeof keyStore; isRecorded?: boolean } = {}): Promise<IssuedCard> {
  card.tearAt(undefined);
  const gate = createOperatorGate(card.channel);
  const transmit = (commands: Parameters<CardOnReader['transmit']>[0]) => gate.transmit(commands, new AbortController().signal);
  const { cardChallenge } = await openBlankContact({ readerName: '', onLost: () => undefined, transmit: (_phase, commands) => transmit(commands), debit: () => Promise.reject(new Error('no debit')), close: () => Promise.resolve() });
  const order = { uid: UID, keyStore: store, limitMinor: LIMIT_MINOR, operationId: ISSUE_ID, timeSeconds: 1_800_000_000, isRecorded, random: (length: number) => new Uint8Array(length).fill(7) };
  return card.carryOut(issueCard(order, cardChallenge === null ? null : parseHex(cardChallenge)), tear, transmit);
}

/** What payments rely on. */
async function expectIssued({ memory }: CardOnReader, version = 1): Promise<void> {
  const keys = await deriveCardKeys(keyStore.current >= version ? keyStore : versionedKeyStore(version), UID, version);
  const wallet = walletApplication(memory.image)!;
  expect(wallet.keys.map(({ value, version: held }) => [encodeHex(value), held])).toEqual([0, 1, 2, 3, 4].map((number) => [encodeHex(keys.cardKeys[number as 0]), version]));
  const fileOf = (number: number) => wallet.files.find((file) => file.number === number);
  const never = 0xf;
  expect(fileOf(3)).toMatchObject({ type: 'value', mode: 3, rights: { readWrite: 3, change: 0, read: 1, write: never }, lower: 0, upper: Number(LIMIT_MINOR), value: 0, limitedCreditEnabled: false, freeGetValue: false });
  expect(fileOf(1)).toMatchObject({ type: 'cyclic', mode: 3, rights: { readWrite: 3, change: 0, read: 1, write: 1 }, recordBytes: 16, maxRecords: 5 });
  expect(fileOf(1)).toHaveProperty('records.length', 1);
  expect(fileOf(0xf)).toMatchObject({ type: 'transaction-mac', mode: 3, rights: { readWrite: never, change: 0, read: 1, write: never }, appTmKey: keys.transactionMacKey, keyVersion: version, counter: 1 });
}

describe.each(['light', 'ev2', 'ev3'] as const)('a factory card of kind %s', (profile) => {
  it('becomes one of ours', async () => {
    const card = new CardOnReader(blank(profile));
    expect(await issue(card)).toMatchObject({ keyVersion: 1, transactionCounter: 1, newestRecord: { operationId: ISSUE_ID } });
    await expectIssued(card);
    if (profile !== 'light') {
      expect(card.memory.image.picc).toMatchObject({ masterKey: { type: 'aes', version: 1, value: await keyStore.deriveCardKey(UID, 'picc', 1) }, keySettings: 0x0b });
      expect(walletApplication(card.memory.image)).toMatchObject({ aid: 0x4b5301, isoId: 0xdf01, keySettings: 0x0b });
    }
  });

});

describe.each(['light', 'ev3'] as const)('a factory card of kind %s that is lifted', (profile) => {
  it('goes on from before or after any command', async () => {
    let torn = 0;
    for (const tear of tears()) {
      const card = new CardOnReader(blank(profile));
      const outcome = await issue(card, { tear }).then(() => 'issued', (thrown: unknown) => thrown);
      if (outcome === 'issued') break;
      expect(outcome).toBeInstanceOf(Failure);
      torn++;
      expect(await issue(card)).toMatchObject({ keyVersion: 1, transactionCounter: 1 });
      await expectIssued(card);
    }
    expect(torn).toBeGreaterThan(60);
  });

  it('goes on although the store has newer keys by now', async () => {
    const newer = versionedKeyStore(2);
    const versions = new Set<number>();
    for (const tear of tears()) {
      // Once a command: what was carried out, whether its answer came or not.
      if (tear.when === 'before') continue;
      const card = new CardOnReader(blank(profile));
      const outcome = await issue(card, { tear }).then(() => 'issued', (thrown: unknown) => thrown);
      if (outcome === 'issued') break;
      const { keyVersion } = await issue(card, { store: newer });
      versions.add(keyVersion);
      await expectIssued(card, keyVersion);
    }
    expect([...versions]).toEqual([2, 1]);
  });
});

describe('a blank card is refused', () => {
  const sealed = (change: (picc: CardImage['picc']) => Partial<CardImage['picc']['masterKey'] & object>): CardImage => {
    const image = blank('ev2');
    return { ...image, picc: { ...image.picc, masterKey: { ...image.picc.masterKey!, ...change(image.picc) } } };
  };
  it.each([
    ['with another AES master key', sealed(() => ({ type: 'aes', value: new Uint8Array(16).fill(9), version: 1 })), 'card/already-issued'],
    ['with an AES master key of a version that we do not have', sealed(() => ({ type: 'aes', value: new Uint8Array(16).fill(9), version: 77 })), 'card/already-issued'],
    ['with another AES master key of version 0', sealed(() => ({ type: 'aes', value: new Uint8Array(16).fill(9), version: 0 })), 'card/already-issued'],
    ['with another DES master key', sealed(() => ({ value: new Uint8Array(16).fill(0x22) })), 'card/already-issued'],
    ['whose application identifier is taken', { ...blank('ev3'), applications: [{ aid: 0x4b5301, isoId: undefined, name: undefined, keySettings: 0x0f, hasIsoFileIds: false, keys: [{ value: new Uint8Array(16), version: 0, failures: 0, failuresInARow: 0 }], files: [] }] }, 'card/already-issued'],
    ['without room', { ...blank('ev3'), picc: { ...blank('ev3').picc, lostBytes: 1_000_000 } }, 'card/full'],
  ])('%s', async (_name, image, expected) => {
    expect(await codeOf(issue(new CardOnReader(image)))).toBe(expected);
  });

  it('if it is neither an EV2 nor an EV3, and if its UID is not the order\'s', async () => {
    const order = { uid: UID, keyStore, limitMinor: LIMIT_MINOR, operationId: ISSUE_ID, timeSeconds: 0, isRecorded: false, random: (length: number) => new Uint8Array(length) };
    const light = new CardOnReader(blank('light'));
    expect(await codeOf(light.carryOut(issueCard(order, null)))).toBe('card/unsupported');
    const other = new CardOnReader({ ...blank('ev2'), uid: parseHex('04DE5F1EACC041') });
    expect(await codeOf(other.carryOut(issueCard(order, null)))).toBe('card/changed');
    expect(other.memory.image.picc.masterKey).toMatchObject({ type: '2k3des' });
  });

  it('if it is known as one of ours, and nothing is asked of it', async () => {
    const card = new CardOnReader(blank('ev2'));
    expect(await codeOf(issue(card, { isRecorded: true }))).toBe('card/already-issued');
    expect(card.memory.image).toEqual(blank('ev2'));
  });
});
