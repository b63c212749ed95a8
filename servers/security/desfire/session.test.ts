/** The generated whole session, and a session's death after anything unexpected. */
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { concatBytes, encodeHex, parseHex, type Bytes } from '#protocol/bytes.ts';
import { Failure } from '#protocol/failure.ts';
import { parseChallenge, PendingAuthentication, requestChallenge } from './authentication.ts';
import { AesCmac, decryptCbc, encryptCbc, padBlocks } from './cmac.ts';
import { commitTransaction, debit, getValue, writeRecord } from './commands.ts';
import { CardRefusal } from './refusal.ts';
import { openAnswer, sealCommand, type SessionKeys } from './secure-messaging.ts';
import { CardSession, commandsOf, type TypedCommand } from './session.ts';
import { commitReaderIdInput, computeTransactionMac, debitInput, getValueInput, writeRecordInput } from './transaction-mac.ts';

interface GeneratedSession extends Record<'key' | 'RndA' | 'UID' | 'AppTransactionMACKey' | 'TMI' | 'TMV', string> {
  readonly TMC: number;
  readonly steps: readonly { readonly capdu: string; readonly rapdu: string }[];
}
const generated = JSON.parse(readFileSync(new URL('../vectors/desfire-session-generated.json', import.meta.url), 'utf8')) as GeneratedSession;
const sent = generated.steps.map((step) => step.capdu);
const answers = generated.steps.map((step) => parseHex(step.rapdu));
const RECORD = parseHex('A4010000202611221125000000000001');
const READER_ID = parseHex('52454144455230303030303030303031');

const commitReaderId: TypedCommand<Bytes> = { instruction: 0xc8, header: new Uint8Array(), data: READER_ID, protection: 'mac', answer: 'mac', parse: (data) => data };

function pendingAuthentication(): PendingAuthentication {
  return new PendingAuthentication({ authenticationKey: parseHex(generated.key), challenge: parseChallenge(answers[0]!), hostRandom: parseHex(generated.RndA) });
}

function makeBatch() {
  const session = pendingAuthentication().verify(answers[1]!);
  const batch = [
    session.seal(getValue(3)),
    session.seal(debit(3, 420n)),
    session.seal(writeRecord(1, 0, RECORD)),
    session.seal(commitReaderId),
    session.seal(commitTransaction()),
  ] as const;
  return { session, batch };
}

const code = (act: () => unknown): string => {
  try {
    act();
  } catch (cause) {
    return cause instanceof Failure ? cause.code : String(cause);
  }
  return 'nothing thrown';
};

describe('a whole session', () => {
  it('is made ahead byte for byte and opened in order', () => {
    expect(encodeHex(requestChallenge(3).apdu)).toBe(sent[0]);
    expect(encodeHex(pendingAuthentication().command.apdu)).toBe(sent[1]);
    const { session, batch } = makeBatch();
    expect(commandsOf(batch).map(({ apdu }) => encodeHex(apdu))).toEqual(sent.slice(2));
    const [value, , , encryptedReaderId, proof] = session.openBatch(batch, answers.slice(2));
    expect(value).toBe(5000n);
    expect(proof.transactionCounter).toBe(generated.TMC);
    expect(encodeHex(proof.transactionMac)).toBe(generated.TMV);
    const transactionMacInput = concatBytes(
      getValueInput(3, value), debitInput(3, 420n), writeRecordInput(1, 0, RECORD), commitReaderIdInput(READER_ID, encryptedReaderId),
    );
    expect(encodeHex(transactionMacInput)).toBe(generated.TMI);
    const card = { transactionMacKey: parseHex(generated.AppTransactionMACKey), uid: parseHex(generated.UID) };
    expect(encodeHex(computeTransactionMac({ ...card, transactionCounter: generated.TMC, transactionMacInput }))).toBe(generated.TMV);
  });

  it.each([
    ['an error status', [...answers.slice(2, 4), parseHex('911E')], 'card/refused'],
    ['a bad MAC', [answers[2]!, parseHex('1CB5BF2F5876E1EC9100')], 'card/answer'],
    ['two answers in each other\'s place', [answers[3]!, answers[2]!], 'card/answer'],
    ['the same answer twice', [answers[2]!, answers[2]!], 'card/answer'],
    ['an answer too few', answers.slice(2, 6), 'card/removed'],
    ['no answer', [], 'card/removed'],
    ['an answer too many', [...answers.slice(2), parseHex('9100')], 'message/malformed'],
    ['an answer without a status word', [parseHex('91')], 'card/answer'],
    ['an empty answer', [parseHex('')], 'card/answer'],
    ['a bare status word where a MAC belongs', [parseHex('9100')], 'card/answer'],
  ] as const)('dies of %s', (_name, responses, expected) => {
    const { session, batch } = makeBatch();
    expect(code(() => session.openBatch(batch, responses))).toBe(expected);
    expect(session.isAlive).toBe(false);
    expect(code(() => session.openBatch(batch, answers.slice(2)))).toBe('settlement/session');
    expect(code(() => session.seal(getValue(3)))).toBe('settlement/session');
  });

  it('opens no answers out of order', () => {
    const { session, batch } = makeBatch();
    expect(() => session.openBatch(batch.slice(1), answers.slice(3))).toThrow('in the order');
    expect(session.isAlive).toBe(false);
  });
});

