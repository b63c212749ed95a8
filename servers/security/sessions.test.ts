/** One live session a card, one transfer a session, late notices, bounds in number and age. */
import { beforeEach, describe, expect, it } from 'vitest';
import { encodeHex, parseHex, type Bytes } from '#protocol/bytes.ts';
import { Failure } from '#protocol/failure.ts';
import { FactoryCard } from './issuing/factory-card.fixture.ts';
import { openWallet, parseOpening } from './layout.ts';
import { CardSessions, type LiveSession } from './sessions.ts';
import type { TransferOrder } from './transfer.ts';

const order: TransferOrder = { kind: 'debit', operationId: parseHex('1112131415161718'), amountMinor: 10n, timeSeconds: 1_800_000_000, readBalanceAfter: true };
const keys = { authenticationKey: new Uint8Array(16), transactionMacKey: new Uint8Array(16), keyVersion: 1 };
const code = (act: () => unknown): string => {
  try {
    act();
  } catch (cause) {
    return cause instanceof Failure ? cause.code : String(cause);
  }
  return 'nothing thrown';
};

let nowMs: number;
let sessions: CardSessions<string>;
let card: FactoryCard;

function cardOf(uid: string): FactoryCard {
  const made = new FactoryCard(parseHex(uid));
  made.rights[3] = parseHex('301F');
  made.records.push(new Uint8Array(16));
  made.value = 1000;
  return made;
}

function authenticate(session: LiveSession<string>, on = card, keyNumber: 1 | 3 = 1): void {
  const command = session.authenticate(parseOpening(on.transmit(openWallet(keyNumber))), keys);
  session.takeAuthentication(on.transmit([command]));
}

function begin(context = 'first', on = card): LiveSession<string> {
  const session = sessions.begin(on.uid, context);
  authenticate(session, on);
  return session;
}

beforeEach(() => {
  nowMs = 0;
  let fill = 0x40;
  let id = 0;
  sessions = new CardSessions({
    now: () => nowMs,
    random: (length): Bytes => new Uint8Array(length).fill(fill++),
    newSessionId: () => `session ${++id}`,
    liveMs: 100, transferMs: 1000, maxLive: 3, maxTransfers: 2,
  });
  card = cardOf('04DE5F1EACC040');
});

