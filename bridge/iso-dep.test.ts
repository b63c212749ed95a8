import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { encodeHex, parseHex, type Bytes } from '#protocol/bytes.ts';
import { asFailure } from '#protocol/failure.ts';
import { parseAts } from './iso-dep-ats.ts';
import { ReferenceCard, type ReferenceCardOptions } from './iso-dep-card.fixture.ts';
import { createIsoDep, parseBlock, type BlockAnswer } from './iso-dep.ts';

const DESFIRE = parseAts(parseHex('067577810280'));
const LIMIT_MS = 10_000;

/** A card that says its part: each line is the block that must come, and what is answered. Waiting costs the time that was granted. */
function script(lines: readonly (readonly [sent: string, answer: string])[], ats = DESFIRE) {
  const clock = { nowMs: 0 };
  const waits: number[] = [];
  const left = [...lines];
  const exchange = (block: Bytes, timeoutMs: number): Promise<BlockAnswer> => {
    const [sent, answer] = left.shift() ?? ['nothing more', 'timeout'];
    expect(encodeHex(block)).toBe(sent);
    waits.push(timeoutMs);
    clock.nowMs += answer === 'timeout' ? timeoutMs : 1;
    return Promise.resolve(answer === 'timeout' || answer === 'garbled' ? answer : parseHex(answer));
  };
  return { card: createIsoDep({ ats, exchange, now: () => clock.nowMs }), left, waits, clock };
}

async function run(lines: readonly (readonly [string, string])[], command = '9060000000', limitMs = LIMIT_MS, ats = DESFIRE) {
  const scripted = script(lines, ats);
  const outcome = await scripted.card.transceive(parseHex(command), limitMs).then(encodeHex, (thrown: unknown) => asFailure(thrown).code);
  expect(scripted.left).toEqual([]);
  return { ...scripted, outcome };
}

const COMMAND = '029060000000';
const ANSWER = '02AF0491AF';
const DATA = 'AF0491AF';
const FSC_16 = parseAts(parseHex('0200'));

describe('blocks without trouble', () => {
  test('the number is 0 first and alternates', async () => {
    const { card, left, waits } = script([[COMMAND, ANSWER], ['039060000000', '03AF0491AF'], [COMMAND, ANSWER]]);
    for (let i = 0; i < 3; i++) expect(encodeHex(await card.transceive(parseHex('9060000000'), LIMIT_MS))).toBe(DATA);
    expect(left).toEqual([]);
    expect(waits.every((wait) => wait > 80 && wait < 82)).toBe(true);
  });

  test('a long command is chained in frames of FSC, each acknowledged', async () => {
    const command = '9071000010000102030405060708090A0B0C0D0E0F00';
    const { outcome } = await run([['1290710000100001020304050607', 'A2'], ['0308090A0B0C0D0E0F00', '039100']], command, LIMIT_MS, FSC_16);
    expect(outcome).toBe('9100');
  });

  test('a long answer is gathered', async () => {
    const { outcome } = await run([[COMMAND, '120102'], ['A3', '130304'], ['A2', '029100']]);
    expect(outcome).toBe('010203049100');
  });

  test('more time is granted at any answer: to a chained block, before the answer, inside it', async () => {
    const { outcome, waits } = await run(
      [['1290DF0000080001020304050607', 'F202'], ['F202', 'A2'], ['0300', 'F201'], ['F201', 'F203'], ['F203', '1301'], ['A2', 'F20A'], ['F20A', '029100']],
      '90DF000008000102030405060700', LIMIT_MS, FSC_16,
    );
    expect(outcome).toBe('019100');
    const fwt = FSC_16.frameWaitMs;
    expect(waits.map((wait) => Math.round((wait - 3.6) / fwt))).toEqual([1, 2, 1, 1, 3, 1, 10]);
  });

  test('the power level in S(WTX) is not sent back, and the wait is never above FWTmax', async () => {
    const slow = parseAts(parseHex('0320C0'));
    const { outcome, waits } = await run([[COMMAND, 'F2FB'], ['F23B', ANSWER]], undefined, 60_000, slow);
    expect(outcome).toBe(DATA);
    expect(waits[1]).toBeLessThan(4955);
  });
});

