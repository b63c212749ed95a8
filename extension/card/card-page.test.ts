import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Failure, type FailureCode } from '#protocol/failure.ts';
import { CLEAR_MS } from './card-page.ts';
import { createPage, reader, refuse, report, settled, slow } from './card-page.fixture.ts';
import type { DecidedPayment } from './card-state.ts';

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date'] });
});
afterEach(() => {
  vi.useRealTimers();
});

test('a card that lies there is read once, shown, and not read again until it has been away', async () => {
  const { page, read, look, kinds, move, putCard, liftCard } = createPage([reader('present')]);
  await look();
  expect(kinds()).toEqual(['starting', 'waiting', 'reading', 'shown']);
  expect(page.state).toMatchObject({ kind: 'shown', shown: { balanceMinor: 8_800n, isNew: false }, isLifted: false });
  move([reader('present')]);
  await settled();
  expect(read).toHaveBeenCalledTimes(1);
  await liftCard();
  expect(page.state).toMatchObject({ kind: 'shown', isLifted: true });
  await putCard();
  expect(read).toHaveBeenCalledTimes(2);
  expect(page.state).toMatchObject({ kind: 'shown', isLifted: false });
});

test('a browser that is not enrolled touches no reader, and goes on as soon as it is enrolled elsewhere', async () => {
  const { page, ports, connect, look } = createPage([reader('present')]);
  ports.readings.mockResolvedValueOnce(undefined);
  await look();
  expect(page.state).toEqual({ kind: 'not-enrolled' });
  expect(ports.attendReaders).not.toHaveBeenCalledWith(true);
  expect(connect).not.toHaveBeenCalled();
  page.attend(false);
  await look();
  expect(page.state.kind).toBe('shown');
});

test('only in front: readers are held and cards read while it is looked at, and at no other time', async () => {
  const { page, ports, read, look, putCard } = createPage();
  await putCard();
  expect(read).not.toHaveBeenCalled();
  await look();
  expect(ports.attendReaders.mock.calls).toEqual([[true]]);
  expect(read).toHaveBeenCalledTimes(1);
  page.attend(false);
  await settled();
  expect(ports.attendReaders.mock.calls).toEqual([[true], [false]]);
});

test('a card that was put there while nobody looked is left alone until somebody does', async () => {
  const { page, read, look, putCard, states } = createPage();
  await look();
  page.attend(false);
  await settled();
  const before = states.length;
  await putCard();
  expect(read).not.toHaveBeenCalled();
  expect(states).toHaveLength(before);
});

test('coming back, what lies there is read anew: it may have paid meanwhile', async () => {
  const { page, read, look } = createPage([reader('present')]);
  await look();
  page.attend(false);
  await settled();
  read.mockResolvedValueOnce({ ...report, balanceMinor: 7_600n });
  await look();
  expect(read).toHaveBeenCalledTimes(2);
  expect(page.state).toMatchObject({ kind: 'shown', shown: { balanceMinor: 7_600n } });
});

test('a contact that has begun is ended before the readers are given back', async () => {
  const { page, ports, read, look } = createPage([reader('present')]);
  const reading = slow(report);
  read.mockImplementationOnce(reading.start);
  await look();
  page.attend(false);
  await settled();
  expect(ports.attendReaders.mock.calls).toEqual([[true]]);
  reading.finish();
  await settled();
  expect(page.state.kind).toBe('shown');
  expect(ports.attendReaders.mock.calls).toEqual([[true], [false]]);
});

test('coming back in the middle of a contact begins no second one', async () => {
  const { page, read, look } = createPage([reader('present')]);
  const reading = slow(report);
  read.mockImplementationOnce(reading.start);
  await look();
  page.attend(false);
  await look();
  reading.finish();
  await settled();
  expect(read).toHaveBeenCalledTimes(1);
  expect(page.state.kind).toBe('shown');
});

test.each<[string, (at: ReturnType<typeof createPage>) => Promise<void> | void]>([
  ['the card has gone', ({ liftCard }) => liftCard()],
  ['the reader has gone', ({ move }) => move([])],
  ['nobody looks at the page any more', ({ page }) => page.attend(false)],
])('when %s, what was shown goes from the screen a minute later, and not before', async (_, leave) => {
  const at = createPage([reader('present')]);
  await at.look();
  await leave(at);
  await vi.advanceTimersByTimeAsync(CLEAR_MS - 1);
  expect(at.page.state.kind).toBe('shown');
  await vi.advanceTimersByTimeAsync(1);
  expect(at.page.state).toMatchObject({ kind: 'waiting', isHidden: true, failure: null });
  expect(JSON.stringify(at.page.state)).not.toContain('04A1B2C3D4E5F6');
});

test('while the card lies there and somebody looks, it stays', async () => {
  const { page, look } = createPage([reader('present')]);
  await look();
  await vi.advanceTimersByTimeAsync(10 * CLEAR_MS);
  expect(page.state.kind).toBe('shown');
});

