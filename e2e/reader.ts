/** The reader as PC/SC sees it from this process: it looks a few times a second, a hand is slower, a test is not. */
import { createPcscBackend } from '#bridge/host/pcsc/backend.ts';
import { PATIENCE_MS } from '#world/checkout.ts';
import type { Stage } from '#world/stage.ts';

/** Resolves once PC/SC has noticed that no card lies on any reader of the stage. */
export async function untilReaderEmpty({ reader }: Stage): Promise<void> {
  Object.assign(process.env, reader.environment); // libpcsclite reads it when it connects
  const backend = createPcscBackend();
  try {
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error('PC/SC still sees a card')), PATIENCE_MS);
      const watch = backend.watch(({ readers }) => {
        if (readers.length === 0 || readers.some(({ state }) => state !== 'empty')) return;
        clearTimeout(timer);
        // The first news may come before watch() has returned.
        queueMicrotask(() => watch.stop());
        resolve();
      });
    });
  } finally {
    await backend.close();
  }
}