describe('recovery', () => {
  test.each<[string, (readonly [string, string])[]]>([
    ['a lost command: asked for, unknown to the card, sent again (rule 6)', [[COMMAND, 'timeout'], ['B2', 'A3'], [COMMAND, ANSWER]]],
    ['a lost answer: the card repeats it (rules 4 and 11)', [[COMMAND, 'timeout'], ['B2', ANSWER]]],
    ['a damaged answer', [[COMMAND, 'garbled'], ['B2', ANSWER]]],
    ['two lost commands', [[COMMAND, 'timeout'], ['B2', 'A3'], [COMMAND, 'timeout'], ['B2', 'A3'], [COMMAND, ANSWER]]],
    ['an answer with the wrong number', [[COMMAND, '03AF0491AF'], ['B2', ANSWER]]],
    ['an R(ACK) of the old number that nobody asked for is asked about first', [[COMMAND, 'A3'], ['B2', ANSWER]]],
    ['an R(ACK) where the answer belongs', [[COMMAND, 'A2'], ['B2', ANSWER]]],
    ['a lost grant of time: the card asks again', [[COMMAND, 'F201'], ['F201', 'timeout'], ['B2', 'F201'], ['F201', ANSWER]]],
    ['a lost part of the answer: R(ACK) again (rule 5)', [[COMMAND, '12AF'], ['A3', 'timeout'], ['A3', '0391AF']]],
    ['a damaged part of the answer', [[COMMAND, '12AF04'], ['A3', 'garbled'], ['A3', '0391AF']]],
    ['nonsense of every kind', [[COMMAND, ''], ['B2', '00'], ['B2', ANSWER]]],
  ])('%s', async (_title, lines) => {
    const { outcome } = await run(lines);
    expect(['AF0491AF', 'AF91AF']).toContain(outcome);
  });

  test('a block for which the card has asked for time is not sent again, whatever it says then', async () => {
    const { outcome } = await run([[COMMAND, 'F201'], ['F201', 'timeout'], ['B2', 'A3'], ['B2', ANSWER]]);
    expect(outcome).toBe(DATA);
  });

  test('a lost acknowledgement of a chained part', async () => {
    const command = '00'.repeat(20);
    const first = `12${'00'.repeat(13)}`;
    const { outcome } = await run([[first, 'timeout'], ['B2', 'A2'], [`03${'00'.repeat(7)}`, 'timeout'], ['B3', 'A2'], [`03${'00'.repeat(7)}`, '039000']], command, LIMIT_MS, FSC_16);
    expect(outcome).toBe('9000');
  });
});

describe('the end of recovery', () => {
  const silence = (count: number) => Array.from({ length: count }, () => ['B2', 'timeout'] as const);

  test('a card silent to every recovery, and to one more call, is gone', async () => {
    const { outcome, clock, card } = await run([[COMMAND, 'timeout'], ...silence(5)]);
    expect(outcome).toBe('card/removed');
    expect(clock.nowMs).toBeLessThan(500);
    await expect(card.transceive(parseHex('9060000000'), LIMIT_MS)).rejects.toThrow('card/removed');
    expect(await card.isPresent()).toBe(false);
  });

  test('silent in its answer, but there', async () => {
    const acks = Array.from({ length: 5 }, () => ['A3', 'timeout'] as const);
    expect((await run([[COMMAND, '12AF'], ...acks, ['B3', 'A2']])).outcome).toBe('card/silent');
    expect((await run([[COMMAND, '12AF'], ...acks, ['B3', 'timeout']])).outcome).toBe('card/removed');
  });

  test('a card that never reads our block', async () => {
    const lost = [['B2', 'A3'], [COMMAND, 'timeout']] as const;
    expect((await run([[COMMAND, 'timeout'], ...lost, ...lost, ['B2', 'A3']])).outcome).toBe('card/silent');
  });

  test('answers that cannot be read', async () => {
    expect((await run([[COMMAND, 'garbled'], ...Array.from({ length: 4 }, () => ['B2', 'garbled'] as const)])).outcome).toBe('card/silent');
  });

  test('blocks against the protocol', async () => {
    expect((await run([[COMMAND, 'E0'], ...Array.from({ length: 4 }, () => ['B2', 'E0'] as const)])).outcome).toBe('card/answer');
  });

  test('a card that asks for time for ever is given up within the limit', async () => {
    const exchange = (): Promise<BlockAnswer> => Promise.resolve(Uint8Array.of(0xf2, 1));
    let nowMs = 0;
    const patient = createIsoDep({ ats: DESFIRE, exchange, now: () => (nowMs += 80) });
    await expect(patient.transceive(parseHex('9060000000'), 1000)).rejects.toThrow('card/silent');
    expect(nowMs).toBeLessThan(1200);
    const storm = createIsoDep({ ats: DESFIRE, exchange, now: () => 0 });
    await expect(storm.transceive(parseHex('9060000000'), 1000)).rejects.toThrow('card/silent');
  });

  test('a card at work when the time is over is silent, and is not called too early', async () => {
    const slow = parseAts(parseHex('0320E0'));
    const { outcome, waits } = await run([[COMMAND, 'F201'], ['F201', 'timeout']], undefined, 300, slow);
    expect(outcome).toBe('card/silent');
    expect(waits[1]).toBe(299);
  });

  test('heard in an earlier block of the same command, it is silent as well', async () => {
    const slow = parseAts(parseHex('0320E0'));
    expect((await run([[COMMAND, '12AF'], ['A3', 'timeout']], undefined, 300, slow)).outcome).toBe('card/silent');
  });

  test('a card that was not heard at all is asked for once more when the limit has cut the wait', async () => {
    const slow = parseAts(parseHex('0320E0'));
    const { outcome, waits } = await run([[COMMAND, 'timeout'], ['B2', 'timeout']], undefined, 300, slow);
    expect(outcome).toBe('card/removed');
    expect(waits[0]).toBe(300);
    expect(waits[1]).toBeLessThan(105);
  });

  test('no time, no block', async () => expect((await run([], undefined, 0)).outcome).toBe('card/silent'));

  test.each([
    ['longer than any', Array.from({ length: 3 }, (_, i) => `${i % 2 === 0 ? '12' : '13'}${'00'.repeat(100)}`)],
    ['without a status word', ['0290']],
    ['empty', ['02']],
  ])('an answer %s is none', async (_title, blocks) => {
    const lines = blocks.map((block, i) => [i === 0 ? COMMAND : i % 2 === 0 ? 'A2' : 'A3', block] as const);
    expect((await run(lines)).outcome).toBe('card/answer');
  });

  test('empty chained blocks have an end', async () => {
    let number = 1;
    const endless = createIsoDep({ ats: DESFIRE, exchange: () => Promise.resolve(Uint8Array.of(0x12 | (number ^= 1))), now: () => 0 });
    await expect(endless.transceive(parseHex('9060000000'), 1000)).rejects.toThrow('card/answer');
  });

  test('what the reader fails with is not hidden, and ends the conversation', async () => {
    const broken = createIsoDep({ ats: DESFIRE, exchange: () => Promise.reject(new Error('unplugged')), now: () => 0 });
    await expect(broken.transceive(parseHex('9060000000'), 1000)).rejects.toThrow('unplugged');
    await expect(broken.transceive(parseHex('9060000000'), 1000)).rejects.toThrow('card/removed');
  });
});

