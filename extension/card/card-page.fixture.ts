/** The page's logic over a source of readers that the test moves; time is the test's. */
import { vi } from 'vitest';
import type { ReaderInfo } from '#bridge/reader-source.ts';
import { Failure, type FailureCode } from '#protocol/failure.ts';
import type { ReadingReport } from '#protocol/resolve.ts';
import { createCardWatch } from '../ports/card-watch.ts';
import { createReaders } from '../ports/readers.ts';
import { createSource } from '../ports/source.fixture.ts';
import { openCardPage, type CardPagePorts, type CardReadings } from './card-page.ts';
import type { CardPageState } from './card-state.ts';

export const FELICA = 'SONY RC-S300';
export const reader = (state: ReaderInfo['state'], name = FELICA): ReaderInfo => ({ name, state });

export const report: ReadingReport = {
  paymentId: '5f0c2d1e-8a67-4b8e-9a53-0d3f9d3f7c11',
  previous: 'A'.repeat(43),
  readingNonce: 'A'.repeat(22),
  cardId: '04A1B2C3D4E5F6',
  balanceMinor: 8_800n,
  decided: [],
  card: { state: 'active', currency: 'JPY', limitMinor: 50_000n },
  records: [],
};

export function createPage(lying: readonly ReaderInfo[] = [reader('empty')], conclude: CardPagePorts['conclude'] = () => Promise.resolve([])) {
  const { source, connect, move } = createSource(lying);
  const readers = createReaders(() => Promise.resolve(source), undefined);
  const read = vi.fn<CardReadings['read']>(() => Promise.resolve(report));
  const link = vi.fn<CardReadings['link']>(() => Promise.resolve(report));
  const ports = {
    watch: createCardWatch(readers, null),
    attendReaders: vi.fn<CardPagePorts['attendReaders']>(),
    readings: vi.fn<CardPagePorts['readings']>(() => Promise.resolve({ read, link })),
    conclude: vi.fn(conclude),
    now: () => Date.now(),
  };
  const states: CardPageState[] = [];
  const page = openCardPage(ports, (state) => states.push(state));
  const putCard = async (): Promise<void> => {
    move([reader('present')]);
    await settled();
  };
  const liftCard = async (): Promise<void> => {
    move([reader('empty')]);
    await settled();
  };
  /** Comes to the front, with its readers known. */
  const look = async (): Promise<void> => {
    page.attend(true);
    await vi.advanceTimersByTimeAsync(300);
  };
  const kinds = (): string[] => states.map(({ kind }) => kind).filter((kind, i, all) => kind !== all[i - 1]);
  return { page, ports, read, link, connect, move, putCard, liftCard, look, states, kinds };
}

export const settled = () => vi.advanceTimersByTimeAsync(0);
export const refuse = (code: FailureCode) => () => Promise.reject(new Failure(code));

/** A contact that ends when the test says so. */
export function slow<T>(value: T): { start: () => Promise<T>; finish: () => void } {
  let finish: () => void = () => undefined;
  return { start: () => new Promise((resolve) => (finish = () => resolve(value))), finish: () => finish() };
}
