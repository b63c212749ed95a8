/** Everything that an emulated reader, its cable and the air do wrong on command, against the real drivers: each failure has its code, no command is carried out twice, and the reader serves again. */
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { DEVICE_KINDS, type DeviceKind } from '#card-firmware-sim/usb/device-kinds.ts';
import type { FieldFaultKind } from '#card-firmware-sim/usb/field.ts';
import { parseHex } from '#protocol/bytes.ts';
import { ReaderDesk, type DeskOptions, type Outcome } from './reader-desk.fixture.ts';
import { endVirtualTime, startVirtualTime } from './virtual-time.fixture.ts';

vi.mock('node:timers/promises', async () => ({ setTimeout: (await import('./virtual-time.fixture.ts')).delayByTimer }));
beforeEach(startVirtualTime);
afterEach(endVirtualTime);

type Arrange = (desk: ReaderDesk, n: number) => void;
type End = Outcome['end'];
const IS_HID: Readonly<Record<DeviceKind, boolean>> = { 'rc-s300': false, 'rc-s380': false, magtek: true, vivotech: true, 'apdu-hid': true };
const COMMANDS = 3;
/** More transfers in one direction, and more frames, than opening, search and three commands need on any reader. */
const MOST_TRANSFERS = 48;
const MOST_FRAMES = 14;
/** So many desks at once: their waits are the same. */
const DESKS = 64;

const upTo = (last: number, first = 1): number[] => Array.from({ length: last - first + 1 }, (_, index) => first + index);

interface PlayOptions extends DeskOptions {
  /** What the reader has gone through, in a word: whether it serves again is asked once for each. Default: always. */
  readonly story?: (desk: ReaderDesk, outcome: Outcome) => string;
}

/** One session, judged: whatever went wrong, these hold. */
async function play(kind: DeviceKind, n: number, arrange: Arrange, { story, ...options }: PlayOptions = {}, known = new Set<string>()): Promise<Outcome> {
  const desk = new ReaderDesk(kind, options);
  try {
    arrange(desk, n);
    desk.plug();
    const outcome = await desk.serve(COMMANDS);
    const carriedOut = desk.carriedOut.length;
    expect(carriedOut - outcome.answers, `at ${n}: ${outcome.end}, ${carriedOut} carried out, ${outcome.answers} answered`).toSatisfy((unknown: number) => outcome.end === 'untrue' || unknown === 0 || (unknown === 1 && outcome.end !== 'served'));
    const told = story?.(desk, outcome) ?? '';
    if (story === undefined || !known.has(told)) {
      known.add(told);
      expect(await desk.servesAgain(), `at ${n}, after ${outcome.end}: the reader serves again`).toBeDefined();
    }
    expect(desk.violations(), `at ${n}: commands carried out twice, or out of order`).toEqual([]);
    return outcome;
  } finally {
    await desk.close();
  }
}

/** The same with the fault at each of these places; resolves to what the sessions ended in, each end once. */
async function sweep(kind: DeviceKind, places: readonly number[], arrange: Arrange, options?: PlayOptions): Promise<End[]> {
  const ends = new Set<End>();
  const known = new Set<string>();
  for (let at = 0; at < places.length; at += DESKS) {
    for (const { end } of await Promise.all(places.slice(at, at + DESKS).map((n) => play(kind, n, arrange, options, known)))) ends.add(end);
  }
  return [...ends].sort();
}

