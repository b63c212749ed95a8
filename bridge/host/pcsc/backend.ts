/** The readers of the computer's PC/SC service. */
import { Failure } from '#protocol/failure.ts';
import type { CardConnection, ReaderBackend } from '../backend.ts';
import { openPcscConnection } from './connection.ts';
import { countCallsUnderWay, loadPcscLibrary, type PcscLibrary } from './library.ts';
import { watchReaders, type ReaderWatch } from './watch.ts';

/** Native calls run on libuv's threads; a mute card keeps one until it is lifted. One is left free for the watch and one to answer with. */
const SPARE_THREADS = 2;
const DEFAULT_POOL_THREADS = 4;
/** Longer than a watch needs to hear of its end on a busy machine, shorter than the browser waits before it kills. */
const IDLE_LIMIT_MS = 1_000;
const LOOK_AGAIN_MS = 10;

/** `load` is called at first use, and again after it failed: the service may be installed while we wait. */
export function createPcscBackend(load: () => PcscLibrary = loadPcscLibrary): ReaderBackend {
  let loaded: PcscLibrary | undefined;
  const library = () => (loaded ??= load());
  const poolThreads = Number(process.env.UV_THREADPOOL_SIZE ?? DEFAULT_POOL_THREADS) || DEFAULT_POOL_THREADS;
  const openConnections = new Map<CardConnection, string>();
  const watches = new Set<ReaderWatch>();

  return {
    name: 'pcsc',
    watch(onChange) {
      const isOurs = (reader: string) => [...openConnections.values()].includes(reader);
      const watch = watchReaders(library, isOurs, onChange);
      watches.add(watch);
      return watch;
    },
    async connect(readerName) {
      // Threads lost to mute cards come back when those are lifted; until then refuse instead of waiting in a queue for ever.
      if (countCallsUnderWay() > poolThreads - SPARE_THREADS) throw new Failure('reader/failed', { detail: 'too many cards do not answer' });
      const connection = await openPcscConnection(library(), readerName);
      const owned: CardConnection = {
        atr: connection.atr,
        transmit: (apdu, timeoutMs) => connection.transmit(apdu, timeoutMs),
        async close() {
          openConnections.delete(owned);
          await connection.close();
        },
      };
      openConnections.set(owned, readerName);
      return owned;
    },
    async close() {
      await Promise.all([...openConnections.keys()].map((connection) => connection.close()));
      const endsAt = performance.now() + IDLE_LIMIT_MS;
      do {
        for (const watch of watches) watch.stop();
        await new Promise((resolve) => setTimeout(resolve, LOOK_AGAIN_MS));
      } while (countCallsUnderWay() > 0 && performance.now() < endsAt);
      return { idle: countCallsUnderWay() === 0 };
    },
  };
}
