import { expect, test, vi } from 'vitest';
import type { CardChannel } from '#bridge/card-channel.ts';
import type { ReaderInfo } from '#bridge/reader-source.ts';
import type { CardCommand } from '#protocol/apdu.ts';
import { parseHex, type Bytes } from '#protocol/bytes.ts';
import { Failure } from '#protocol/failure.ts';
import { createCard } from './card.ts';

const command = (hex: string, expectedStatus = 0x9100): CardCommand => ({ apdu: parseHex(hex), expectedStatus });
const SELECT = command('00A4040C10A00000039656434103F015400000000B00', 0x9000);
const AUTHENTICATE = command('9071000002010000', 0x91af);
const CHALLENGE_ANSWER = command(`90AF000020${'11'.repeat(32)}00`);
const DEBIT = command('90DC00001903' + '22'.repeat(24) + '00');

function createSurroundings() {
  const sent: string[] = [];
  const callbacks = new Set<(readers: readonly ReaderInfo[]) => void>();
  const host = {
    problem: undefined as Failure | undefined,
    onReaders: (callback: (readers: readonly ReaderInfo[]) => void) => {
      callbacks.add(callback);
      return () => void callbacks.delete(callback);
    },
  };
  const channel = {
    readerName: 'reader',
    transmit: (commands: readonly CardCommand[]): Promise<Bytes[]> => {
      for (const { apdu } of commands) sent.push(Buffer.from(apdu).toString('hex').toUpperCase());
      return Promise.resolve(commands.map(() => parseHex('9100')));
    },
    close: vi.fn(() => Promise.resolve()),
  } satisfies CardChannel;
  const move = (readers: readonly ReaderInfo[]) => {
    for (const callback of [...callbacks]) callback(readers);
  };
  return { host, channel, sent, move, callbacks };
}

test('the phases pass what belongs to them, and the carried commands are counted', async () => {
  const { host, channel } = createSurroundings();
  const count = vi.fn();
  const card = createCard(channel, host, count);
  await card.transmit('identify', [SELECT, AUTHENTICATE]);
  await card.transmit('authenticate', [CHALLENGE_ANSWER]);
  expect(count.mock.calls).toEqual([[2], [1]]);
});

test('a debit that comes in another phase than its own stays here, and the card is given back', async () => {
  const { host, channel, sent } = createSurroundings();
  const card = createCard(channel, host, () => undefined);
  await card.transmit('identify', [SELECT, AUTHENTICATE]);
  await expect(card.transmit('authenticate', [DEBIT])).rejects.toMatchObject({ code: 'reader/refused-command' });
  expect(sent).toHaveLength(2);
  expect(channel.close).toHaveBeenCalled();
});

test('the debit passes once, and before the authentication not at all', async () => {
  const early = createSurroundings();
  await expect(createCard(early.channel, early.host, () => undefined).debit([DEBIT])).rejects.toMatchObject({ code: 'reader/refused-command' });
  expect(early.sent).toEqual([]);

  const { host, channel, sent } = createSurroundings();
  const card = createCard(channel, host, () => undefined);
  await card.transmit('identify', [SELECT, AUTHENTICATE]);
  await card.transmit('authenticate', [CHALLENGE_ANSWER]);
  await card.debit([DEBIT]);
  await expect(card.debit([DEBIT])).rejects.toMatchObject({ code: 'reader/refused-command' });
  expect(sent.filter((apdu) => apdu.startsWith('90DC'))).toHaveLength(1);
});

test.each<[string, readonly ReaderInfo[], Failure | undefined, string]>([
  ['the card is lifted', [{ name: 'reader', state: 'empty' }], undefined, 'card/removed'],
  ['the reader is unplugged', [{ name: 'another', state: 'present' }], undefined, 'card/removed'],
  ['the host dies', [], new Failure('host/failed'), 'host/failed'],
])('whoever waits is told once when %s', (_, readers, problem, code) => {
  const { host, channel, move } = createSurroundings();
  const card = createCard(channel, host, () => undefined);
  const lost = vi.fn();
  card.onLost(lost);
  move([{ name: 'reader', state: 'in-use' }]);
  expect(lost).not.toHaveBeenCalled();
  host.problem = problem;
  move(readers);
  move(readers);
  expect(lost).toHaveBeenCalledOnce();
  expect(lost.mock.calls[0]?.[0]).toMatchObject({ code });
  const late = vi.fn();
  card.onLost(late);
  expect(late).toHaveBeenCalledOnce();
});

test('a card that was given back tells nobody any more', async () => {
  const { host, channel, move, callbacks } = createSurroundings();
  const card = createCard(channel, host, () => undefined);
  const lost = vi.fn();
  card.onLost(lost);
  await card.close();
  move([{ name: 'reader', state: 'empty' }]);
  expect(lost).not.toHaveBeenCalled();
  expect(callbacks.size).toBe(0);
});
