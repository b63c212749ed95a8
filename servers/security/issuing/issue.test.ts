/** Issuing, torn and taken up again, and the cards that are refused, on the fixture card. */
import { beforeEach, describe, expect, it } from 'vitest';
import { encodeHex, parseHex } from '#protocol/bytes.ts';
import { Failure } from '#protocol/failure.ts';
import { FactoryCard } from './factory-card.fixture.ts';
import { failing, ISSUE_ID, issue, issuing, keyOf, keys, PAY_ID, UID } from './issued-card.fixture.ts';
import { openWallet, parseOpening } from '../layout.ts';
import { parseLogRecord } from '../log-record.ts';

let card: FactoryCard;
beforeEach(() => (card = new FactoryCard(UID)));

describe('issuing', () => {
  it('leaves all keys changed, rights and limits set, a first record and no value', async () => {
    expect(await issue(card)).toMatchObject({ keyVersion: 1, transactionCounter: 1, limitMinor: 100_000n });
    expect(card.keys.map(({ key, version }) => [encodeHex(key), version])).toEqual([0xa0, 0xa1, 0xa2, 0xa3, 0xa4].map((byte) => [encodeHex(keyOf(byte)), 1]));
    expect(card.limits).toEqual({ lower: 0, upper: 100_000, option: 0 });
    expect([card.rights[1], card.rights[3]]).toEqual([parseHex('3011'), parseHex('301F')]);
    expect(card.records.map(parseLogRecord)).toEqual([{ operationId: ISSUE_ID, amountMinor: 0n, timeSeconds: 1_800_000_000 }]);
    expect([card.value, card.transactionMac?.counter]).toEqual([0, 1]);
  });

  it('can be torn after any command and taken up again', async () => {
    let tears = 0;
    for (let budget = 1; ; budget++) {
      const torn = new FactoryCard(UID);
      try {
        await issue(torn, { budget });
        break;
      } catch (cause) {
        expect(cause).toBeInstanceOf(Failure);
        tears++;
      }
      expect(await issue(torn)).toMatchObject({ transactionCounter: 1 });
      expect(torn.records).toHaveLength(1);
      expect(torn.seen.filter((instruction) => instruction === 0x5c)).toHaveLength(1);
    }
    expect(tears).toBeGreaterThan(30);
  });

  it('is concluded by a reading when only its last answer was lost', async () => {
    await issue(card);
    expect(await issue(card)).toMatchObject({ transactionCounter: 1 });
    expect(await issue(card, { isRecorded: true })).toMatchObject({ transactionCounter: 1 });
    expect(card.records).toHaveLength(1);
    expect(await failing(issue(card, { operationId: PAY_ID }))).toBe('card/already-issued');
  });

  it('changes nothing on a card that is known as issued: neither one that counts anew nor one with factory keys', async () => {
    await issue(card);
    card.transactionMac = { key: keys.transactionMacKey, counter: 0, mac: new Uint8Array(8) };
    expect(await failing(issue(card, { operationId: PAY_ID, isRecorded: true }))).toBe('card/already-issued');
    expect(card.records).toHaveLength(1);
    const factory = new FactoryCard(UID);
    expect(await failing(issue(factory, { isRecorded: true }))).toBe('card/already-issued');
    expect(factory.keys.every(({ version }) => version === 0)).toBe(true);
  });

  it.each([
    ['another institution\'s card', () => (card.keys[0] = { key: keyOf(0x77), version: 1 }), 'card/already-issued'],
    ['another institution\'s card without a version', () => (card.keys[0] = { key: keyOf(0x77), version: 0 }), 'card/already-issued'],
    ['another institution\'s card of a version that we do not have', () => (card.keys[0] = { key: keyOf(0x77), version: 9 }), 'card/already-issued'],
    ['a key version that is neither the factory\'s nor ours', () => (card.keys[2] = { key: keyOf(0x77), version: 9 }), 'card/already-issued'],
    ['a planted key under our version', () => (card.keys[3] = { key: keyOf(0x77), version: 1 }), 'card/refused'],
    ['a planted value', () => { card.configured = true; card.limits.upper = 100_000; card.limits.option = 0; card.value = 100_000; }, 'card/not-genuine'],
    ['a planted lower limit', () => { card.configured = true; card.limits = { lower: -1 >>> 0, upper: 100_000, option: 0 }; }, 'card/unsupported'],
    ['a value file that was set up otherwise', () => { card.configured = true; card.limits.upper = 5; }, 'card/refused'],
  ])('refuses %s', async (_name, plant, expected) => {
    plant();
    expect(await failing(issue(card))).toBe(expected);
  });

  it('overwrites records that were on the card before', async () => {
    card.records.push(new Uint8Array(16));
    expect(await issue(card)).toMatchObject({ transactionCounter: 1 });
    expect(card.records.map((record) => parseLogRecord(record).operationId)).toEqual([new Uint8Array(8), ISSUE_ID]);
  });

  it('stops before changing anything when the card has another UID inside', async () => {
    expect(await failing(issue(card, { uid: parseHex('04DE5F1EACC041') }))).toBe('card/changed');
    expect(card.keys.every(({ version }) => version === 0)).toBe(true);
  });

  it('is over after a failure, and takes one answer at a time', async () => {
    const dialog = issuing(parseOpening(card.transmit(openWallet(0))));
    await dialog.start();
    expect(await failing(dialog.next([]))).toBe('card/removed');
    expect(await failing(dialog.next([]))).toBe('settlement/session');
    expect(await failing(dialog.start())).toBe('settlement/session');
    expect(await failing(issue(new FactoryCard(UID), { limitMinor: 0x7fffffffn }))).toBe('card/limit');
    const hurried = issuing(parseOpening(card.transmit(openWallet(0))));
    const [first, second] = [hurried.start(), hurried.next([])];
    expect(await failing(second)).toBe('settlement/session');
    expect(await failing(first)).toBe('settlement/session');
    expect(await failing(hurried.next([]))).toBe('settlement/session');
  });
});