describe('a live session', () => {
  it('reads, makes its transfer once, and has it proved', () => {
    const session = begin();
    expect(sessions.get(session.id).context).toBe('first');
    expect(session.takeReading(card.transmit(session.requestReading('balance')))).toMatchObject({ balanceMinor: 1000n, transactionCounter: 0 });
    const transfer = session.prepareTransfer(order);
    expect(transfer.expectedTransactionCounter).toBe(1);
    expect(code(() => session.prepareTransfer(order))).toBe('settlement/session');
    expect(code(() => sessions.get(session.id))).toBe('settlement/session');
    const answers = card.transmit(transfer.commands);
    expect(sessions.verifyTransfer(session.id, answers.slice(0, 2))).toMatchObject({ outcome: 'unproven' });
    expect(sessions.verifyTransfer(session.id, answers)).toMatchObject({ outcome: 'committed', balanceAfterMinor: 990n });
    expect(sessions.verifyTransfer(session.id, answers)).toMatchObject({ outcome: 'committed' });
    sessions.forget(session.id);
    expect(sessions.verifyTransfer(session.id, answers)).toMatchObject({ outcome: 'unproven', reason: 'session-forgotten' });
  });

  it('keeps the counter that it read over a second authentication, as a load needs it', () => {
    const session = begin();
    session.takeReading(card.transmit(session.requestReading('balance')));
    authenticate(session, card, 3);
    const transfer = session.prepareTransfer({ ...order, kind: 'credit' });
    expect(transfer.expectedTransactionCounter).toBe(1);
    expect(sessions.verifyTransfer(session.id, card.transmit(transfer.commands))).toMatchObject({ outcome: 'committed', balanceAfterMinor: 1010n });
  });

  it('is ended by the next one on the same card: its reading is void, even one that is under way', () => {
    const first = begin();
    const answers = card.transmit(first.requestReading('balance'));
    const second = sessions.begin(card.uid, 'second');
    expect(code(() => first.takeReading(answers))).toBe('settlement/session');
    expect(code(() => first.assertLive())).toBe('settlement/session');
    expect(code(() => first.authenticate(new Uint8Array(16), keys))).toBe('settlement/session');
    expect(code(() => first.prepareTransfer(order))).toBe('settlement/session');
    expect(sessions.get(second.id)).toBe(second);
    expect(sessions.liveCount).toBe(1);
  });

  it('leaves a transfer that can be proved after it was superseded', () => {
    const first = begin();
    const transfer = first.prepareTransfer(order);
    const answers = card.transmit(transfer.commands);
    const second = begin('second');
    expect(sessions.verifyTransfer(first.id, answers)).toMatchObject({ outcome: 'committed' });
    expect(sessions.get(second.id)).toBe(second);
  });

  it('does not touch the sessions of other cards', () => {
    const first = begin();
    begin('other', cardOf('04DE5F1EACC041'));
    expect(first.takeReading(card.transmit(first.requestReading('balance')))).toMatchObject({ balanceMinor: 1000n });
  });

  it.each([
    ['a wrong answer', (session: LiveSession<string>) => session.takeReading([parseHex('9100')])],
    ['a reading before authentication', (session: LiveSession<string>) => { session.authenticate(new Uint8Array(16), keys); session.requestReading('balance'); }],
    ['an answer that was not asked for', (session: LiveSession<string>) => session.takeAuthentication([])],
    ['a challenge of wrong length', (session: LiveSession<string>) => session.authenticate(new Uint8Array(15), keys)],
    ['an amount out of range', (session: LiveSession<string>) => session.prepareTransfer({ ...order, amountMinor: 0n })],
  ])('is dead after %s', (_name, act) => {
    const session = begin();
    expect(() => act(session)).toThrow();
    expect(code(() => sessions.get(session.id))).toBe('settlement/session');
    expect(sessions.liveCount).toBe(0);
    expect(code(() => session.requestReading('balance'))).toBe('settlement/session');
  });

  it('does not open for a card that cannot prove itself', () => {
    const session = sessions.begin(card.uid, '');
    session.authenticate(parseOpening(card.transmit(openWallet(1))), keys);
    expect(code(() => session.takeAuthentication([parseHex('91AE')]))).toBe('card/not-genuine');
    expect(code(() => session.takeAuthentication([]))).toBe('settlement/session');
  });

  it('ends by age', () => {
    const session = begin();
    nowMs = 99;
    session.assertLive();
    nowMs = 100;
    expect(code(() => session.requestReading('balance'))).toBe('settlement/session');
    expect(sessions.liveCount).toBe(0);
  });
});

describe('bounds', () => {
  it('refuses more dialogues than it can hold, until some end', () => {
    const open = [0, 1, 2].map((n) => sessions.begin(parseHex(`04DE5F1EACC04${n}`), ''));
    expect(code(() => sessions.begin(parseHex('04DE5F1EACC049'), ''))).toBe('settlement/busy');
    sessions.begin(open[0]!.uid, 'again');
    sessions.forget(open[1]!.id);
    expect(encodeHex(sessions.begin(parseHex('04DE5F1EACC049'), '').uid)).toBe('04DE5F1EACC049');
    nowMs = 100;
    for (let n = 0; n < 3; n++) sessions.begin(parseHex(`04DE5F1EACC05${n}`), '');
    expect(sessions.liveCount).toBe(3);
  });

  it('keeps the newest transfers, each for its time', () => {
    const made = [0, 1, 2].map((n) => {
      const other = cardOf(`04DE5F1EACC04${n}`);
      const session = begin('', other);
      return { id: session.id, answers: other.transmit(session.prepareTransfer(order).commands) };
    });
    expect(made.map(({ id, answers }) => sessions.verifyTransfer(id, answers).outcome)).toEqual(['unproven', 'committed', 'committed']);
    nowMs = 1000;
    expect(made.map(({ id, answers }) => sessions.verifyTransfer(id, answers).outcome)).toEqual(['unproven', 'unproven', 'unproven']);
  });
});
