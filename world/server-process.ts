/** One server of the world as a process of its own: configured by a file, ready when it says so, heard on stdout, ended by its id. */
import { spawn, type ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { mkdir, open } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { JournalEntry } from '#protocol/step.ts';
import type { Party } from '#protocol/steps.ts';
import { writeWhole } from './pki-store.ts';

const PROJECT_FOLDER = fileURLToPath(new URL('..', import.meta.url));
const START_LIMIT_MS = 60_000;
const STOP_LIMIT_MS = 15_000;

/** What parties tell while they work: steps, and signatures. */
export interface WorldEvents {
  onJournal(entry: JournalEntry): void;
  onSignature(event: { readonly party: Party; readonly kind: 'made' | 'verified'; readonly typ: string }): void;
}

export interface ServerProcess {
  readonly name: string;
  readonly pid: number;
  /** Resolves when it is gone, however that came. */
  readonly ended: Promise<void>;
  /** SIGTERM, and waits; SIGKILL if it does not end in time. */
  stop(): Promise<void>;
  /** For tests: kill -9. */
  kill(): Promise<void>;
}

export interface ServerPlan {
  readonly name: string;
  /** Of the tree, for example `servers/shop/main.ts`. */
  readonly program: string;
  readonly config: object;
  readonly environment?: Readonly<Record<string, string>>;
}

/** Resolves once the server is ready; throws an Error with the last lines of its log if it ends before. */
export async function startServer(plan: ServerPlan, folder: string, events: WorldEvents): Promise<ServerProcess> {
  const configFile = join(folder, 'config', `${plan.name}.json`);
  const logFile = join(folder, 'log', `${plan.name}.log`);
  await mkdir(dirname(logFile), { recursive: true });
  await writeWhole(configFile, JSON.stringify(plan.config, null, 2), 'replace');
  const log = await open(logFile, 'a', 0o600);
  const child = spawn(process.execPath, ['--import', 'tsx', plan.program, '--config', configFile], {
    cwd: PROJECT_FOLDER,
    env: { ...process.env, ...plan.environment, KESSAI_END_WITH_STDIN: '1' },
    // Its standard input is ours to hold: when this process dies in any way, the server ends too.
    stdio: ['pipe', 'pipe', log.fd],
  });
  await log.close();
  await untilReady(child, plan.name, logFile, events);
  return handleOf(child, plan.name);
}

function untilReady(child: ChildProcess, name: string, logFile: string, events: WorldEvents): Promise<void> {
  return new Promise((resolve, reject) => {
    const fail = (reason: string): void => reject(new Error(`${name} ${reason}:\n${lastLines(logFile)}`));
    const timer = setTimeout(() => {
      child.kill('SIGKILL');
      fail(`was not ready within ${START_LIMIT_MS / 1000} s`);
    }, START_LIMIT_MS);
    child.once('error', (error) => fail(error.message));
    child.once('exit', (code, signal) => {
      clearTimeout(timer);
      fail(`ended (${signal ?? `code ${String(code)}`})`);
    });
    if (child.stdout === null) throw new Error('no standard output');
    createInterface({ input: child.stdout }).on('line', (line) => {
      const message = parseLine(line);
      if (message === undefined) return;
      if (message['ready'] === true) {
        clearTimeout(timer);
        resolve();
      } else report(message, events);
    });
  });
}

function lastLines(file: string): string {
  return readFileSync(file, 'utf8').trimEnd().split('\n').slice(-20).join('\n');
}

function parseLine(line: string): Record<string, unknown> | undefined {
  try {
    return JSON.parse(line) as Record<string, unknown>;
  } catch {
    return undefined; // not one of ours: a library printed something
  }
}

function report({ journal, tally, ...message }: Record<string, unknown>, events: WorldEvents): void {
  if (journal === true) events.onJournal(message as unknown as JournalEntry);
  if (tally === true) events.onSignature(message as unknown as Parameters<WorldEvents['onSignature']>[0]);
}

function handleOf(child: ChildProcess, name: string): ServerProcess {
  const ended = new Promise<void>((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null) resolve();
    else child.once('exit', () => resolve());
  });
  return {
    name,
    pid: child.pid ?? 0,
    ended,
    stop: async () => {
      child.kill('SIGTERM');
      const timer = setTimeout(() => child.kill('SIGKILL'), STOP_LIMIT_MS);
      await ended;
      clearTimeout(timer);
    },
    kill: async () => {
      child.kill('SIGKILL');
      await ended;
    },
  };
}