describe.each(DEVICE_KINDS)('a bad cable: %s', (kind) => {
  test('unplugged at every byte of a session', async () => {
    const whole = new ReaderDesk(kind);
    whole.plug();
    expect(await whole.serve(COMMANDS)).toEqual({ end: 'served', answers: COMMANDS });
    const { bytes } = whole.emulated.device;
    await whole.close();
    // Bytes of one transfer are lost together: what came before them tells the places apart.
    const story = ({ emulated: { device } }: ReaderDesk, { end, answers }: Outcome): string => [device.bytes, end, answers].join();
    const ends = await sweep(kind, upTo(bytes + 1, 0), ({ emulated }, n) => (emulated.device.faults.unplugAfterBytes = n), { story });
    expect(ends).toEqual(['reader/failed', 'served', 'unplugged']);
  });

  test('a refused transfer, at every one to the reader', async () => {
    expect(await sweep(kind, upTo(MOST_TRANSFERS), ({ emulated }, n) => (emulated.device.faults.stallOutAt = n))).toEqual(['reader/failed', 'served']);
  });

  test.each(['stallInAt', 'swallowAt'] as const)('%s: a lost answer, at every one', async (fault) => {
    expect(await sweep(kind, upTo(MOST_TRANSFERS), ({ emulated }, n) => (emulated.device.faults[fault] = n))).toEqual([IS_HID[kind] ? 'card/silent' : 'reader/failed', 'served']);
  });

  test('slow transfers are waited for', async () => {
    expect(await sweep(kind, [1, 10, 50, 100, 200], ({ emulated }, n) => (emulated.device.faults.slowMs = n))).toEqual(['served']);
    expect(await sweep(kind, [2_000, 5_000], ({ emulated }, n) => (emulated.device.faults.slowMs = n))).toEqual(['reader/failed']);
  });
});

/** What is wrong; how a session ends that it was wrong in from the beginning, from the opened channel on, from the second command on, and the answers until then. */
type Row = readonly [how: Readonly<Record<string, number | boolean>>, before: End, opened: readonly [End, number], second: readonly [End, number]];

const SERVED = ['served', COMMANDS] as const;
const SONY = { failed: [['reader/failed', 0], ['reader/failed', 1]] } as const;
const OWN: Readonly<Record<DeviceKind, readonly Row[]>> = {
  'rc-s300': [
    [{ busy: 1 }, 'served', SERVED, SERVED],
    [{ busy: 1_000 }, 'reader/in-use', ['reader/in-use', 0], ['reader/in-use', 2]],
    [{ claimed: true }, 'reader/in-use', ['reader/in-use', 0], ['reader/in-use', 2]],
    [{ stale: 1 }, 'served', SERVED, SERVED],
    [{ wrongSequence: 1 }, 'served', ...SONY.failed],
    [{ timeExtensions: 3 }, 'served', SERVED, SERVED],
    [{ timeExtensions: 1_000 }, 'served', ...SONY.failed],
    [{ split: true }, 'served', SERVED, SERVED],
    [{ slowMs: 100 }, 'served', SERVED, SERVED],
    [{ slowMs: 3_000 }, 'reader/failed', ...SONY.failed],
    [{ garbage: 1 }, 'served', ...SONY.failed],
    [{ swallow: 1 }, 'served', ...SONY.failed],
  ],
  'rc-s380': [
    [{ missingAck: 1 }, 'served', ['reader/failed', 0], ['reader/failed', 2]],
    [{ checksum: 1 }, 'served', ...SONY.failed],
    [{ stale: 1 }, 'served', SERVED, SERVED],
    [{ error: 1 }, 'served', ['reader/failed', 0], ['reader/failed', 2]],
    [{ slowMs: 100 }, 'served', SERVED, SERVED],
    [{ slowMs: 3_000 }, 'reader/failed', ...SONY.failed],
    [{ garbage: 1 }, 'served', ...SONY.failed],
    [{ swallow: 1 }, 'served', ...SONY.failed],
  ],
  magtek: [
    [{ answerDelayMs: 100 }, 'served', SERVED, SERVED],
    [{ answerDelayMs: 3_000 }, 'reader/failed', SERVED, SERVED],
    [{ answersToLose: 1 }, 'served', ['card/silent', 0], ['card/silent', 1]],
    [{ staleAnswers: 1 }, 'served', SERVED, SERVED],
    [{ wrongNumbers: 1 }, 'served', ['card/silent', 0], ['card/silent', 1]],
    [{ brokenAnswers: 1 }, 'served', ['reader/failed', 0], ['reader/failed', 1]],
    [{ isTaken: true }, 'reader/failed', ['reader/failed', 0], ['reader/failed', 2]],
  ],
  vivotech: [
    [{ answerDelayMs: 100 }, 'served', SERVED, SERVED],
    [{ answerDelayMs: 3_000 }, 'reader/failed', SERVED, SERVED],
    [{ answersToLose: 1 }, 'served', ['card/silent', 0], ['card/silent', 1]],
    // Answers have no number: see Outcome.
    [{ staleAnswers: 1 }, 'served', ['untrue', 0], ['untrue', 1]],
    [{ wrongNumbers: 1 }, 'served', ['card/silent', 0], ['card/silent', 1]],
    [{ brokenAnswers: 1 }, 'served', ['reader/failed', 0], ['reader/failed', 1]],
    [{ isTaken: true }, 'reader/permission', ['reader/permission', 0], ['reader/permission', 2]],
  ],
  'apdu-hid': [
    [{ answerDelayMs: 100 }, 'served', SERVED, SERVED],
    [{ answerDelayMs: 3_000 }, 'reader/failed', SERVED, SERVED],
    [{ answersToLose: 1 }, 'served', ['card/silent', 0], ['card/silent', 1]],
    [{ staleAnswers: 1 }, 'served', ['untrue', 0], ['untrue', 1]],
    [{ wrongNumbers: 1 }, 'served', ['reader/failed', 0], ['reader/failed', 1]],
    [{ brokenAnswers: 1 }, 'served', ['reader/failed', 0], ['reader/failed', 1]],
    [{ isTaken: true }, 'reader/failed', ['reader/failed', 0], ['reader/failed', 2]],
  ],
};

