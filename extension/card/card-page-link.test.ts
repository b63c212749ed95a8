import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Failure, type FailureCode } from '#protocol/failure.ts';
import { createPage, FELICA, reader, refuse, report, settled, slow } from './card-page.fixture.ts';

const CODE = 'ABCD-EF12-GH34-JK56';

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date'] });
});
afterEach(() => {
  vi.useRealTimers();
});

async function notLinked() {
  const at = createPage([reader('present')]);
  at.read.mockImplementation(refuse('customer/card-not-linked'));
  await at.look();
  expect(at.page.state).toMatchObject({ kind: 'not-linked', failure: null, work: 'none' });
  return at;
}

test('a card of somebody else shows nothing, is asked once, and gives way to the next card', async () => {
  const { page, read, liftCard, putCard, states } = await notLinked();
  expect(read).toHaveBeenCalledTimes(1);
  expect(states.some(({ kind }) => kind === 'shown')).toBe(false);
  await liftCard();
  expect(page.state.kind).toBe('not-linked');
  read.mockResolvedValue(report);
  await putCard();
  expect(page.state.kind).toBe('shown');
});

test('a code links the card that lies there, in one contact, spelt as the settlement spells it', async () => {
  const { page, link, read, connect } = await notLinked();
  page.link(' abcd ef12 gh34 jk56');
  await settled();
  expect(link).toHaveBeenCalledExactlyOnceWith(expect.objectContaining({ readerName: FELICA }), CODE);
  expect(read).toHaveBeenCalledTimes(1);
  expect(connect).toHaveBeenCalledTimes(2);
  expect(page.state).toMatchObject({ kind: 'shown', shown: { isNew: true } });
});

test('what cannot be a code is refused without the card and without the settlement', async () => {
  const { page, link, connect } = await notLinked();
  page.link('ABCD-EF12');
  await settled();
  expect(page.state).toMatchObject({ kind: 'not-linked', failure: 'customer/activation-code', work: 'none' });
  expect(link).not.toHaveBeenCalled();
  expect(connect).toHaveBeenCalledTimes(1);
});

test('a wrong code is told, is not sent again by itself, and the form stays', async () => {
  const { page, link, read, liftCard, putCard } = await notLinked();
  link.mockImplementationOnce(refuse('customer/activation-code'));
  page.link(CODE);
  await settled();
  expect(page.state).toMatchObject({ kind: 'not-linked', failure: 'customer/activation-code', work: 'none' });
  await liftCard();
  await putCard();
  expect(page.state).toMatchObject({ kind: 'not-linked', failure: 'customer/activation-code' });
  expect(link).toHaveBeenCalledTimes(1);
  expect(read).toHaveBeenCalledTimes(2);
  page.link(CODE);
  await settled();
  expect(link).toHaveBeenCalledTimes(2);
  expect(page.state.kind).toBe('shown');
});

test('a code that was entered without the card waits for it', async () => {
  const { page, link, read, liftCard, putCard } = await notLinked();
  await liftCard();
  page.link(CODE);
  await settled();
  expect(page.state).toMatchObject({ kind: 'not-linked', work: 'waiting' });
  expect(link).not.toHaveBeenCalled();
  await putCard();
  expect(link).toHaveBeenCalledTimes(1);
  expect(read).toHaveBeenCalledTimes(1);
  expect(page.state.kind).toBe('shown');
});

test.each<[FailureCode]>([['card/removed'], ['settlement/unreachable'], ['message/signature'], ['internal/bug']])('a linking that ended with %s may have happened: the card is read before a code is sent again', async (code) => {
  const complaint = vi.spyOn(console, 'error').mockReturnValue();
  const { page, link, read, move, putCard } = await notLinked();
  link.mockImplementationOnce(() => {
    move([reader('empty')]);
    return Promise.reject(new Failure(code));
  });
  page.link(CODE);
  await settled();
  expect(page.state).toMatchObject({ kind: 'not-linked', failure: code, work: 'none' });
  // It did happen.
  read.mockReset().mockResolvedValue(report);
  page.link(CODE);
  await putCard();
  expect(read).toHaveBeenCalledTimes(1);
  expect(link).toHaveBeenCalledTimes(1);
  expect(page.state).toMatchObject({ kind: 'shown', shown: { isNew: false } });
  complaint.mockRestore();
});

test('where the unsure linking did not happen, the reading is followed by another with the code', async () => {
  const { page, link, read } = await notLinked();
  link.mockImplementationOnce(refuse('settlement/unreachable'));
  page.link(CODE);
  await settled();
  page.link(CODE);
  await settled();
  expect([read.mock.calls.length, link.mock.calls.length]).toEqual([2, 2]);
  expect(page.state).toMatchObject({ kind: 'shown', shown: { isNew: true } });
});

test('a code that is entered while the card is read once more follows that reading', async () => {
  const { page, read, link, liftCard, putCard } = await notLinked();
  const reading = slow(report);
  read.mockImplementationOnce(async () => {
    await reading.start();
    throw new Failure('customer/card-not-linked');
  });
  await liftCard();
  await putCard();
  expect(page.state).toMatchObject({ kind: 'not-linked', work: 'reading' });
  page.link(CODE);
  expect(page.state).toMatchObject({ work: 'reading' });
  reading.finish();
  await settled();
  expect(link).toHaveBeenCalledTimes(1);
  expect(page.state.kind).toBe('shown');
});

test('another kind of card ends the form; trouble on the way does not', async () => {
  const { page, read, liftCard, putCard } = await notLinked();
  read.mockImplementationOnce(refuse('settlement/unreachable'));
  await liftCard();
  await putCard();
  expect(page.state).toMatchObject({ kind: 'not-linked', failure: 'settlement/unreachable' });
  read.mockImplementationOnce(refuse('card/unsupported'));
  await liftCard();
  await putCard();
  expect(page.state).toMatchObject({ kind: 'waiting', failure: 'card/unsupported' });
});
