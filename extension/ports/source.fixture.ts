/** A source of readers whose readers and cards the test moves. */
import { vi } from 'vitest';
import type { CardChannel } from '#bridge/card-channel.ts';
import type { NativeHost } from '#bridge/native/client.ts';
import type { ReaderInfo } from '#bridge/reader-source.ts';
import { Failure, type FailureCode } from '#protocol/failure.ts';

export function createSource(readers: readonly ReaderInfo[]) {
  const callbacks = new Set<(readers: readonly ReaderInfo[]) => void>();
  const connect = vi.fn<NativeHost['connect']>((readerName): Promise<CardChannel> => Promise.resolve({ readerName, transmit: () => Promise.resolve([]), close: () => Promise.resolve() }));
  const source = {
    version: '0.1.0',
    platform: 'linux',
    readers,
    problem: undefined as Failure | undefined,
    onReaders: (callback: (readers: readonly ReaderInfo[]) => void) => {
      callbacks.add(callback);
      return () => void callbacks.delete(callback);
    },
    connect,
    diagnose: () => Promise.resolve([]),
    close: vi.fn(() => Promise.resolve()),
  } satisfies NativeHost;
  const move = (changed: readonly ReaderInfo[], problem?: FailureCode): void => {
    source.readers = changed;
    source.problem = problem === undefined ? undefined : new Failure(problem);
    for (const callback of [...callbacks]) callback(changed);
  };
  return { source, connect, move };
}
