/** Issuing, loading, paying and being torn, on the fixture card. */
import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import { encodeHex, parseHex, type Bytes } from '#protocol/bytes.ts';
import { Failure } from '#protocol/failure.ts';
import { PendingAuthentication } from './desfire/authentication.ts';
import { CardSession } from './desfire/session.ts';
import { FactoryCard } from './factory-card.fixture.ts';
import { IssueDialog, type IssuedCard, type IssueRound } from './issue.ts';
import type { IssueKeys } from './issue-state.ts';
import { onlyAnswer, openWallet, parseOpening } from './layout.ts';
import { encodeLogRecord, parseLogRecord } from './log-record.ts';
import { isTransactionMac, prepareTransfer, type TransferOrder } from './transfer.ts';
import { WalletSession } from './wallet.ts';

const UID = parseHex('04DE5F1EACC040');
const keyOf = (fill: number): Bytes => new Uint8Array(16).fill(fill);
const keys: IssueKeys = { version: 1, cardKeys: { 0: keyOf(0xa0), 1: keyOf(0xa1), 2: keyOf(0xa2), 3: keyOf(0xa3), 4: keyOf(0xa4) }, transactionMacKey: keyOf(0xaf) };
const walletCard = { uid: UID, transactionMacKey: keys.transactionMacKey };
const ISSUE_ID = parseHex('0102030405060708');
const PAY_ID = parseHex('1112131415161718');
let fill = 0x40;
const random = (length: number): Bytes => new Uint8Array(length).fill(fill++ & 0xff);

const code = (act: () => unknown): string => {
  try {
    act();
  } catch (cause) {
    return cause instanceof Failure ? cause.code : String(cause);
  }
  return 'nothing thrown';
};

/** Runs issuing with at most `budget` commands reaching the card. */
function issue(card: FactoryCard, { budget = Infinity, uid = UID, operationId = ISSUE_ID, limitMinor = 100_000n } = {}): IssuedCard {
  const dialog = new IssueDialog({ uid, keys, limitMinor, operationId, timeSeconds: 1_800_000_000, random });
  const send = (commands: Parameters<FactoryCard['transmit']>[0]): Bytes[] => {
    const responses = card.transmit(commands, budget);
    budget -= responses.length;
    if (budget <= 0) card.remove();
    return responses;
  };
  let round: IssueRound = dialog.start(parseOpening(send(openWallet(0))));
  while ('commands' in round) round = dialog.next(send(round.commands));
  return round.issued;
}

function open(card: FactoryCard, keyNumber: 1 | 3 = 1, transactionCounter?: number): WalletSession {
  const pending = new PendingAuthentication({ authenticationKey: keys.cardKeys[keyNumber], challenge: parseOpening(card.transmit(openWallet(keyNumber))), hostRandom: random(16) });
  return new WalletSession(pending.verify(onlyAnswer(card.transmit([pending.command]))), walletCard, transactionCounter);
}

function read(card: FactoryCard) {
  const session = open(card);
  return { session, reading: session.parseReading(card.transmit(session.requestReading('balance'))) };
}

const order = (kind: TransferOrder['kind'], amountMinor: bigint, readBalanceAfter = true): TransferOrder => ({ kind, operationId: PAY_ID, amountMinor, timeSeconds: 1_800_000_100, readBalanceAfter });

function load(card: FactoryCard, amountMinor: bigint) {
  const { reading } = read(card);
  const transfer = open(card, 3, reading.transactionCounter).prepareTransfer(order('credit', amountMinor));
  return transfer.verify(card.transmit(transfer.commands));
}

let card: FactoryCard;
beforeEach(() => (card = new FactoryCard(UID)));

