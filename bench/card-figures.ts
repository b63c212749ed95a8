/** What the card's part of a payment costs: the server's CPU beside the bare calls of its cryptography, the chip's throughput, and the modelled time in the field. */
import { activationFieldTime, fieldTimesOf, FIELD_TIME_MODEL, sumOfFieldTimes, walletLink, type CommandFieldTime, type FieldTime } from '#card-firmware-sim/timing/timing.ts';
import type { BitRate } from '#card-firmware-sim/timing/air.ts';
import type { BatchName, RecordedPayment } from './card-conversation.ts';
import type { CipherTally } from './card-crypto.ts';
import { median, roundMs } from './statistics.ts';

/** One block of measuring: CPU of all its payments, microseconds. */
export interface CpuBlock {
  readonly payments: number;
  readonly serverUs: number;
  readonly bareUs: number;
}

export interface ServerCpu {
  /** Of one payment, over all blocks: user and system, all threads of the process. */
  readonly serverUs: number;
  /** The same calls of node:crypto and nothing else. */
  readonly bareUs: number;
  /** Of the sums. */
  readonly ratio: number;
  readonly ratioOfEachBlock: readonly number[];
  readonly medianRatio: number;
  readonly calls: CipherTally & { readonly cmacs: number };
}

export function serverCpuOf(blocks: readonly CpuBlock[], calls: ServerCpu['calls']): ServerCpu {
  const sum = (of: (block: CpuBlock) => number): number => blocks.reduce((total, block) => total + of(block), 0);
  const payments = sum((block) => block.payments);
  const [serverUs, bareUs] = [sum((block) => block.serverUs), sum((block) => block.bareUs)];
  if (payments === 0 || bareUs === 0) throw new RangeError('nothing was measured');
  const ratioOfEachBlock = blocks.map((block) => roundRatio(block.serverUs / block.bareUs));
  return { serverUs: roundMs(serverUs / payments), bareUs: roundMs(bareUs / payments), ratio: roundRatio(serverUs / bareUs), ratioOfEachBlock, medianRatio: roundRatio(median(ratioOfEachBlock)), calls };
}

function roundRatio(ratio: number): number {
  return Math.round(ratio * 100) / 100;
}

/** The chip's side of a payment, without its reader: real time, because its cryptography leaves the thread. */
export interface ChipThroughput {
  readonly transactionsPerSecond: number;
  readonly blocks: readonly number[];
}

export function chipThroughputOf(blocks: readonly { readonly payments: number; readonly ms: number }[]): ChipThroughput {
  const perSecond = blocks.map(({ payments, ms }) => Math.round((1000 * payments) / ms));
  return { transactionsPerSecond: median(perSecond), blocks: perSecond };
}

export interface BatchFieldTime extends FieldTime {
  readonly batch: BatchName;
  readonly commands: readonly CommandFieldTime[];
}

export interface CardFieldTime extends FieldTime {
  readonly bitRate: BitRate;
  /** Before the first command; part of the whole. */
  readonly activation: FieldTime;
  readonly batches: readonly BatchFieldTime[];
}

/** Activation and the four batches; without what readers, network and people take in between. */
export function cardFieldTimeOf({ batches, pageWrites }: RecordedPayment, bitRate: BitRate): CardFieldTime {
  const exchanges = batches.flatMap(({ commands, answers }) => commands.map(({ apdu }, place) => ({ command: apdu, answer: answers[place] ?? new Uint8Array() })));
  const times = fieldTimesOf(exchanges.map((exchange, place) => ({ ...exchange, pageWrites: pageWrites[place] })), walletLink(bitRate));
  const activation = activationFieldTime(bitRate);
  let taken = 0;
  const timesOfBatches = batches.map(({ name, commands }) => {
    const own = times.slice(taken, (taken += commands.length));
    return { batch: name, ...sumOfFieldTimes(own), commands: own };
  });
  return { bitRate, ...sumOfFieldTimes([activation, ...timesOfBatches]), activation, batches: timesOfBatches };
}

export interface CardFigures {
  readonly server: ServerCpu;
  readonly chip: ChipThroughput;
  readonly fieldTime: readonly CardFieldTime[];
  readonly fieldTimeModel: string;
}

export function cardFiguresOf(figures: Omit<CardFigures, 'fieldTimeModel'>): CardFigures {
  return { ...figures, fieldTimeModel: FIELD_TIME_MODEL };
}

export function describeCard({ server, chip, fieldTime, fieldTimeModel }: CardFigures): string {
  const { calls, ratioOfEachBlock } = server;
  return [
    `Security server, the card's part of one payment: ${server.serverUs.toFixed(0)} us of CPU; its ${calls.calls} AES and CMAC calls alone ${server.bareUs.toFixed(0)} us.`,
    `  ratio ${server.ratio.toFixed(2)} (median of the blocks ${server.medianRatio.toFixed(2)}; blocks ${ratioOfEachBlock.map((ratio) => ratio.toFixed(2)).join(', ')})`,
    `  ${calls.cmacs} CMACs among them, ${calls.blocks} blocks of 16 bytes; the server makes ${calls.objects} cipher objects for them`,
    `Chip, in process: ${chip.transactionsPerSecond.toFixed(0)} payments a second (blocks ${chip.blocks.join(', ')}).`,
    ...fieldTime.flatMap(describeFieldTime),
    `Card-field time is a model: ${fieldTimeModel}.`,
  ].join('\n');
}

function describeFieldTime({ bitRate, activation, batches, ...whole }: CardFieldTime): string[] {
  const line = (name: string, { totalMs, airMs, chipMs, memoryMs }: FieldTime): string => `  ${name.padEnd(14)} ${[totalMs, airMs, chipMs, memoryMs].map((ms) => ms.toFixed(1).padStart(8)).join('')}`;
  return [
    `Card-field time of one payment at ${bitRate} kbit/s, modelled, in milliseconds:`,
    `  ${''.padEnd(14)} ${['whole', 'air', 'chip', 'memory'].map((name) => name.padStart(8)).join('')}`,
    line('activation', activation),
    ...batches.map(({ batch, ...time }) => line(batch, time)),
    line('payment', whole),
  ];
}
