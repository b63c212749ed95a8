/** A chip at a real card's speed, in a time of its own: what it waits for, and what it tells of a payment. */
import { describe, expect, it } from 'vitest';
import { activationFieldTime, sumOfFieldTimes } from './timing.ts';
import { CardUnderTest, factoryImage, NONE, usableCard, ZERO_KEY } from '../testing/card.ts';
import { parseHex } from '#protocol/bytes.ts';
import { RealSpeedChip } from './card.ts';
import { TestingHost } from '../testing/host.ts';
import { VolatileCardMemory } from '../card-memory.ts';
import type { PaymentFieldTime } from './card.ts';

/** A card whose chip takes no time and whose timers are `lateMs` late. */
function realCard({ bitRate = 106 as const, lateMs = 0 } = {}) {
  let nowMs = 0;
  let writes = 0;
  const waits: number[] = [];
  const payments: PaymentFieldTime[] = [];
  const memory = new VolatileCardMemory(usableCard(factoryImage()), () => writes++);
  const card = new CardUnderTest(undefined, { memory, observer: (event) => chip.hear(event) });
  const wait = (ms: number): Promise<void> => {
    waits.push(ms);
    nowMs += ms + lateMs;
    return Promise.resolve();
  };
  const chip = new RealSpeedChip({ chip: card.chip, bitRate, pageWrites: () => writes, onPayment: (time) => payments.push(time), now: () => nowMs, wait });
  return { chip, host: new TestingHost(chip), waits, payments, elapsedMs: () => nowMs, writes: () => writes };
}

async function pay(host: TestingHost, instruction: 0xdc | 0x0c = 0xdc): Promise<void> {
  await host.select();
  await host.authenticate(instruction === 0xdc ? 1 : 3, ZERO_KEY);
  await host.send(0x8b, [1, 0, 0, 0, 16, 0, 0], new Uint8Array(16), 'full', 'mac');
  await host.send(instruction, [3], parseHex('64000000'), 'full', 'mac');
  await host.send(0xc7, [], new Uint8Array([1]), 'mac', 'mac');
  await host.send(0x6c, [3], NONE, 'mac', 'full');
}

const NAMES = ['ISOSelectFile', 'AuthenticateEV2First', 'AuthenticateEV2First', 'WriteRecord', 'Debit', 'CommitTransaction', 'GetValue'];

describe('a payment', () => {
  it('takes as long as its account says, activation aside', async () => {
    const { chip, host, payments, elapsedMs } = realCard();
    await pay(host);
    await chip.reset();
    const [payment] = payments;
    expect(payments).toHaveLength(1);
    expect(payment?.commands.map(({ command }) => command)).toEqual(NAMES);
    expect(elapsedMs()).toBeCloseTo(sumOfFieldTimes(payment!.commands).totalMs, 6);
    expect(payment!.totalMs - payment!.activationMs).toBeCloseTo(elapsedMs(), 6);
    expect(payment).toMatchObject({ bitRate: 106, activationMs: activationFieldTime(106).totalMs });
  });

  it('pays for the pages that its commit really wrote', async () => {
    const { chip, host, payments, writes } = realCard();
    await pay(host);
    await chip.reset();
    expect(writes()).toBeGreaterThan(0);
    expect(payments[0]?.memoryMs).toBe(writes());
    expect(payments[0]?.commands.filter(({ pageWrites }) => pageWrites > 0).map(({ command }) => command)).toEqual(['CommitTransaction']);
  });

  it('is told when its conversation ends: at the next selection as well as when the card is lifted, and once', async () => {
    const { chip, host, payments } = realCard();
    await pay(host);
    expect(payments).toHaveLength(0);
    await host.select();
    expect(payments).toHaveLength(1);
    await chip.reset();
    expect(payments).toHaveLength(1);
    await pay(host);
    await chip.reset();
    expect(payments.map(({ commands }) => commands.length)).toEqual([NAMES.length, NAMES.length]);
  });

  it('a load and a reading are none', async () => {
    const { chip, host, payments } = realCard();
    await pay(host, 0x0c);
    await host.select();
    await host.authenticate(1, ZERO_KEY);
    await host.send(0x6c, [3], NONE, 'mac', 'full');
    await chip.reset();
    expect(payments).toEqual([]);
  });
});

describe('a late timer', () => {
  it('is made up for by the next answer', async () => {
    const [punctual, late] = [realCard(), realCard({ lateMs: 1 })];
    await pay(punctual.host);
    await pay(late.host);
    expect(late.elapsedMs() - punctual.elapsedMs()).toBeCloseTo(1, 6);
    expect(late.waits.map((ms, index) => (punctual.waits[index] ?? 0) - ms)).toEqual([0, 1, 1, 1, 1, 1, 1].map((ms) => expect.closeTo(ms, 6) as number));
  });

  it('is not made up for beyond what a timer adds', async () => {
    const { host, waits } = realCard({ lateMs: 1000 });
    const punctual = realCard();
    await host.select();
    await host.native(0x60);
    await punctual.host.select();
    await punctual.host.native(0x60);
    expect((punctual.waits[1] ?? 0) - (waits[1] ?? 0)).toBeLessThanOrEqual(5);
  });
});

it('an answer that the chip needed longer for comes at once', async () => {
  let nowMs = 0;
  const { chip } = new CardUnderTest(usableCard);
  const slow = {
    atr: chip.atr,
    uid: chip.uid,
    reset: () => chip.reset(),
    process: (command: Uint8Array) => {
      nowMs += 500;
      return chip.process(command);
    },
  };
  const real = new RealSpeedChip({ chip: slow, bitRate: 848, pageWrites: () => 0, onPayment: () => expect.fail('no payment'), now: () => nowMs, wait: () => expect.fail('nothing to wait for') });
  await new TestingHost(real).select();
  expect(nowMs).toBe(500);
  expect([real.uid, real.atr]).toEqual([chip.uid, chip.atr]);
});