describe('issuing', () => {
  it('leaves all keys changed, rights and limits set, a first record and no value', () => {
    expect(issue(card)).toMatchObject({ keyVersion: 1, transactionCounter: 1, limitMinor: 100_000n });
    expect(card.keys.map(({ key, version }) => [encodeHex(key), version])).toEqual([0xa0, 0xa1, 0xa2, 0xa3, 0xa4].map((byte) => [encodeHex(keyOf(byte)), 1]));
    expect(card.limits).toEqual({ lower: 0, upper: 100_000, option: 0 });
    expect([card.rights[1], card.rights[3]]).toEqual([parseHex('3011'), parseHex('301F')]);
    expect(card.records.map(parseLogRecord)).toEqual([{ operationId: ISSUE_ID, amountMinor: 0n, timeSeconds: 1_800_000_000 }]);
    expect(read(card).reading).toMatchObject({ balanceMinor: 0n, transactionCounter: 1 });
  });

  it('can be torn after any command and taken up again', () => {
    let tears = 0;
    for (let budget = 1; ; budget++) {
      const torn = new FactoryCard(UID);
      try {
        issue(torn, { budget });
        break;
      } catch (cause) {
        expect(cause).toBeInstanceOf(Failure);
        tears++;
      }
      expect(issue(torn)).toMatchObject({ transactionCounter: 1 });
      expect(torn.records).toHaveLength(1);
      expect(torn.seen.filter((instruction) => instruction === 0x5c)).toHaveLength(1);
    }
    expect(tears).toBeGreaterThan(30);
  });

  it('is concluded by a reading when only its last answer was lost', () => {
    issue(card);
    expect(issue(card)).toMatchObject({ transactionCounter: 1 });
    expect(card.records).toHaveLength(1);
    expect(code(() => issue(card, { operationId: PAY_ID }))).toBe('card/already-issued');
  });

  it.each([
    ['another institution\'s card', () => (card.keys[0] = { key: keyOf(0x77), version: 1 }), 'card/already-issued'],
    ['a key version that is neither the factory\'s nor ours', () => (card.keys[2] = { key: keyOf(0x77), version: 9 }), 'card/already-issued'],
    ['a planted key under our version', () => (card.keys[3] = { key: keyOf(0x77), version: 1 }), 'card/refused'],
    ['a planted value', () => { card.configured = true; card.limits.upper = 100_000; card.limits.option = 0; card.value = 100_000; }, 'card/not-genuine'],
    ['a planted lower limit', () => { card.configured = true; card.limits = { lower: -1 >>> 0, upper: 100_000, option: 0 }; }, 'card/unsupported'],
    ['a value file that was set up otherwise', () => { card.configured = true; card.limits.upper = 5; }, 'card/refused'],
  ])('refuses %s', (_name, plant, expected) => {
    plant();
    expect(code(() => issue(card))).toBe(expected);
  });

  it('overwrites records that were on the card before', () => {
    card.records.push(new Uint8Array(16));
    expect(issue(card)).toMatchObject({ transactionCounter: 1 });
    expect(read(card).reading.newestRecord.operationId).toEqual(ISSUE_ID);
  });

  it('stops before changing anything when the card has another UID inside', () => {
    expect(code(() => issue(card, { uid: parseHex('04DE5F1EACC041') }))).toBe('card/changed');
    expect(card.keys.every(({ version }) => version === 0)).toBe(true);
  });

  it('is over after a failure', () => {
    const dialog = new IssueDialog({ uid: UID, keys, limitMinor: 1n, operationId: ISSUE_ID, timeSeconds: 0, random });
    dialog.start(parseOpening(card.transmit(openWallet(0))));
    expect(code(() => dialog.next([]))).toBe('card/removed');
    expect(code(() => dialog.next([]))).toBe('settlement/session');
    expect(code(() => dialog.start(new Uint8Array(16)))).toBe('settlement/session');
    expect(() => new IssueDialog({ uid: UID, keys, limitMinor: 0x7fffffffn, operationId: ISSUE_ID, timeSeconds: 0, random })).toThrow(RangeError);
  });
});