describe.each(DEVICE_KINDS)('its own bad days: %s', (kind) => {
  test.each(OWN[kind])('%o', async (how, before, [openedEnd, openedAnswers], [secondEnd, secondAnswers]) => {
    expect((await play(kind, 0, (desk) => desk.misbehave(how))).end).toBe(before);
    expect(await play(kind, 1, (desk) => (desk.onOpen = () => desk.misbehave(how)))).toEqual({ end: openedEnd, answers: openedAnswers });
    expect(await play(kind, 2, (desk) => (desk.onCommand = (count) => void (count === 2 && desk.misbehave(how))))).toEqual({ end: secondEnd, answers: secondAnswers });
  });
});

const LOSSES: readonly FieldFaultKind[] = ['drop-frame', 'corrupt-frame', 'drop-answer', 'corrupt-answer'];

describe.each(DEVICE_KINDS)('in the air: %s', (kind) => {
  test.each(['lift-before', 'lift-after'] as const)('%s: the card is gone at every frame', async (fault) => {
    const ends = await sweep(kind, upTo(MOST_FRAMES), (desk, n) => desk.field.inject({ kind: fault, atFrame: n }));
    expect(['card/removed', 'served']).toEqual(expect.arrayContaining(ends));
    for (const n of upTo(COMMANDS)) {
      expect(await play(kind, n, (desk) => (desk.onOpen = () => desk.field.inject({ kind: fault, atFrame: n })))).toEqual({ end: 'card/removed', answers: n - 1 });
    }
  });

  test.each(LOSSES)('%s: one loss is made good wherever it happens, and each command is carried out once', async (fault) => {
    expect(await sweep(kind, upTo(MOST_FRAMES), (desk, n) => desk.field.inject({ kind: fault, atFrame: n }))).toEqual(['served']);
    expect(await sweep(kind, upTo(COMMANDS), (desk, n) => (desk.onOpen = () => desk.field.inject({ kind: fault, atFrame: n })))).toEqual(['served']);
  });

  test.each(LOSSES)('%s: a card that is there, and is not understood for long, is silent or gone', async (fault) => {
    const ends = await sweep(kind, upTo(COMMANDS), (desk, n) => (desk.onOpen = () => desk.field.inject({ kind: fault, atFrame: n, times: 100 })));
    expect(['card/removed', 'card/silent']).toEqual(expect.arrayContaining(ends));
  });

  test('a card at work is waited for within the time of the batch', async () => {
    expect(await sweep(kind, [1, 30, 100, 1_000, 3_000], (desk, n) => (desk.onOpen = () => (desk.card.workMs = n)))).toEqual(['served']);
    expect(await sweep(kind, [4_000, 9_000, 15_000], (desk, n) => (desk.onOpen = () => (desk.card.workMs = n)))).toEqual(['card/silent']);
  });

  test('a card that has asked for time is silent, never gone, wherever the time of the batch ends', async () => {
    // FWI 12: the card is heard of after 0.6 s, and has 1.2 s from then on.
    const picc = { ats: parseHex('067777C10280') };
    for (const transmitLimitMs of [650, 900, 1_240, 1_700, 2_000]) {
      expect(await play(kind, transmitLimitMs, (desk) => (desk.onOpen = () => (desk.card.workMs = 5_000)), { picc, transmitLimitMs })).toEqual({ end: 'card/silent', answers: 0 });
    }
  });

  test('a storm of requests for time', async () => {
    expect(await sweep(kind, [1, 5, 50], (desk, n) => (desk.onOpen = () => (desk.card.wtxStorm = n)))).toEqual(['served']);
    // One that costs time ends with it, see above. One that costs none is ended by us; a terminal's firmware has limits of its own.
    if (!IS_HID[kind]) expect(await play(kind, 0, (desk) => (desk.onOpen = () => (desk.card.wtxStorm = 1e9)))).toEqual({ end: 'card/silent', answers: 0 });
  });

  test('two cards', async () => {
    // A ViVOpay terminal does not tell several from one that cannot be read.
    expect(await play(kind, 0, (desk) => desk.field.put(desk.otherCard()))).toEqual({ end: kind === 'vivotech' ? 'card/silent' : 'card/several', answers: 0 });
    // One that comes later is not listened to.
    expect(await play(kind, 1, (desk) => (desk.onCommand = (n) => void (n === 1 && desk.field.put(desk.otherCard()))))).toEqual({ end: 'served', answers: COMMANDS });
  });

  test('a random number in place of the UID', async () => {
    expect(await play(kind, 0, () => undefined, { picc: { randomUid: true } })).toEqual({ end: 'served', answers: COMMANDS });
    expect(await play(kind, 1, (desk) => (desk.onOpen = () => desk.field.inject({ kind: 'lift-after', atFrame: 2 })), { picc: { randomUid: true } })).toEqual({ end: 'card/removed', answers: 1 });
  });
});