test('a second leaving does not prolong the minute, and a card that was put back is not cleared', async () => {
  const { page, look, liftCard, putCard } = createPage([reader('present')]);
  await look();
  await liftCard();
  await vi.advanceTimersByTimeAsync(CLEAR_MS / 2);
  page.attend(false);
  await vi.advanceTimersByTimeAsync(CLEAR_MS / 2);
  expect(page.state.kind).toBe('waiting');
  await look();
  await putCard();
  await liftCard();
  await vi.advanceTimersByTimeAsync(CLEAR_MS / 2);
  await putCard();
  await vi.advanceTimersByTimeAsync(CLEAR_MS);
  expect(page.state.kind).toBe('shown');
});

test('after a sleep of the computer nothing old is shown to whoever comes', async () => {
  const { page, look, liftCard, states } = createPage([reader('present')]);
  await look();
  await liftCard();
  page.attend(false);
  // Timers stood still.
  vi.setSystemTime(Date.now() + CLEAR_MS);
  states.length = 0;
  page.attend(true);
  expect(page.state).toMatchObject({ kind: 'waiting', isHidden: true });
  await settled();
});

test('hidden by hand it is gone at once, and is read anew only when asked for', async () => {
  const { page, read, look, move } = createPage([reader('present')]);
  await look();
  page.hide();
  expect(page.state).toMatchObject({ kind: 'waiting', isHidden: true });
  move([reader('present')]);
  await settled();
  expect(read).toHaveBeenCalledTimes(1);
  page.retry();
  await settled();
  expect(read).toHaveBeenCalledTimes(2);
  expect(page.state.kind).toBe('shown');
});

test.each<[FailureCode]>([['settlement/unreachable'], ['card/not-genuine'], ['card/blocked'], ['customer/unknown'], ['reader/failed'], ['internal/bug']])('%s is told; the same card is read again only when asked for, or put back', async (code) => {
  const complaint = vi.spyOn(console, 'error').mockReturnValue();
  const { page, read, look, putCard, liftCard } = createPage([reader('present')]);
  read.mockImplementation(refuse(code));
  await look();
  expect(page.state).toMatchObject({ kind: 'waiting', failure: code, isHidden: false });
  await vi.advanceTimersByTimeAsync(10_000);
  expect(read).toHaveBeenCalledTimes(1);
  page.retry();
  await settled();
  expect(read).toHaveBeenCalledTimes(2);
  read.mockResolvedValue(report);
  await liftCard();
  expect(page.state).toMatchObject({ kind: 'waiting', failure: code });
  await putCard();
  expect(page.state.kind).toBe('shown');
  complaint.mockRestore();
});

test('a card that was taken away too early is read as soon as it is back', async () => {
  const { page, read, look, move, putCard } = createPage([reader('present')]);
  read.mockImplementationOnce(() => {
    move([reader('empty')]);
    return Promise.reject(new Failure('card/removed'));
  });
  await look();
  expect(page.state).toMatchObject({ kind: 'waiting', failure: 'card/removed' });
  await putCard();
  expect(page.state.kind).toBe('shown');
});

test('an identity that cannot be loaded is a failure on the screen, not silence', async () => {
  const complaint = vi.spyOn(console, 'error').mockReturnValue();
  const { page, ports, look } = createPage();
  ports.readings.mockRejectedValueOnce(new Error('IndexedDB'));
  await look();
  expect(page.state).toMatchObject({ kind: 'waiting', failure: 'internal/bug' });
  complaint.mockRestore();
});

test('each card is let go of, whatever became of it', async () => {
  const { read, connect, look, putCard, liftCard } = createPage();
  const close = vi.fn(() => Promise.resolve());
  connect.mockImplementation((readerName) => Promise.resolve({ readerName, transmit: () => Promise.resolve([]), close }));
  await look();
  await putCard();
  expect(close).toHaveBeenCalledTimes(1);
  await liftCard();
  read.mockImplementationOnce(refuse('card/answer'));
  await putCard();
  expect(close).toHaveBeenCalledTimes(2);
});

test('what the reading decided is concluded and shown', async () => {
  const decided: DecidedPayment[] = [{ amountMinor: 1200n, outcome: 'paid', shopName: 'Hanamaru Books' }];
  const { page, ports, look } = createPage([reader('present')], () => Promise.resolve(decided));
  await look();
  expect(ports.conclude).toHaveBeenCalledWith(report);
  expect(page.state).toMatchObject({ kind: 'shown', shown: { decided } });
});

test('a closed page shows nothing more and holds no reader', async () => {
  const { page, read, look, states } = createPage([reader('present')]);
  const reading = slow(report);
  read.mockImplementationOnce(reading.start);
  await look();
  page.close();
  const before = states.length;
  reading.finish();
  await settled();
  await vi.advanceTimersByTimeAsync(2 * CLEAR_MS);
  page.attend(true);
  expect(states).toHaveLength(before);
});
