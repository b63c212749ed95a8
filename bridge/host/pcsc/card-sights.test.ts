import { describe, expect, test } from 'vitest';
import type { ReaderList } from '#bridge/native/messages.ts';
import { PCSC_ABI } from './abi.ts';
import { CardSights, POLL_MS } from './card-sights.ts';
import type { PcscLibrary } from './library.ts';
import { SCARD, STATE } from './status.ts';
import { watchReaders } from './watch.ts';

const READER = 'Reader 00 00';
const atr = new Uint8Array([0x3b, 0x80]);
const state = (bits: number, changes: number) => [{ name: READER, event: (changes * 0x10000) | bits, atr }];
const present = (changes: number) => state(STATE.PRESENT, changes);
const empty = (changes: number) => state(STATE.EMPTY, changes);

describe('a reader that turned empty without a removal', () => {
  test.each([
    ['is in doubt at first, and holds a forgotten card once a poll has passed', [present(1), empty(1)], POLL_MS, [READER]],
    ['is only in doubt until then', [present(1), empty(1)], POLL_MS - 1, []],
    ['is empty indeed once its removal is counted', [present(1), empty(1), empty(2)], POLL_MS, []],
    ['is empty indeed where its removal was counted at once', [present(1), empty(2)], POLL_MS, []],
    ['is none that was empty when first seen', [empty(1)], POLL_MS, []],
    ['is none whose card is seen again', [present(1), empty(1), present(1)], POLL_MS, []],
    ['is found too where the count has filled its 16 bits', [present(0xffff), empty(0xffff)], POLL_MS, [READER]],
  ] as const)('%s', (_, seen, laterMs, found) => {
    const sights = new CardSights();
    for (const sight of seen) expect(sights.take(sight, 1_000).forgotten).toEqual([]);
    expect(sights.take(seen.at(-1) ?? [], 1_000 + laterMs).forgotten).toEqual(found);
  });

  test('is woken again only after another poll, and forgotten with the reader', () => {
    const sights = new CardSights();
    for (const sight of [present(1), empty(1)]) sights.take(sight, 0);
    expect(sights.isInDoubt).toBe(true);
    expect(sights.take(empty(1), POLL_MS).forgotten).toEqual([READER]);
    expect(sights.take(empty(1), POLL_MS + 1).forgotten).toEqual([]);
    expect(sights.take(empty(1), 2 * POLL_MS).forgotten).toEqual([READER]);
    expect(sights.take([], 3 * POLL_MS).forgotten).toEqual([]);
    expect(sights.isInDoubt).toBe(false);
  });
});

test.each([
  ['another count under a card that lies there is another card', [present(1), present(3)], [READER]],
  ['the same count is the same card', [present(1), present(1)], []],
  ['a card that came is no exchange', [empty(0), present(1)], []],
  ['a gap that was seen is none', [present(1), empty(2), present(3)], []],
  ['the count begins anew after 16 bits', [present(0xffff), present(1)], [READER]],
] as const)('%s', (_, seen, exchanged) => {
  const sights = new CardSights();
  const findings = seen.map((sight) => sights.take(sight, 0));
  expect(findings.at(-1)?.exchanged).toEqual(exchanged);
});

/** A service with one reader, whose card it has forgotten as soon as `forget` is called; a reset through the reader finds the card. */
function forgetfulService(abi: PcscLibrary['abi']) {
  let isForgotten = false;
  let changes = 1;
  let looks = 0;
  const calls: string[] = [];
  const ok = () => Promise.resolve(SCARD.S_SUCCESS);
  const library: PcscLibrary = {
    abi,
    establishContext: () => Promise.resolve({ status: SCARD.S_SUCCESS, context: 1 }),
    releaseContext: ok,
    listReaders: () => Promise.resolve({ status: SCARD.S_SUCCESS, names: [READER] }),
    getStatusChange: async (_, timeoutMs) => {
      looks++;
      if (timeoutMs > 0) await new Promise((resolve) => setTimeout(resolve, Math.min(timeoutMs, POLL_MS)));
      return { status: timeoutMs > 0 ? SCARD.E_TIMEOUT : SCARD.S_SUCCESS, events: isForgotten ? empty(changes) : present(changes) };
    },
    cancel: () => SCARD.S_SUCCESS,
    connectExclusively: () => Promise.resolve({ status: SCARD.E_NO_SMARTCARD, card: 0, protocol: 0 }),
    connectToReader: () => {
      calls.push('connect');
      return Promise.resolve({ status: SCARD.S_SUCCESS, card: 7 });
    },
    reconnectWithReset: () => {
      calls.push('reset');
      isForgotten = false;
      return ok();
    },
    transmit: () => Promise.resolve({ status: SCARD.E_INVALID_HANDLE, response: new Uint8Array() }),
    disconnect: (_, disposition) => {
      calls.push(`disconnect ${disposition}`);
      return ok();
    },
  };
  return { library, calls, looks: () => looks, forget: () => (isForgotten = true), exchange: () => (changes += 2) };
}

async function watchUntil(library: PcscLibrary, onFirst: () => void, count: number): Promise<string[]> {
  const states: string[] = [];
  await new Promise<void>((resolve) => {
    const watch = watchReaders(() => library, () => false, ({ readers }: ReaderList) => {
      states.push(readers[0]?.state ?? 'gone');
      if (states.length === 1) onFirst();
      if (states.length < count) return;
      watch.stop();
      resolve();
    });
  });
  return states;
}

test('the watch wakes a forgotten card, and leaves it as it was', async () => {
  const { library, calls, forget } = forgetfulService(PCSC_ABI.linux);
  expect(await watchUntil(library, forget, 3)).toEqual(['present', 'empty', 'present']);
  expect(calls).toEqual(['connect', 'reset', 'disconnect 0']);
});

test('a service that forgets no card is never touched', async () => {
  const { library, calls, looks, forget } = forgetfulService(PCSC_ABI.win32);
  const watch = watchReaders(() => library, () => false, forget);
  await expect.poll(looks, { timeout: 5_000 }).toBeGreaterThan(5);
  watch.stop();
  expect(calls).toEqual([]);
});

test('a card that was exchanged unseen is told to have gone and come', async () => {
  const { library, exchange } = forgetfulService(PCSC_ABI.win32);
  expect(await watchUntil(library, exchange, 3)).toEqual(['present', 'empty', 'present']);
});