/** One thing that goes wrong, and when: as the reader is plugged in, as the channel opens, or at a command. */
const fault = fc.record({
  when: fc.constantFrom('plugged', 'opened', 1, 2, 3, 4, 5),
  what: fc.oneof(
    fc.record({ cable: fc.constantFrom('stallOutAt', 'stallInAt', 'swallowAt', 'unplugAfterBytes' as const), at: fc.integer({ min: 1, max: 40 }) }),
    fc.record({ air: fc.constantFrom<FieldFaultKind>('lift-before', 'lift-after', ...LOSSES), at: fc.integer({ min: 1, max: 6 }), times: fc.integer({ min: 1, max: 3 }) }),
    fc.record({ own: fc.nat({ max: 11 }) }),
    fc.record({ card: fc.constantFrom('wtxStorm', 'workMs' as const), at: fc.integer({ min: 1, max: 200 }) }),
  ),
});
type Fault = typeof fault extends fc.Arbitrary<infer T> ? T : never;

function strike(desk: ReaderDesk, { what }: Fault): void {
  if ('cable' in what) desk.emulated.device.faults[what.cable] = what.cable === 'unplugAfterBytes' ? what.at * 30 : what.at;
  else if ('air' in what) desk.field.inject({ kind: what.air, atFrame: what.at, times: what.times });
  else if ('card' in what) desk.card[what.card] = what.at;
  else desk.misbehave(OWN[desk.kind][what.own % OWN[desk.kind].length]?.[0] ?? {});
}

test('whatever goes wrong whenever in whichever sessions: no command is carried out twice, nothing hangs, and the reader serves again', async () => {
  const session = fc.record({ faults: fc.array(fault, { maxLength: 4 }), commands: fc.integer({ min: 1, max: 5 }) });
  await fc.assert(fc.asyncProperty(fc.constantFrom(...DEVICE_KINDS), fc.array(session, { minLength: 1, maxLength: 3 }), async (kind, sessions) => {
    const desk = new ReaderDesk(kind);
    try {
      for (const { faults, commands } of sessions) {
        desk.mend();
        const begun = desk.carriedOut.length;
        for (const one of faults) if (one.when === 'plugged') strike(desk, one);
        desk.onOpen = () => faults.filter(({ when }) => when === 'opened').forEach((one) => strike(desk, one));
        desk.onCommand = (n) => faults.filter(({ when }) => when === n - begun).forEach((one) => strike(desk, one));
        await desk.serve(commands);
      }
      expect(await desk.servesAgain()).toBeDefined();
      expect(desk.violations()).toEqual([]);
    } finally {
      await desk.close();
    }
  }), { numRuns: 150 });
});
