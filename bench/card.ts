/** The card's part of a payment in this process: security server and chip each alone on one recorded conversation. */
import { AesCmac } from '#servers/security/desfire/cmac.ts';
import { createBenchedSessions, recordPayment, replayChip, replayServer, type RecordedPayment } from './card-conversation.ts';
import { cipherTallyOf, recordCipherCalls, replayCipherCalls, type CipherCall } from './card-crypto.ts';
import { cardFieldTimeOf, cardFiguresOf, chipThroughputOf, serverCpuOf, type CardFigures, type ChipThroughput, type CpuBlock, type ServerCpu } from './card-figures.ts';

/** Server and bare calls take turns, so that a machine that gets slower or faster does so for both. */
const BLOCKS = 8;
/** The server's side is quicker than the chip's, and blocks must be so long that what one leaves to the next one's garbage collection does not count. */
const SERVER_PAYMENTS_PER_RUN = 40;
/** Before the first block, payments of each side: the compiler has done its work by then. */
const WARM_UP = 3_000;
const BIT_RATES = [106, 424] as const;

/** `runs` payments on the chip, forty times as many by the server. */
export async function measureCard(runs: number, log: (line: string) => void): Promise<CardFigures> {
  const recorded = await recordPayment();
  const { calls, tally } = callsOfServer(recorded);
  const sessions = createBenchedSessions();
  for (let i = 0; i < WARM_UP; i++) {
    replayServer(recorded, sessions);
    replayCipherCalls(calls);
  }
  const perBlock = Math.max(1, Math.ceil(runs / BLOCKS));
  const payments = SERVER_PAYMENTS_PER_RUN * perBlock;
  const cpu: CpuBlock[] = [];
  for (let block = 1; block <= BLOCKS; block++) {
    log(`block ${block} of ${BLOCKS}: ${payments} payments by the server, as many times its calls alone`);
    const serverUs = cpuUsOf(payments, () => replayServer(recorded, sessions));
    const bareUs = cpuUsOf(payments, () => void replayCipherCalls(calls));
    cpu.push({ payments, serverUs, bareUs });
  }
  const chip: { payments: number; ms: number }[] = [];
  for (let block = 1; block <= BLOCKS; block++) {
    log(`block ${block} of ${BLOCKS}: ${perBlock} payments on the chip`);
    chip.push({ payments: perBlock, ms: await msOf(perBlock, () => replayChip(recorded)) });
  }
  return figuresOf(recorded, serverCpuOf(cpu, tally), chipThroughputOf(chip));
}

function figuresOf(recorded: RecordedPayment, server: ServerCpu, chip: ChipThroughput): CardFigures {
  return cardFiguresOf({ server, chip, fieldTime: BIT_RATES.map((bitRate) => cardFieldTimeOf(recorded, bitRate)) });
}

/** What the server asks of node:crypto for one payment, and how many of the calls are CMACs. */
export function callsOfServer(recorded: RecordedPayment): { readonly calls: CipherCall[]; readonly tally: ServerCpu['calls'] } {
  let cmacs = 0;
  const restore = onEachCall(AesCmac.prototype, ['compute', 'computeShort'], () => cmacs++);
  try {
    const calls = recordCipherCalls(() => replayServer(recorded, createBenchedSessions()));
    return { calls, tally: { ...cipherTallyOf(calls), cmacs } };
  } finally {
    restore();
  }
}

/** Returns how to put the methods back. */
function onEachCall(owner: object, names: readonly string[], hear: () => void): () => void {
  const originals = Object.fromEntries(names.map((name) => [name, Reflect.get(owner, name) as (...given: unknown[]) => unknown]));
  const apply = (target: (...given: unknown[]) => unknown, self: unknown, given: unknown[]): unknown => {
    hear();
    return Reflect.apply(target, self, given);
  };
  Object.assign(owner, Object.fromEntries(Object.entries(originals).map(([name, original]) => [name, new Proxy(original, { apply })])));
  return () => void Object.assign(owner, originals);
}

/** All threads: what the garbage collector does for this code is its cost too. */
function cpuUsOf(times: number, act: () => void): number {
  const before = process.cpuUsage();
  for (let i = 0; i < times; i++) act();
  const { user, system } = process.cpuUsage(before);
  return user + system;
}

async function msOf(times: number, act: () => Promise<void>): Promise<number> {
  const startedAt = performance.now();
  for (let i = 0; i < times; i++) await act();
  return performance.now() - startedAt;
}
