/** koffi, loaded at first use: a host on the simulated reader needs no native code, and where there is none for a platform the rest still runs. */
import { createRequire } from 'node:module';
import type * as Koffi from 'koffi';
import { Failure } from '#protocol/failure.ts';

let loaded: typeof Koffi | undefined;

/** Fails with `reader/no-service` where koffi has no binary. */
export function loadKoffi(): typeof Koffi {
  try {
    loaded ??= createRequire(import.meta.url)('koffi') as typeof Koffi;
    return loaded;
  } catch (cause) {
    throw new Failure('reader/no-service', { cause, detail: 'no native code for this platform' });
  }
}
