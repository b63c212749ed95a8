/** The readers of a page in a real browser, as a source in this process: what a test here asks is done there. */
import type { Page } from 'playwright';
import { TransmitFailure, type CardChannel } from '#bridge/card-channel.ts';
import type { ReaderPace } from '#bridge/device/attached-reader.ts';
import type { ReaderInfo, ReaderSource } from '#bridge/reader-source.ts';
import type { CardCommand } from '#protocol/apdu.ts';
import { encodeHex, parseHex, type Bytes } from '#protocol/bytes.ts';
import { Failure } from '#protocol/failure.ts';
import type {} from './contract-page.ts';

/** `page` shows the contract's page; each page serves one source. */
export async function openPageSource(page: Page, pace: ReaderPace): Promise<ReaderSource> {
  const source = new PageSource(page);
  await page.exposeFunction('readersChanged', (readers: readonly ReaderInfo[]) => source.readersChanged(readers));
  await page.evaluate((given) => globalThis.contractPage.open(given), pace);
  return source;
}

class PageSource implements ReaderSource {
  readonly problem = undefined;
  readers: readonly ReaderInfo[] = [];
  readonly #page: Page;
  readonly #callbacks = new Set<(readers: readonly ReaderInfo[]) => void>();

  constructor(page: Page) {
    this.#page = page;
  }

  readersChanged(readers: readonly ReaderInfo[]): void {
    this.readers = readers;
    for (const callback of [...this.#callbacks]) callback(readers);
  }

  onReaders(callback: (readers: readonly ReaderInfo[]) => void): () => void {
    this.#callbacks.add(callback);
    return () => void this.#callbacks.delete(callback);
  }

  async connect(readerName: string, _signal: AbortSignal, transmitLimitMs = 10_000): Promise<CardChannel> {
    const answer = await this.#page.evaluate(([name, limitMs]) => globalThis.contractPage.connect(name, limitMs), [readerName, transmitLimitMs] as const);
    if ('failed' in answer) throw new Failure(answer.failed);
    return new PageChannel(this.#page, answer.channel, readerName);
  }

  async close(): Promise<void> {
    this.#callbacks.clear();
    await this.#page.evaluate(() => globalThis.contractPage.shut()).catch(() => undefined); // the page may be gone, and its readers with it
  }
}

let batches = 0;

class PageChannel implements CardChannel {
  readonly readerName: string;
  readonly #page: Page;
  readonly #channel: number;

  constructor(page: Page, channel: number, readerName: string) {
    this.#page = page;
    this.#channel = channel;
    this.readerName = readerName;
  }

  async transmit(commands: readonly CardCommand[], signal: AbortSignal): Promise<Bytes[]> {
    const batch = batches++;
    const abort = (): void => void this.#page.evaluate((number) => globalThis.contractPage.abort(number), batch);
    const sent = commands.map(({ apdu, expectedStatus }) => ({ apdu: encodeHex(apdu), expectedStatus }));
    const transmission = this.#page.evaluate(([channel, number, given, aborted]) => globalThis.contractPage.transmit(channel, number, given, aborted), [this.#channel, batch, sent, signal.aborted] as const);
    signal.addEventListener('abort', abort, { once: true });
    const answer = await transmission;
    signal.removeEventListener('abort', abort);
    if ('failed' in answer) throw new TransmitFailure(answer.failed, answer.responses.map((hex) => parseHex(hex)));
    return answer.responses.map((hex) => parseHex(hex));
  }

  async close(): Promise<void> {
    await this.#page.evaluate((channel) => globalThis.contractPage.close(channel), this.#channel);
  }
}
