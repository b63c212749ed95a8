/** Loading, paying and being torn, on the fixture card. */
import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import { encodeHex, parseHex, type Bytes } from '#protocol/bytes.ts';
import { Failure } from '#protocol/failure.ts';
import { PendingAuthentication } from './desfire/authentication.ts';
import { CardSession } from './desfire/session.ts';
import { FactoryCard } from './issuing/factory-card.fixture.ts';
import { issue, ISSUE_ID, keyOf, keys, PAY_ID, random, UID, walletCard } from './issuing/issued-card.fixture.ts';
import { onlyAnswer, openWallet, parseOpening } from './layout.ts';
import { encodeLogRecord, parseLogRecord } from './log-record.ts';
import { isTransactionMac, prepareTransfer, type TransferOrder } from './transfer.ts';
import { WalletSession } from './wallet.ts';

const code = (act: () => unknown): string => {
  try {
    act();
  } catch (cause) {
    return cause instanceof Failure ? cause.code : String(cause);
  }
  return 'nothing thrown';
};

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

describe('reading and transfer', () => {
  beforeEach(async () => {
    await issue(card);
    expect(load(card, 5000n)).toMatchObject({ outcome: 'committed', transactionCounter: 2, balanceAfterMinor: 5000n });
  });

  it('pays with a reading: counter and whole TMI known ahead', () => {
    const { session, reading } = read(card);
    expect(reading).toMatchObject({ balanceMinor: 5000n, transactionCounter: 2, records: [{ operationId: PAY_ID, amountMinor: 5000n }], keyVersion: 1 });
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
    const wrongKey = { uid: UID, transactionMacKey: keyOf(1), keyVersion: 1 };
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