describe('presence and rest', () => {
  test('R(NAK) is answered by R(ACK) and changes nothing', async () => {
    const { card, left } = script([['B2', 'A3'], [COMMAND, ANSWER], ['B3', 'A2'], ['039060000000', '03AF0491AF']]);
    expect(await card.isPresent()).toBe(true);
    await card.transceive(parseHex('9060000000'), LIMIT_MS);
    expect(await card.isPresent()).toBe(true);
    await card.transceive(parseHex('9060000000'), LIMIT_MS);
    expect(left).toEqual([]);
  });

  test('one lost answer is no absence; two are', async () => {
    const { card } = script([['B2', 'garbled'], ['B2', 'A3'], ['B2', 'timeout'], ['B2', 'timeout']]);
    expect(await card.isPresent()).toBe(true);
    expect(await card.isPresent()).toBe(false);
  });

  test('S(DESELECT) is sent once when answered, and twice when not', async () => {
    for (const answers of [['C2'], ['timeout', 'C2'], ['garbled', 'timeout'], ['A2', 'C200']]) {
      const { card, left } = script(answers.map((answer) => ['C2', answer] as const));
      await card.deselect();
      expect(left).toEqual([]);
      await expect(card.transceive(parseHex('9060000000'), LIMIT_MS)).rejects.toThrow('card/removed');
    }
  });
});

test.each(['', '00', '06', '0A', '22', '42', 'A200', 'A0', 'A6', 'AA', 'B2', 'C200', 'CA00', 'D2', 'E2', 'F0', 'F2', 'F200', 'F23C', 'F20100', 'FA01', `02${'00'.repeat(254)}`])(
  'no card may send us %s',
  (hex) => expect(parseBlock(parseHex(hex))).toBe('invalid'),
);

/** What happens to each block on the air, one entry an exchange; nothing happens when they are used up. */
const FAULTS = ['none', 'command lost', 'command damaged', 'answer lost', 'answer damaged'] as const;
type Fault = (typeof FAULTS)[number];

function overAir(options: ReferenceCardOptions, faults: readonly Fault[]) {
  const card = new ReferenceCard(options);
  const left = [...faults];
  let nowMs = 0;
  const exchange = (block: Bytes, timeoutMs: number): Promise<BlockAnswer> => {
    const fault = left.shift() ?? 'none';
    const answer = fault.startsWith('command') ? undefined : card.receive(block);
    const isHeard = answer !== undefined && fault !== 'answer lost';
    nowMs += isHeard ? 1 : timeoutMs;
    return Promise.resolve(!isHeard ? 'timeout' : fault === 'answer damaged' ? 'garbled' : new Uint8Array(answer));
  };
  const ats = { ...DESFIRE, frameBytes: options.frameBytes };
  return { card, isoDep: createIsoDep({ ats, exchange, now: () => nowMs }) };
}