describe('reading and transfer', () => {
  beforeEach(() => {
    issue(card);
    expect(load(card, 5000n)).toMatchObject({ outcome: 'committed', transactionCounter: 2, balanceAfterMinor: 5000n });
  });

  it('pays with a reading: counter and whole TMI known ahead', () => {
    const { session, reading } = read(card);
    expect(reading).toMatchObject({ balanceMinor: 5000n, transactionCounter: 2, newestRecord: { operationId: PAY_ID, amountMinor: 5000n } });
    const transfer = session.prepareTransfer(order('debit', 420n));
    expect(transfer.expectedTransactionCounter).toBe(3);
    expect(transfer.commands).toHaveLength(4);
    const verdict = transfer.verify(card.transmit(transfer.commands));
    expect(verdict).toMatchObject({ outcome: 'committed', transactionCounter: 3, balanceAfterMinor: 4580n });
    expect(card.value).toBe(4580);
    const after = read(card).reading;
    expect(isTransactionMac(walletCard, parseHex(transfer.expectedTransactionMacInput), after)).toBe(true);
    expect(isTransactionMac(walletCard, parseHex(transfer.expectedTransactionMacInput), { ...after, transactionCounter: 4 })).toBe(false);
  });

  it('pays without reading the balance, with or without a log-only reading', () => {
    const before = card.seen.length;
    const direct = open(card).prepareTransfer(order('debit', 1n, false));
    expect(direct.expectedTransactionCounter).toBeUndefined();
    expect(direct.verify(card.transmit(direct.commands))).toEqual({ outcome: 'committed', transactionCounter: 3, transactionMac: card.transactionMac!.mac });
    const session = open(card);
    const reading = session.parseReading(card.transmit(session.requestReading('log')));
    expect(reading).not.toHaveProperty('balanceMinor');
    const transfer = session.prepareTransfer(order('debit', 2n, false));
    expect(transfer.verify(card.transmit(transfer.commands))).toMatchObject({ outcome: 'committed', transactionCounter: 4 });
    expect(card.seen.slice(before)).not.toContain(0x6c);
    expect(card.value).toBe(4997);
  });

  it('is unproven, never failed, wherever the batch stops; and then the card was not changed unless the commit was reached', () => {
    for (let sent = 0; sent <= 3; sent++) {
      const { session } = read(card);
      const transfer = session.prepareTransfer(order('debit', 10n));
      const verdict = transfer.verify(card.transmit(transfer.commands, sent));
      card.remove();
      if (sent < 3) {
        expect(verdict).toMatchObject({ outcome: 'unproven', reason: 'no-commit-answer' });
        expect(card.value).toBe(5000);
      } else {
        expect(verdict).toMatchObject({ outcome: 'committed' });
        expect(verdict).not.toHaveProperty('balanceAfterMinor');
        expect(card.value).toBe(4990);
      }
    }
  });

  it('judges by the commit alone, whatever is done to any bit of the answers', () => {
    const { session } = read(card);
    const transfer = session.prepareTransfer(order('debit', 10n));
    const responses = card.transmit(transfer.commands);
    fc.assert(fc.property(fc.nat(3), fc.nat(), (place, at) => {
      const tampered = responses.map((response) => response.slice());
      const target = tampered[place]!;
      const bit = at % (target.length * 8);
      target[bit >> 3] = target[bit >> 3]! ^ (1 << (bit & 7));
      const verdict = transfer.verify(tampered);
      expect(verdict.outcome).toBe(place === 2 ? 'unproven' : 'committed');
      expect('balanceAfterMinor' in verdict).toBe(place < 2);
    }));
    expect(transfer.verify(responses)).toMatchObject({ outcome: 'committed', balanceAfterMinor: 4990n });
  });

  it('never throws for answers that a relay can make up', () => {
    const transfer = open(card).prepareTransfer(order('debit', 10n));
    fc.assert(fc.property(fc.array(fc.uint8Array({ maxLength: 40 }).map((answer) => new Uint8Array(answer)), { maxLength: 6 }), (responses) => {
      expect(transfer.verify(responses).outcome).toBe('unproven');
    }));
  });

  it('is not proved by another session\'s answers', () => {
    const first = open(card).prepareTransfer(order('debit', 10n, false));
    const answers = card.transmit(first.commands);
    const second = open(card).prepareTransfer(order('debit', 10n, false));
    expect(second.verify(answers)).toMatchObject({ outcome: 'unproven', reason: 'not-authentic' });
    expect(first.verify([answers[0]!, answers[1]!, parseHex('911E')])).toMatchObject({ outcome: 'unproven', reason: 'error-status' });
  });

  it('is not proved by a transaction MAC over something else, nor at another count', () => {
    const wrongKey = { uid: UID, transactionMacKey: keyOf(1) };
    const session = (): CardSession => {
      const pending = new PendingAuthentication({ authenticationKey: keys.cardKeys[1], challenge: parseOpening(card.transmit(openWallet(1))), hostRandom: random(16) });
      return pending.verify(onlyAnswer(card.transmit([pending.command])));
    };
    const nothingRead = { transactionMacInput: new Uint8Array() };
    const spent = session();
    prepareTransfer(spent, walletCard, order('debit', 1n), nothingRead);
    expect(spent.isAlive).toBe(false);
    const otherKey = prepareTransfer(session(), wrongKey, order('debit', 1n), nothingRead);
    expect(otherKey.verify(card.transmit(otherKey.commands))).toMatchObject({ outcome: 'unproven', reason: 'transaction-mac' });
    const otherInput = prepareTransfer(session(), walletCard, order('debit', 1n), { transactionMacInput: new Uint8Array(16) });
    expect(otherInput.verify(card.transmit(otherInput.commands))).toMatchObject({ outcome: 'unproven', reason: 'transaction-mac' });
    const otherCount = prepareTransfer(session(), walletCard, order('debit', 1n), { ...nothingRead, transactionCounter: 77 });
    expect(otherCount.verify(card.transmit(otherCount.commands))).toMatchObject({ outcome: 'unproven', reason: 'transaction-counter' });
  });

  it('leaves the card as it was when the card refuses', () => {
    const { session } = read(card);
    const transfer = session.prepareTransfer(order('debit', 5001n));
    expect(transfer.verify(card.transmit(transfer.commands))).toMatchObject({ outcome: 'unproven', reason: 'no-commit-answer' });
    expect(read(card).reading).toMatchObject({ balanceMinor: 5000n, transactionCounter: 2 });
  });

  it('is made once a session and only in its place', () => {
    const { session } = read(card);
    session.prepareTransfer(order('debit', 1n));
    expect(session.isAlive).toBe(false);
    expect(code(() => session.prepareTransfer(order('debit', 1n)))).toBe('settlement/session');
    expect(code(() => session.requestReading('balance'))).toBe('settlement/session');
    const unread = open(card);
    unread.requestReading('balance');
    expect(code(() => unread.prepareTransfer(order('debit', 1n)))).toBe('settlement/session');
    expect(code(() => unread.parseReading([]))).toBe('settlement/session');
    for (const amount of [0n, -1n, 0x80000000n]) expect(() => open(card).prepareTransfer(order('debit', amount))).toThrow(RangeError);
  });

  it('takes no damaged, short or long reading', () => {
    for (const [change, expected] of [
      [(answers: Bytes[]) => answers.slice(0, 2), 'card/removed'],
      [(answers: Bytes[]) => [...answers, parseHex('9100')], 'message/malformed'],
      [(answers: Bytes[]) => [answers[1]!, answers[0]!, answers[2]!], 'card/answer'],
      [(answers: Bytes[]) => [answers[0]!, parseHex('91BE')], 'card/not-issued'],
      [(answers: Bytes[]) => [answers[0]!, parseHex('911E')], 'card/refused'],
    ] as const) {
      const session = open(card);
      const answers = card.transmit(session.requestReading('balance'));
      expect(code(() => session.parseReading(change(answers)))).toBe(expected);
      expect(session.isAlive).toBe(false);
    }
  });

  it('moves no value over any run of loads, payments and tears', () => {
    fc.assert(fc.property(fc.array(fc.record({ kind: fc.constantFrom('credit', 'debit'), amount: fc.bigInt(1n, 3000n), sent: fc.integer({ min: 0, max: 4 }) }), { maxLength: 12 }), (runs) => {
      let proved = read(card).reading.balanceMinor!;
      for (const { kind, amount, sent } of runs) {
        const { transactionCounter } = read(card).reading;
        const transfer = open(card, kind === 'credit' ? 3 : 1, transactionCounter).prepareTransfer(order(kind, amount));
        const verdict = transfer.verify(card.transmit(transfer.commands, sent));
        card.remove();
        if (verdict.outcome === 'committed') proved += kind === 'credit' ? amount : -amount;
        expect(read(card).reading.balanceMinor).toBe(proved);
      }
    }), { numRuns: 20 });
  });
});

