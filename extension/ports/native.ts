/** The native host as this browser starts it. */
import browser from 'webextension-polyfill';
import { NATIVE_HOST_NAME, openNativeHost, type NativeHost, type NativePort } from '#bridge/native/client.ts';
import { DEPLOYMENT } from '../built-in.ts';

/** Starts the host; it must have this extension's version. Fails with `host/…`. */
export function connectNativeHost(): Promise<NativeHost> {
  let port: (NativePort & { readonly error?: { readonly message: string } | null }) | undefined;
  return openNativeHost({
    connect: () => (port = browser.runtime.connectNative(NATIVE_HOST_NAME)),
    // Chromium says why in lastError, Firefox at the port.
    lastError: () => browser.runtime.lastError?.message ?? port?.error?.message,
    expectedVersion: DEPLOYMENT.version,
    signal: new AbortController().signal,
  });
}
