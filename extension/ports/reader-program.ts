/** The program that reaches PC/SC readers for this browser: our native host; on ChromeOS, where there can be none, Google's Smart Card Connector. */
import browser from 'webextension-polyfill';
import type { Finding } from '#bridge/doctor-findings.ts';
import { openSmartCardConnector, SMART_CARD_CONNECTOR_ID } from '#bridge/smart-card-connector.ts';
import type { ReaderSource } from '#bridge/reader-source.ts';
import { connectNativeHost } from './native.ts';
import { systemOf, type System } from './system.ts';

export interface ReaderProgram {
  readonly source: ReaderSource;
  /** Null: it does not say. */
  readonly version: string | null;
  readonly platform: string;
  /** What the program's own doctor finds; fails as the program does. */
  diagnose(): Promise<readonly Finding[]>;
}

/** Starts the program of this system. Fails with `host/…`, `connector/…`, and with `reader/no-service` where a Connector has no PC/SC. */
export function connectReaderProgram(system: System = systemOf(navigator)): Promise<ReaderProgram> {
  return system === 'chromeos' ? connectConnector() : connectHost();
}

async function connectHost(): Promise<ReaderProgram> {
  const host = await connectNativeHost();
  return { source: host, version: host.version, platform: host.platform, diagnose: () => host.diagnose() };
}

async function connectConnector(): Promise<ReaderProgram> {
  const source = await openSmartCardConnector({
    connect: () => browser.runtime.connect(SMART_CARD_CONNECTOR_ID),
    lastError: () => browser.runtime.lastError?.message,
    signal: new AbortController().signal,
  });
  // It has no doctor: what it knows are its readers, and the service behind it.
  return { source, version: null, platform: 'chromeos', diagnose: () => Promise.resolve([]) };
}
