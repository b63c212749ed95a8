/** How long an operator's desk waits for a reader, and for a card on it. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { ReaderBackend } from '#bridge/host/backend.ts';
import type { ReaderList } from '#bridge/native/messages.ts';
import { Failure } from '#protocol/failure.ts';
import { waitForCard } from './operator-desk.ts';

type Reader = ReaderList['readers'][number];

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** A machine whose readers a test changes. */
function machine(first: ReaderList) {
  const listeners = new Set<(list: ReaderList) => void>();
  const backend: ReaderBackend = {
    name: 'pcsc',
    watch: (onChange) => {
      listeners.add(onChange);
      onChange(first);
      return { stop: () => void listeners.delete(onChange) };
    },
    connect: () => Promise.reject(new Error('nothing is connected here')),
    close: () => Promise.resolve({ idle: true }),
  };
  return { backend, listeners, report: (list: ReaderList) => listeners.forEach((listener) => listener(list)) };
}

const reader = (name: string, state: Reader['state'] = 'empty'): Reader => ({ name, state });
const listOf = (...readers: Reader[]): ReaderList => ({ readers });

/** What became of the waiting, and after how many seconds. */
function waiting(backend: ReaderBackend, wanted?: string) {
  const startedAt = Date.now();
  const at: { ended: string; seconds: number } = { ended: 'waits', seconds: 0 };
  const end = (ended: string): void => void Object.assign(at, { ended, seconds: (Date.now() - startedAt) / 1000 });
  waitForCard(backend, wanted).then(end, (thrown: unknown) => end(thrown instanceof Failure ? thrown.message : String(thrown)));
  return at;
}

test('a card on any reader, or on the one that is named by a part of its name', async () => {
  const { backend, listeners } = machine(listOf(reader('ACS One'), reader('Sony RC-S300', 'present')));
  const [any, named, other] = [waiting(backend), waiting(backend, 'rc-s3'), waiting(backend, 'acs')];
  await vi.advanceTimersByTimeAsync(0);
  expect([any, named, other]).toEqual([{ ended: 'Sony RC-S300', seconds: 0 }, { ended: 'Sony RC-S300', seconds: 0 }, { ended: 'waits', seconds: 0 }]);
  await vi.advanceTimersByTimeAsync(60_000);
  expect(other).toEqual({ ended: 'card/absent: readers: ACS One, Sony RC-S300', seconds: 60 });
  expect(listeners.size).toBe(0);
});

test('a reader that is not connected is not waited for as long as a person with a card', async () => {
  const none = waiting(machine(listOf()).backend);
  const another = waiting(machine(listOf(reader('ACS One', 'present'))).backend, 'rc-s3');
  await vi.advanceTimersByTimeAsync(5_000);
  expect(none).toEqual({ ended: 'reader/none: no reader is connected', seconds: 5 });
  expect(another).toEqual({ ended: 'reader/none: readers: ACS One', seconds: 5 });
});

test('a reader that is there in time is waited at for the card', async () => {
  const { backend, report } = machine(listOf());
  const at = waiting(backend, 'rc-s3');
  await vi.advanceTimersByTimeAsync(4_000);
  report(listOf(reader('Sony RC-S300')));
  await vi.advanceTimersByTimeAsync(50_000);
  expect(at.ended).toBe('waits');
  report(listOf(reader('Sony RC-S300', 'present')));
  await vi.advanceTimersByTimeAsync(0);
  expect(at).toEqual({ ended: 'Sony RC-S300', seconds: 54 });
});

test('no smart-card service is said at once', async () => {
  const at = waiting(machine({ readers: [], problem: 'reader/no-service' }).backend);
  await vi.advanceTimersByTimeAsync(0);
  expect(at).toMatchObject({ ended: 'reader/no-service', seconds: 0 });
});
