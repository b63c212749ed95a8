/** Every reader kind in one run: a command from an extension's page to the card and back, the card's part of a payment, and what went over the bus and through the air for it. */
import type { Page } from 'playwright';
import { createGatedCard } from '#bridge/gated-card.ts';
import type { CardChannel } from '#bridge/card-channel.ts';
import { exchangesOfCommand, type AirExchange } from '#card-firmware-sim/timing/air.ts';
import { wrapNative, type CardCommand } from '#protocol/apdu.ts';
import { encodeHex, parseHex, type Bytes } from '#protocol/bytes.ts';
import { selectWallet } from '#protocol/card-contact.ts';
import { pay } from '#protocol/payment.ts';
import { createInProcessWorld, type InProcessCustomer, type InProcessWorld } from '#world/in-process.ts';
import { figuresOf, withRatios, type CardPart, type ReaderFigures, type RoadSamples } from './readers-figures.ts';
import { TALLY_MODEL } from './readers-air.ts';
import type { PageCommand } from './readers-page.ts';
import { openRoads, ROAD_KINDS, type Road, type RoadKind } from './readers-roads.ts';
import { difference, NO_TRANSFERS, sum, type UsbTally } from './readers-usb.ts';

/** The roads take turns, so that a machine that gets slower or faster does so for all. */
const BLOCKS = 4;
const PAYMENTS_PER_BLOCK = 5;
/** At the head of each block. */
const WARM_UP = 10;
/** The SPC of a payment has four commands. */
const BATCH = 4;
/** GetKeyVersion: changes nothing in the card, needs no key, and one frame holds the answer. */
const SHORT_COMMAND: CardCommand = { apdu: wrapNative(0x64, new Uint8Array([0x01])), expectedStatus: 0x9100 };
/** Emulated cards are found at once; the native host is a process that starts. */
const CARD_LIMIT_MS = 20_000;
const OPENING_BALANCE_MINOR = 50_000n;
const ORDER = { lines: [{ productId: 'sencha', quantity: 1 }] };

export interface ReadersReport {
  readonly command: string;
  /** What the modelled times of the air stand on. */
  readonly airModel: string;
  readonly readers: readonly ReaderFigures[];
}

/** `runs` commands over each reader, alone and again in batches of four; and twenty payments. `folder` is this run's alone. */
export async function measureReaders(folder: string, runs: number, log: (line: string) => void): Promise<ReadersReport> {
  const world = await createInProcessWorld();
  const customers = new Map<RoadKind, InProcessCustomer>();
  for (const [i, kind] of ROAD_KINDS.entries()) customers.set(kind, await world.newCustomer(`04B1B2C3D4E5F${i}`, OPENING_BALANCE_MINOR));
  const customerOf = (kind: RoadKind): InProcessCustomer => customers.get(kind) ?? world.customer;
  const roads = await openRoads(folder, (kind) => customerOf(kind).card, log);
  try {
    const samples = roads.list.map((road): RoadSamples => ({ road, singlesMs: [], batchesMs: [], payments: [] }));
    const perBlock = Math.max(BATCH, Math.ceil(runs / BLOCKS));
    for (let block = 1; block <= BLOCKS; block++) {
      for (const each of samples) {
        log(`block ${block} of ${BLOCKS}: ${each.road.kind}`);
        await each.road.begin();
        try {
          await measureCommands(roads.page, each, perBlock);
          for (let i = 0; i < PAYMENTS_PER_BLOCK; i++) each.payments.push(await payOver(roads.page, each.road, world, customerOf(each.road.kind)));
        } finally {
          await each.road.end();
        }
      }
    }
    return { command: encodeHex(SHORT_COMMAND.apdu), airModel: TALLY_MODEL, readers: withRatios(samples.map(figuresOf)) };
  } finally {
    await roads.close();
  }
}

