import { expect, test, vi } from 'vitest';
import type { CardChannel } from '#bridge/card-channel.ts';
import type { ReaderInfo, ReaderSource } from '#bridge/reader-source.ts';
import { encodeHex, parseHex, type Bytes } from '#protocol/bytes.ts';
import { Failure, type FailureCode } from '#protocol/failure.ts';
import { tryCard, type TrialParts } from './card-trial.ts';

const READER = 'SONY RC-S300';
const SELECT = '00A4040C10A00000039656434103F015400000000B00';
const GET_VERSION = '9060000000';
const MORE = '90AF000000';
const CHALLENGE = '9071000002010000';

/** A card as a table of answers; what a command is answered with depends on how often it came. */
type Answers = Readonly<Record<string, readonly string[]>>;

const LIGHT: Answers = {
  [SELECT]: ['9000'],
  [GET_VERSION]: ['040801300013059 1AF'.replaceAll(' ', '')],
  [MORE]: ['0408010300130591AF', '04A1B2C3D4E5F6AABBCCDDEE0522 9100'.replaceAll(' ', '')],
  [CHALLENGE]: ['00112233445566778899AABBCCDDEEFF91AF'],
};
const EV2: Answers = { ...LIGHT, [SELECT]: ['6A82'], [GET_VERSION]: ['0401011200160591AF'] };
const RANDOM_ID: Answers = { ...EV2, [MORE]: ['0401010200160591AF', '00000000000000AABBCCDDEE05229100'] };
const OTHER: Answers = { [SELECT]: ['6A82'], [GET_VERSION]: ['6E00'] };

function createReader(answers: Answers, state: ReaderInfo['state'] = 'present') {
  const sent: string[] = [];
  const counts = new Map<string, number>();
  const answer = (command: string): Bytes => {
    const all = answers[command] ?? ['6D00'];
    const count = counts.get(command) ?? 0;
    counts.set(command, count + 1);
    return parseHex(all[count % all.length]!);
  };
  const close = vi.fn(() => Promise.resolve());
  const channel: CardChannel = {
    readerName: READER,
    transmit: (commands) => {
      const responses: Bytes[] = [];
      for (const { apdu, expectedStatus } of commands) {
        sent.push(encodeHex(apdu));
        const response = answer(encodeHex(apdu));
        responses.push(response);
        if (parseInt(encodeHex(response).slice(-4), 16) !== expectedStatus) break;
      }
      return Promise.resolve(responses);
    },
    close,
  };
  const callbacks = new Set<(readers: readonly ReaderInfo[]) => void>();
  const source = {
    readers: [{ name: READER, state }] as readonly ReaderInfo[],
    problem: undefined as Failure | undefined,
    onReaders: (callback: (readers: readonly ReaderInfo[]) => void) => {
      callbacks.add(callback);
      return () => void callbacks.delete(callback);
    },
    connect: vi.fn(() => Promise.resolve(channel)),
    close: () => Promise.resolve(),
  } satisfies ReaderSource;
  const move = (readers: readonly ReaderInfo[]): void => {
    source.readers = readers;
    for (const callback of [...callbacks]) callback(readers);
  };
  return { source, sent, move, channel, close, callbacks };
}

function partsFor(source: ReaderSource, stop = new AbortController()): TrialParts {
  let clock = 0;
  const lengths = [30, 2, 2, 2, 2, 2, 3, 3, 3];
  let reads = 0;
  // The first command is slow, as it is on real readers: a mean would say so, the median does not.
  return { source, readerName: READER, signal: stop.signal, onCard: vi.fn(), now: () => (reads++ % 2 === 0 ? clock : (clock += lengths[(reads - 2) / 2] ?? 2)) };
}

test.each([
  ['a payment card', LIGHT, { card: 'payment', uid: '7-byte', ending: 'E5F6' }],
  ['another DESFire card', EV2, { card: 'desfire', uid: '7-byte', ending: null }],
  ['a DESFire card with a random number', RANDOM_ID, { card: 'desfire', uid: 'random', ending: null }],
  ['a card of another maker', OTHER, { card: 'other', uid: 'none', ending: null }],
])('%s is told from others, and its round trip measured', async (_, answers, result) => {
  const { source, close } = createReader(answers);
  const parts = partsFor(source);
  expect(await tryCard(parts)).toEqual({ ...result, medianMs: 2, rounds: 9 });
  expect(parts.onCard).toHaveBeenCalledOnce();
  expect(close).toHaveBeenCalledOnce();
});

test('nothing is sent but what any card may be asked, and no authentication is completed', async () => {
  const { source, sent } = createReader(LIGHT);
  await tryCard(partsFor(source));
  expect([...new Set(sent)].sort()).toEqual([SELECT, GET_VERSION, MORE, CHALLENGE].sort());
});

test('it waits until a card is put down', async () => {
  const { source, move } = createReader(LIGHT, 'empty');
  const trial = tryCard(partsFor(source));
  await Promise.resolve();
  expect(source.connect).not.toHaveBeenCalled();
  move([{ name: READER, state: 'present' }]);
  expect(await trial).toMatchObject({ card: 'payment' });
});

test.each<[string, readonly ReaderInfo[], FailureCode]>([
  ['the reader is unplugged', [], 'reader/none'],
  ['another program takes it', [{ name: READER, state: 'in-use' }], 'reader/in-use'],
  ['two cards lie there', [{ name: READER, state: 'mute', problem: 'card/several' }], 'card/several'],
  ['something lies there that is no card', [{ name: READER, state: 'mute' }], 'card/silent'],
])('while it waits, %s', async (_, readers, code) => {
  const { source, move, callbacks } = createReader(LIGHT, 'empty');
  const trial = tryCard(partsFor(source));
  move(readers);
  await expect(trial).rejects.toMatchObject({ code });
  expect(callbacks.size).toBe(0);
});

test('it can be stopped while it waits', async () => {
  const stop = new AbortController();
  const { source, callbacks } = createReader(LIGHT, 'empty');
  const trial = tryCard(partsFor(source, stop));
  stop.abort();
  await expect(trial).rejects.toMatchObject({ code: 'payment/aborted' });
  expect(callbacks.size).toBe(0);
});

test('a card that fails in the middle is given back', async () => {
  const { source, channel, close } = createReader(LIGHT);
  channel.transmit = () => Promise.reject(new Failure('card/removed'));
  await expect(tryCard(partsFor(source))).rejects.toMatchObject({ code: 'card/removed' });
  expect(close).toHaveBeenCalledOnce();
});
