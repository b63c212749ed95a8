/** What an installation fixes for its host: who may call it, and which readers it serves. Read from a JSON file, never from the caller. */
import { readFileSync } from 'node:fs';
import * as v from 'valibot';

const HostConfig = v.strictObject({
  /** Chromium's callers: `chrome-extension://<id>/`. */
  allowedOrigins: v.pipe(v.array(v.pipe(v.string(), v.regex(/^chrome-extension:\/\/[a-p]{32}\/$/))), v.maxLength(8)),
  /** Firefox's callers: the id of the add-on's manifest. */
  allowedExtensions: v.pipe(v.array(v.pipe(v.string(), v.minLength(1), v.maxLength(80))), v.maxLength(8)),
  reader: v.variant('kind', [
    v.strictObject({ kind: v.literal('pcsc') }),
    v.strictObject({ kind: v.literal('sim'), port: v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(65_535)) }),
  ]),
});
export type HostConfig = v.InferOutput<typeof HostConfig>;

/** Throws on a missing, unreadable or malformed file. */
export function readHostConfig(path: string): HostConfig {
  return v.parse(HostConfig, JSON.parse(readFileSync(path, 'utf8')));
}

/** KESSAI_SIM_READER_PORT moves the simulated reader to another port; it does not turn PC/SC into a simulation. */
export function simReaderPort(configured: number, environment: NodeJS.ProcessEnv): number {
  const port = Number(environment.KESSAI_SIM_READER_PORT);
  return Number.isInteger(port) && port > 0 && port < 65_536 ? port : configured;
}

/**
 * Whether the browser started us for one of our own extensions. Chromium passes the caller's origin as first argument
 * (and on Windows a window handle); Firefox the path of the manifest and the add-on's id.
 */
export function isAllowedCaller(browserArguments: readonly string[], config: HostConfig): boolean {
  const [first = '', second = ''] = browserArguments;
  if (first.startsWith('chrome-extension://')) return config.allowedOrigins.includes(first);
  return config.allowedExtensions.includes(second);
}
