/** All readers of this browser, over every road that it has. */
import { connectNativeHost } from './native.ts';
import { createReaders, type Readers } from './readers.ts';

/** Starts the native host. */
export function openReaders(): Readers {
  return createReaders(connectNativeHost, undefined);
}
