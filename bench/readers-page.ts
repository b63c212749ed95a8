/** Runs in a page of an extension in a real browser: opens the product's readers there, sends what it is told, and measures each call of the channel by the page's clock. */
import type { CardChannel } from '#bridge/card-channel.ts';
import { openDeviceReaders } from '#bridge/device/device-readers.ts';
import { NATIVE_HOST_NAME, openNativeHost } from '#bridge/native/client.ts';
import type { ReaderSource } from '#bridge/reader-source.ts';
import { createHidBus } from '#bridge/webhid/hid-bus.ts';
import { createUsbBus } from '#bridge/webusb/usb-bus.ts';
import { statusWord } from '#protocol/apdu.ts';
import { encodeHex, parseHex } from '#protocol/bytes.ts';

export interface PageCommand {
  readonly apdu: string;
  readonly expectedStatus: number;
}

/** The browser's own stacks, or the native host of this version. */
export type PageRoad = { readonly over: 'browser' } | { readonly over: 'host'; readonly version: string };

export interface ReadersPage {
  /** Opens the readers, waits for a card on one, opens the card; answers milliseconds. */
  open(road: PageRoad, limitMs: number): Promise<number>;
  transmit(commands: readonly PageCommand[]): Promise<{ readonly responses: readonly string[]; readonly ms: number }>;
  /** The same batch `count` times, one after the other; answers milliseconds each. */
  repeat(commands: readonly PageCommand[], count: number): Promise<number[]>;
  /** Resolves when the reader has been given back. */
  close(): Promise<void>;
}

declare global {
  var readersPage: ReadersPage;
}

const never = new AbortController().signal;
let opened: { readonly source: ReaderSource; readonly channel: CardChannel } | undefined;

async function openSource(road: PageRoad): Promise<ReaderSource> {
  if (road.over === 'browser') return openDeviceReaders([createUsbBus(navigator.usb), createHidBus(navigator.hid)]);
  return openNativeHost({
    connect: () => chrome.runtime.connectNative(NATIVE_HOST_NAME),
    lastError: () => chrome.runtime.lastError?.message,
    expectedVersion: road.version,
    signal: never,
  });
}

function untilCard(source: ReaderSource, limitMs: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => end(() => reject(new Error(`no card within ${limitMs} ms: ${JSON.stringify(source.readers)}`))), limitMs);
    const look = (): void => {
      const reader = source.readers.find(({ state }) => state === 'present');
      if (reader !== undefined) end(() => resolve(reader.name));
    };
    const stop = source.onReaders(look);
    const end = (then: () => void): void => {
      clearTimeout(timer);
      stop();
      then();
    };
    look();
  });
}

function channel(): CardChannel {
  if (opened === undefined) throw new Error('no card is open');
  return opened.channel;
}

const decode = (commands: readonly PageCommand[]) => commands.map(({ apdu, expectedStatus }) => ({ apdu: parseHex(apdu), expectedStatus }));

globalThis.readersPage = {
  open: async (road, limitMs) => {
    const startedAt = performance.now();
    const source = await openSource(road);
    try {
      opened = { source, channel: await source.connect(await untilCard(source, limitMs), never) };
    } catch (reason) {
      await source.close();
      throw reason;
    }
    return performance.now() - startedAt;
  },
  transmit: async (commands) => {
    const sent = decode(commands);
    const startedAt = performance.now();
    const responses = await channel().transmit(sent, never);
    return { ms: performance.now() - startedAt, responses: responses.map((response) => encodeHex(response)) };
  },
  repeat: async (commands, count) => {
    const sent = decode(commands);
    const values: number[] = [];
    for (let i = 0; i < count; i++) {
      const startedAt = performance.now();
      const responses = await channel().transmit(sent, never);
      values.push(performance.now() - startedAt);
      if (!sent.every(({ expectedStatus }, at) => statusWord(responses[at] ?? new Uint8Array(2)) === expectedStatus)) throw new Error(`the card answered ${responses.map((response) => encodeHex(response)).join(' ')}`);
    }
    return values;
  },
  close: async () => {
    const last = opened;
    opened = undefined;
    await last?.channel.close();
    await last?.source.close();
  },
};