describe('mutual authentication', () => {
  it.each([
    ['the card refuses our half', '91AE', 'card/not-genuine'],
    ['another status', '911C', 'card/refused'],
    ['nothing', '', 'card/answer'],
    ['a short answer', 'C76F1746ACF62E63813FE69C0A83EC809100', 'card/answer'],
    ['a changed answer', 'C76F1746ACF62E63813FE69C0A83EC80314E58F2672AAE9CA1F76D5B21FC6BA59100', 'card/not-genuine'],
    ['our own half given back', `${sent[1]!.slice(10, -2)}9100`, 'card/not-genuine'],
  ])('fails on %s', (_name, answer, expected) => {
    const pending = pendingAuthentication();
    expect(code(() => pending.verify(parseHex(answer)))).toBe(expected);
    expect(code(() => pending.verify(answers[1]!))).toBe('settlement/session');
  });

  it('takes only a whole challenge', () => {
    for (const [answer, expected] of [['91AF', 'card/answer'], ['91AE', 'card/refused'], ['', 'card/answer'], [`${'00'.repeat(17)}91AF`, 'card/answer']] as const) {
      expect(code(() => parseChallenge(parseHex(answer)))).toBe(expected);
    }
    expect(code(() => new PendingAuthentication({ authenticationKey: new Uint8Array(16), challenge: new Uint8Array(15), hostRandom: new Uint8Array(16) }))).toBe('message/malformed');
  });

  it('keeps the status word of a refusal', () => {
    try {
      parseChallenge(parseHex('91AD'));
      expect.unreachable();
    } catch (cause) {
      expect(cause instanceof CardRefusal && cause.statusWord).toBe(0x91ad);
    }
  });
});

describe('secure messaging', () => {
  const block = fc.uint8Array({ minLength: 16, maxLength: 16 }).map((block) => new Uint8Array(block));
  const keysOf = fc.record({ encryptionKey: block, mac: block.map((key) => new AesCmac(key)), transactionIdentifier: fc.uint8Array({ minLength: 4, maxLength: 4 }).map((ti) => new Uint8Array(ti)) });

  /** A card's enciphered answer, made here from the rules alone. */
  function sealAnswer(keys: SessionKeys, counter: number, data: Bytes): Bytes {
    const next = Uint8Array.of((counter + 1) & 0xff, (counter + 1) >> 8);
    const iv = encryptCbc(keys.encryptionKey, concatBytes(Uint8Array.of(0x5a, 0xa5), keys.transactionIdentifier, next, new Uint8Array(8)));
    const body = data.length === 0 ? data : encryptCbc(keys.encryptionKey, padBlocks(data), iv);
    return concatBytes(body, keys.mac.computeShort(Uint8Array.of(0), next, keys.transactionIdentifier, body), Uint8Array.of(0x91, 0x00));
  }

  it('opens every answer in its own place only', () => {
    fc.assert(fc.property(keysOf, fc.nat(0xfffd), fc.uint8Array({ maxLength: 64 }), (keys, counter, data) => {
      const answer = sealAnswer(keys, counter, new Uint8Array(data));
      expect(openAnswer(keys, counter, 'full', answer)).toEqual(new Uint8Array(data));
      expect(() => openAnswer(keys, counter + 1, 'full', answer)).toThrow('wrong MAC');
    }), { numRuns: 50 });
  });

  it('seals so that the card can decipher, with another IV for every counter', () => {
    fc.assert(fc.property(keysOf, fc.nat(0xfffd), fc.uint8Array({ minLength: 1, maxLength: 32 }), (keys, counter, data) => {
      const command = { instruction: 0x8d, header: Uint8Array.of(1), data: new Uint8Array(data), protection: 'full' } as const;
      const { apdu } = sealCommand(keys, counter, command);
      const body = apdu.slice(6, -9);
      const iv = encryptCbc(keys.encryptionKey, concatBytes(Uint8Array.of(0xa5, 0x5a), keys.transactionIdentifier, Uint8Array.of(counter & 0xff, counter >> 8), new Uint8Array(8)));
      expect(decryptCbc(keys.encryptionKey, body, iv)).toEqual(padBlocks(new Uint8Array(data)));
      expect(sealCommand(keys, counter + 1, command).apdu.slice(6, -9)).not.toEqual(body);
    }), { numRuns: 50 });
  });

  it('refuses authentic answers with broken padding or length', () => {
    const keys: SessionKeys = { encryptionKey: new Uint8Array(16), mac: new AesCmac(new Uint8Array(16)), transactionIdentifier: new Uint8Array(4) };
    const withMac = (body: Bytes): Bytes => concatBytes(body, keys.mac.computeShort(Uint8Array.of(0, 1, 0), keys.transactionIdentifier, body), Uint8Array.of(0x91, 0x00));
    expect(() => openAnswer(keys, 0, 'full', withMac(new Uint8Array(16)))).toThrow('padding');
    expect(() => openAnswer(keys, 0, 'full', withMac(new Uint8Array(15)))).toThrow('broken length');
  });

  it('ends before its counter runs out', () => {
    const session = new CardSession({ encryptionKey: new Uint8Array(16), mac: new AesCmac(new Uint8Array(16)), transactionIdentifier: new Uint8Array(4) });
    for (let n = 0; n < 0xffff; n++) session.seal({ ...getValue(3), header: new Uint8Array() });
    expect(code(() => session.seal(getValue(3)))).toBe('settlement/session');
    expect(session.isAlive).toBe(false);
  });
});
