/** How long a command takes from the extension's page to the card and back, beside the same command given to libpcsclite by this process; in one run. */
import type { Page } from 'playwright';
import { createPcscBackend } from '#bridge/host/pcsc/backend.ts';
import type { CardConnection } from '#bridge/host/backend.ts';
import { NATIVE_HOST_NAME, NATIVE_PROTOCOL_VERSION } from '#bridge/native/messages.ts';
import { encodeHex, parseHex } from '#protocol/bytes.ts';
import { Failure } from '#protocol/failure.ts';
import { fillCart, startPayment, untilScreen } from '#world/checkout.ts';
import type { Stage } from '#world/stage.ts';
import { allowNames } from './human.ts';
import { relayMessages, transmitThroughHost } from './in-page.ts';
import { median, roundMs, summarize, type Summary } from './statistics.ts';

/** GetVersion: changes nothing in the card, and needs no key. Its answer has three frames: the first is measured, the others are fetched. */
const COMMAND = { apdu: '9060000000', expect: '91AF' } as const;
const REST = [{ apdu: '90AF000000', expect: '91AF' }, { apdu: '90AF000000', expect: '9100' }] as const;
/** The two ways take turns, so that a machine that gets slower or faster does so for both. */
const BLOCKS = 8;
/** At the head of each block: caches, connections and the card's own state. */
const WARM_UP = 20;
const LIMIT_MS = 5_000;

export interface ChainFigures {
  readonly command: string;
  /** Extension page, native port, host, PC/SC service, reader, card, and back. */
  readonly pageToCard: Summary;
  /** This process, koffi, libpcsclite, PC/SC service, reader, card, and back. */
  readonly direct: Summary;
  /** Medians: what the browser and the native port cost. */
  readonly ratio: number;
  readonly ratioOfEachBlock: readonly number[];
  /** Payment window to the script in the shop's page and back, through the content script. */
  readonly windowToShopPage: Summary;
  /** Sum of both medians: no page can have it, because no page reaches a card; it is what the longest way inside the browser would cost. */
  readonly sumOfMediansMs: number;
}

export async function measureChain(stage: Stage, runs: number, log: (line: string) => void): Promise<ChainFigures> {
  Object.assign(process.env, stage.reader.environment); // libpcsclite reads it when it connects
  const browser = await stage.openBrowser();
  const backend = createPcscBackend();
  try {
    const [shop] = stage.world.shops;
    if (shop === undefined) throw new Error('a world without a shop');
    const shopPage = await fillCart(browser, shop.origin, ['sencha']);
    const window = await startPayment(browser, shopPage);
    await untilScreen(window, 'estimate', 'bill'); // here nothing holds the card yet
    await allowNames(shopPage, window);
    const readerName = await readerWithCard(backend);
    const perBlock = Math.ceil(runs / BLOCKS);
    const [pageMs, directMs, relayedMs]: [number[][], number[][], number[]] = [[], [], []];
    for (let block = 1; block <= BLOCKS; block++) {
      log(`block ${block} of ${BLOCKS}: ${perBlock} commands each way`);
      pageMs.push(await throughHost(window, perBlock));
      directMs.push(await directly(backend, readerName, perBlock));
      relayedMs.push(...(await relayMessages(window, shopPage, perBlock)));
    }
    const [pageToCard, direct, windowToShopPage] = [summarize(pageMs.flat()), summarize(directMs.flat()), summarize(relayedMs)];
    return {
      command: COMMAND.apdu,
      pageToCard,
      direct,
      ratio: roundMs(pageToCard.medianMs / direct.medianMs),
      ratioOfEachBlock: pageMs.map((values, i) => roundMs(median(values) / median(directMs[i] ?? []))),
      windowToShopPage,
      sumOfMediansMs: roundMs(pageToCard.medianMs + windowToShopPage.medianMs),
    };
  } finally {
    await backend.close();
    await browser.close();
  }
}

async function throughHost(window: Page, count: number): Promise<number[]> {
  const order = { host: NATIVE_HOST_NAME, protocol: NATIVE_PROTOCOL_VERSION, command: COMMAND, rest: REST, count: count + WARM_UP, timeoutMs: LIMIT_MS };
  return (await window.evaluate(transmitThroughHost, order)).slice(WARM_UP);
}

async function directly(backend: ReturnType<typeof createPcscBackend>, readerName: string, count: number): Promise<number[]> {
  const connection = await backend.connect(readerName);
  try {
    return (await transmitRepeatedly(connection, count + WARM_UP)).slice(WARM_UP);
  } finally {
    await connection.close();
  }
}

async function transmitRepeatedly(connection: CardConnection, count: number): Promise<number[]> {
  const transmit = async ({ apdu, expect }: { readonly apdu: string; readonly expect: string }): Promise<void> => {
    const answer = await connection.transmit(parseHex(apdu), LIMIT_MS);
    if (!encodeHex(answer).endsWith(expect)) throw new Failure('card/answer', { detail: `GetVersion: ${encodeHex(answer)}` });
  };
  const values: number[] = [];
  for (let i = 0; i < count; i++) {
    const startedAt = performance.now();
    await transmit(COMMAND);
    values.push(performance.now() - startedAt);
    for (const command of REST) await transmit(command);
  }
  return values;
}

function readerWithCard(backend: ReturnType<typeof createPcscBackend>): Promise<string> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Failure('card/absent')), LIMIT_MS);
    const watch = backend.watch(({ readers }) => {
      const reader = readers.find(({ state }) => state === 'present');
      if (reader === undefined) return;
      clearTimeout(timer);
      queueMicrotask(() => watch.stop()); // the first news may come before watch() has returned
      resolve(reader.name);
    });
  });
}