describe('the log record', () => {
  it('goes there and back', () => {
    fc.assert(fc.property(fc.uint8Array({ minLength: 8, maxLength: 8 }), fc.bigInt(0n, 0xffffffffn), fc.nat(0xffffffff), (id, amountMinor, timeSeconds) => {
      const record = { operationId: new Uint8Array(id), amountMinor, timeSeconds };
      expect(parseLogRecord(encodeLogRecord(record))).toEqual(record);
    }));
    expect(encodeHex(encodeLogRecord({ operationId: ISSUE_ID, amountMinor: 420n, timeSeconds: 1 }))).toBe('0102030405060708A401000001000000');
    expect(() => parseLogRecord(new Uint8Array(15))).toThrow(RangeError);
    expect(() => parseLogRecord(new Uint8Array(17))).toThrow(RangeError);
    expect(() => encodeLogRecord({ operationId: new Uint8Array(7), amountMinor: 0n, timeSeconds: 0 })).toThrow(RangeError);
    expect(() => encodeLogRecord({ operationId: ISSUE_ID, amountMinor: 1n << 32n, timeSeconds: 0 })).toThrow(RangeError);
  });
});

describe('the opening', () => {
  it.each([
    ['nothing', [], 'card/removed'],
    ['a selection alone', ['9000'], 'card/removed'],
    ['another card', ['6A82'], 'card/unsupported'],
    ['too much', ['9000', `${'00'.repeat(16)}91AF`, '9100'], 'message/malformed'],
    ['an empty answer', [''], 'card/answer'],
  ])('refuses %s', (_name, responses, expected) => expect(code(() => parseOpening(responses.map(parseHex)))).toBe(expected));
});
