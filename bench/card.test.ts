/** The card's bench: its conversation is the product's, its calls are all there are, and its arithmetic. */
import { createCipheriv } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { createGatedCard } from '#bridge/gated-card.ts';
import { encodeHex, type Bytes } from '#protocol/bytes.ts';
import { pay } from '#protocol/payment.ts';
import { createInProcessWorld } from '#world/in-process.ts';
import type { CardCommand } from '#protocol/apdu.ts';
import { BATCHES, createBenchedSessions, recordPayment, replayChip, replayServer } from './card-conversation.ts';
import { cipherTallyOf, recordCipherCalls, replayCipherCalls } from './card-crypto.ts';
import { cardFieldTimeOf, chipThroughputOf, serverCpuOf } from './card-figures.ts';
import { callsOfServer } from './card.ts';

interface Batch {
  readonly commands: readonly CardCommand[];
  readonly answers: readonly Bytes[];
}

/** Instruction and lengths of every command and answer. */
function shapeOf(batches: readonly Batch[]): string[][] {
  return batches.map(({ commands, answers }) => commands.map(({ apdu }, place) => `${encodeHex(apdu.slice(0, 2))} ${apdu.length} ${answers[place]?.length ?? 0}`));
}

/** A payment by the product's flow, services and gate. */
async function batchesOfProduct(): Promise<Batch[]> {
  const world = await createInProcessWorld();
  const channel = world.customer.card.open();
  const batches: Batch[] = [];
  const transmit = async (commands: readonly CardCommand[], signal: AbortSignal): Promise<Bytes[]> => {
    const answers = await channel.transmit(commands, signal);
    batches.push({ commands, answers });
    return answers;
  };
  const reader = { awaitCard: () => Promise.resolve(createGatedCard({ ...channel, transmit }, new AbortController().signal)) };
  expect((await pay({ lines: [{ productId: 'sencha', quantity: 1 }] }, world.ports({ reader }), { readBalance: true })).kind).toBe('paid');
  return batches;
}

describe('the measured conversation', () => {
  test("has the batches, commands and lengths of the product's payment", async () => {
    const { batches } = await recordPayment();
    expect(batches.map(({ name }) => name)).toEqual(BATCHES);
    expect(shapeOf(batches)).toEqual(shapeOf(await batchesOfProduct()));
  });

  test('can be run again on either side, and other answers are noticed', async () => {
    const recorded = await recordPayment();
    replayServer(recorded, createBenchedSessions());
    await replayChip(recorded);
    const spoilt = { ...recorded, batches: recorded.batches.map((batch, i) => (i < 3 ? batch : { ...batch, answers: batch.answers.toReversed() })) };
    expect(() => replayServer(spoilt, createBenchedSessions())).toThrow('not proved');
    await expect(replayChip(spoilt)).rejects.toThrow('otherwise than before');
  });
});

describe('recorded calls', () => {
  test('are all that the server makes, of which every CMAC is one', async () => {
    const { calls, tally } = callsOfServer(await recordPayment());
    expect(tally).toEqual({ ...cipherTallyOf(calls), cmacs: tally.cmacs });
    // 7 commands and 5 answers MACed, two session keys, SesTMMACKey and TMV.
    expect(tally.cmacs).toBe(7 + 5 + 2 + 2);
    // Two keys diversified, RndB, our proof, the card's; subkeys of six keys; six vectors, and what they belong to.
    expect(tally.calls).toBe(tally.cmacs + 2 + 3 + 6 + 6 + 6);
    expect(tally.objects).toBeLessThan(tally.calls);
  });

  test('are made again on the same bytes, and only what was recorded', () => {
    const calls = recordCipherCalls(() => {
      createCipheriv('aes-128-cbc', new Uint8Array(16), new Uint8Array(16)).update(new Uint8Array(48));
      const cipher = createCipheriv('aes-128-ecb', new Uint8Array(16), null).setAutoPadding(false);
      cipher.update(new Uint8Array(16));
      cipher.update(new Uint8Array(16));
    });
    expect(cipherTallyOf(calls)).toEqual({ objects: 2, calls: 3, blocks: 5 });
    expect(calls.map(({ unpadded }) => unpadded)).toEqual([false, true]);
    expect(replayCipherCalls(calls)).toBe(80);
    createCipheriv('aes-128-cbc', new Uint8Array(16), new Uint8Array(16));
    expect(calls).toHaveLength(2);
  });
});

describe('figures', () => {
  const tally = { objects: 1, calls: 2, blocks: 3, cmacs: 1 };

  test('the ratio is that of the sums, with each block and their median beside it', () => {
    const blocks = [{ payments: 10, serverUs: 100, bareUs: 100 }, { payments: 10, serverUs: 500, bareUs: 200 }, { payments: 20, serverUs: 600, bareUs: 300 }];
    expect(serverCpuOf(blocks, tally)).toEqual({ serverUs: 30, bareUs: 15, ratio: 2, ratioOfEachBlock: [1, 2.5, 2], medianRatio: 2, calls: tally });
    expect(() => serverCpuOf([], tally)).toThrow('nothing was measured');
  });

  test('payments a second are the median of the blocks', () => {
    expect(chipThroughputOf([{ payments: 10, ms: 100 }, { payments: 10, ms: 20 }, { payments: 10, ms: 50 }])).toEqual({ transactionsPerSecond: 200, blocks: [100, 500, 200] });
  });

  test('field time is activation and four batches, with the pages that were written', async () => {
    const recorded = await recordPayment();
    const time = cardFieldTimeOf(recorded, 106);
    expect(time.batches.map(({ batch, commands }) => [batch, commands.length])).toEqual([['identify', 5], ['authenticate', 1], ['read', 3], ['debit', 4]]);
    expect(time.activation.totalMs + time.batches.reduce((sum, { totalMs }) => sum + totalMs, 0)).toBeCloseTo(time.totalMs, 6);
    expect(time.memoryMs).toBe(recorded.pageWrites.reduce((sum, pages) => sum + pages, 0));
    expect(cardFieldTimeOf(recorded, 424).airMs).toBeLessThan(time.airMs);
  });
});