async function measureCommands(page: Page, { road, singlesMs, batchesMs }: RoadSamples, count: number): Promise<void> {
  await open(page, road);
  const command = onPage(SHORT_COMMAND);
  const repeat = (batch: readonly PageCommand[], times: number): Promise<number[]> => page.evaluate(([given, n]) => globalThis.readersPage.repeat(given, n), [batch, times] as const);
  await repeat([onPage(selectWallet())], 1);
  await repeat([command], WARM_UP);
  singlesMs.push(...(await repeat([command], count)));
  batchesMs.push(...(await repeat(Array.from({ length: BATCH }, () => command), Math.ceil(count / BATCH))));
  await close(page);
}

async function payOver(page: Page, road: Road, world: InProcessWorld, { card, identity }: InProcessCustomer): Promise<CardPart> {
  const meter = meterOf(road);
  const findMs = await open(page, road);
  const found = meter.take();
  const channel = new MeteredChannel(page, meter);
  const [before, workedMs] = [card.balanceMinor(), road.chip.workedMs];
  const gated = createGatedCard(channel, new AbortController().signal);
  let debitAt = -1;
  const reader = {
    awaitCard: () =>
      Promise.resolve({
        ...gated,
        debit: (spc: readonly CardCommand[]) => {
          debitAt = channel.batchesMs.length;
          return gated.debit(spc);
        },
      }),
  };
  const outcome = await pay(ORDER, world.ports({ reader, identity }), { readBalance: true });
  if (outcome.kind !== 'paid' || card.balanceMinor() >= before) throw new Error(`the payment over ${road.kind} ended in ${outcome.kind}`);
  return {
    findMs,
    transmitMs: channel.batchesMs.reduce((total, ms) => total + ms, 0),
    chipMs: road.chip.workedMs - workedMs,
    debitMs: channel.batchesMs[debitAt] ?? NaN,
    batches: channel.batchesMs.length,
    commands: channel.commands,
    usb: road.counted === null ? null : { find: found.usb, payment: channel.usb },
    air: { find: road.counted === null ? null : found.air, payment: road.counted === null ? channel.modelled : channel.air },
  };
}

function open(page: Page, road: Road): Promise<number> {
  return page.evaluate(([by, limitMs]) => globalThis.readersPage.open(by, limitMs), [road.page, CARD_LIMIT_MS] as const);
}

function close(page: Page): Promise<void> {
  return page.evaluate(() => globalThis.readersPage.close());
}

function onPage({ apdu, expectedStatus }: CardCommand): PageCommand {
  return { apdu: encodeHex(apdu), expectedStatus };
}

/** What went over bus and air since it was last asked. */
interface Meter {
  take(): { readonly usb: UsbTally; readonly air: readonly AirExchange[] };
}

function meterOf({ counted }: Road): Meter {
  const now = () => ({ usb: counted?.device.tally ?? NO_TRANSFERS, exchanges: counted?.field.exchanges.length ?? 0 });
  let last = now();
  return {
    take: () => {
      const [before, after] = [last, now()];
      last = after;
      return { usb: difference(after.usb, before.usb), air: counted?.field.exchanges.slice(before.exchanges, after.exchanges) ?? [] };
    },
  };
}

/** The page's open card as the flow in this process uses it. Only what happens during a call is counted: looks for the card's presence in between are not. */
class MeteredChannel implements CardChannel {
  readonly readerName = '';
  readonly batchesMs: number[] = [];
  commands = 0;
  usb: UsbTally = NO_TRANSFERS;
  readonly air: AirExchange[] = [];
  readonly modelled: AirExchange[] = [];
  readonly #page: Page;
  readonly #meter: Meter;

  constructor(page: Page, meter: Meter) {
    this.#page = page;
    this.#meter = meter;
  }

  async transmit(commands: readonly CardCommand[]): Promise<Bytes[]> {
    this.#meter.take();
    const { responses, ms } = await this.#page.evaluate((given) => globalThis.readersPage.transmit(given), commands.map(onPage));
    const { usb, air } = this.#meter.take();
    this.batchesMs.push(ms);
    this.commands += responses.length;
    this.usb = sum(this.usb, usb);
    this.air.push(...air);
    const answers = responses.map((hex) => parseHex(hex));
    for (const [i, answer] of answers.entries()) this.modelled.push(...exchangesOfCommand(commands[i]?.apdu.length ?? 0, answer.length));
    return answers;
  }

  close(): Promise<void> {
    return close(this.#page);
  }
}
