/** A server as a process of its own: strict configuration in, one ready line on stdout, graceful end on SIGTERM. */
import { pathToFileURL } from 'node:url';
import type * as v from 'valibot';
import type { SignatureTally } from '#protocol/signed.ts';
import type { Party } from '#protocol/steps.ts';
import { ConfigError, loadConfig } from './config.ts';

export interface RunningServer {
  /** Where it listens, for whoever started it. */
  readonly addresses: Readonly<Record<string, string>>;
  close(): Promise<void>;
}

/** Does nothing unless `moduleUrl` is the program's entry. Exit codes: 0 ended as asked, 1 could not start, 2 wrong configuration. */
export function runAsProcess<const Schema extends v.GenericSchema>(moduleUrl: string, schema: Schema, start: (config: v.InferOutput<Schema>) => Promise<RunningServer>): void {
  if (process.argv[1] === undefined || pathToFileURL(process.argv[1]).href !== moduleUrl) return;
  void run(schema, start).catch((error: unknown) => {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    process.exit(error instanceof ConfigError ? 2 : 1);
  });
}

async function run<const Schema extends v.GenericSchema>(schema: Schema, start: (config: v.InferOutput<Schema>) => Promise<RunningServer>): Promise<void> {
  const server = await start(loadConfig(schema));
  let isEnding = false;
  const end = (): void => {
    if (isEnding) return;
    isEnding = true;
    server.close().then(
      () => process.exit(0),
      (error: unknown) => {
        process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
        process.exit(1);
      },
    );
  };
  process.once('SIGTERM', end);
  process.once('SIGINT', end);
  // Whoever started us holds our standard input: when it dies in any way, so do we.
  if (process.env['KESSAI_END_WITH_STDIN'] === '1') process.stdin.once('end', end).resume();
  process.stdout.write(`${JSON.stringify({ ready: true, addresses: server.addresses })}\n`);
}

/** Prints one JSON line a signature to stdout, marked `"tally":true`, for the figures beside SET's. */
export function createTally(party: Party): SignatureTally {
  return ({ kind, typ }) => process.stdout.write(`${JSON.stringify({ tally: true, party, kind, typ })}\n`);
}

/** Epoch milliseconds with fraction, from a clock that never goes back while the process lives. */
export function epochMs(): number {
  return performance.timeOrigin + performance.now();
}