describe('any length, any frame size, any loss', () => {
  const conversation = fc.record({
    frameBytes: fc.constantFrom(16, 24, 32, 40, 48, 64, 96, 128, 256),
    blockBytes: fc.integer({ min: 1, max: 253 }),
    extensions: fc.array(fc.integer({ min: 0, max: 2 }), { maxLength: 20 }),
    exchanges: fc.array(fc.record({ command: fc.uint8Array({ minLength: 4, maxLength: 261 }), answer: fc.uint8Array({ minLength: 2, maxLength: 258 }) }), { minLength: 1, maxLength: 3 }),
  });
  type Conversation = typeof conversation extends fc.Arbitrary<infer T> ? T : never;

  async function converse({ frameBytes, blockBytes, extensions, exchanges }: Conversation, faults: readonly Fault[]) {
    const answers = exchanges.map(({ answer }) => new Uint8Array(answer));
    let processed = 0;
    const { card, isoDep } = overAir({ frameBytes, blockBytes, extensions: (index) => extensions[index] ?? 0, answer: () => answers[processed++] ?? new Uint8Array() }, faults);
    const outcomes: string[] = [];
    for (const { command } of exchanges) {
      outcomes.push(await isoDep.transceive(new Uint8Array(command), 1_000_000).then(encodeHex, (thrown: unknown) => asFailure(thrown).code));
    }
    return { card, outcomes, wanted: exchanges.map(({ answer }) => encodeHex(answer)), sent: exchanges.map(({ command }) => encodeHex(command)) };
  }

  test('without loss, and with up to two faults a command, every command is carried out once and answered', async () => {
    const sparse = fc.array(fc.constantFrom<readonly Fault[]>(...FAULTS.flatMap((a) => FAULTS.map((b) => [a, b]))), { maxLength: 3 });
    await fc.assert(fc.asyncProperty(conversation, sparse, fc.nat({ max: 6 }), async (talk, pairs, quiet) => {
      // Pairs of faults, far enough from one another that no block has more than two.
      const faults = pairs.flatMap((pair) => [...Array.from({ length: quiet }, () => 'none' as const), ...pair, ...Array.from({ length: 8 }, () => 'none' as const)]);
      const { card, outcomes, wanted, sent } = await converse(talk, faults);
      expect(card.violations).toEqual([]);
      expect(outcomes).toEqual(wanted);
      expect(card.commands).toEqual(sent);
    }), { numRuns: 300 });
  });

  test('under any pattern of faults no command is carried out twice, and what is answered is the truth', async () => {
    await fc.assert(fc.asyncProperty(conversation, fc.array(fc.constantFrom(...FAULTS), { maxLength: 60 }), async (talk, faults) => {
      const { card, outcomes, wanted, sent } = await converse(talk, faults);
      expect(card.violations).toEqual([]);
      expect(card.commands).toEqual(sent.slice(0, card.commands.length));
      const failedAt = outcomes.findIndex((outcome) => outcome.startsWith('card/'));
      const answered = failedAt === -1 ? outcomes.length : failedAt;
      expect(outcomes.slice(0, answered)).toEqual(wanted.slice(0, answered));
      // Of the failed one it cannot be known; none after it reaches the card.
      expect(card.commands.length - answered).toBeLessThanOrEqual(failedAt === -1 ? 0 : 1);
      for (const outcome of outcomes.slice(answered + 1)) expect(outcome).toBe('card/removed');
    }), { numRuns: 500 });
  });

  test('any bytes from a card end in an answer or a failure of ours', async () => {
    await fc.assert(fc.asyncProperty(fc.array(fc.uint8Array({ maxLength: 8 }), { maxLength: 30 }), async (noise) => {
      const left = noise.map((bytes): BlockAnswer => new Uint8Array(bytes));
      let nowMs = 0;
      const isoDep = createIsoDep({ ats: DESFIRE, exchange: () => Promise.resolve(left.shift() ?? 'timeout'), now: () => (nowMs += 1) });
      const outcome = await isoDep.transceive(parseHex('9060000000'), 1000).then(() => 'answered', (thrown: unknown) => asFailure(thrown).code);
      expect(['answered', 'card/removed', 'card/silent', 'card/answer']).toContain(outcome);
    }), { numRuns: 500 });
  });
});
