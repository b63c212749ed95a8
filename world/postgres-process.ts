/** The postmaster as a process: whether one runs on a data folder, whether it is really ours, and how it ends. */
import { execFile } from 'node:child_process';
import { readFile, readlink, realpath } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';

const POLL_MS = 10;

/** What postmaster.pid says: it may be a leftover, and its pid may be another program's by now. */
export interface PostmasterFile {
  readonly pid: number;
  readonly port: number;
  /** It takes connections (and is not starting, recovering or ending). */
  readonly ready: boolean;
}

export async function readPostmasterFile(dataFolder: string): Promise<PostmasterFile | undefined> {
  const text = await readFile(join(dataFolder, 'postmaster.pid'), 'utf8').catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw error;
  });
  // Lines: pid, data folder, start time, port, socket folder, address, shared memory, status (PostgreSQL, src/include/utils/pidfile.h)
  const [pid, , , port, , , , status] = text.split('\n');
  if (pid === undefined || port === undefined || !/^[1-9]\d{0,9}$/.test(pid)) return undefined;
  return { pid: Number(pid), port: Number(port), ready: status?.trim() === 'ready' };
}

/** True if a living process `pid` is the postmaster of `dataFolder`; false for a dead, unreaped or unrelated one. */
export async function isPostmasterOf(pid: number, dataFolder: string): Promise<boolean> {
  if (process.platform !== 'linux') return (await commandLine(pid)).includes(dataFolder);
  try {
    const [status, folder] = await Promise.all([readFile(`/proc/${pid}/stat`, 'utf8'), readlink(`/proc/${pid}/cwd`)]);
    const [, name, state] = /^\d+ \((.*)\) (\S)/s.exec(status) ?? [];
    // A postmaster works in its data folder; its children do too, but postmaster.pid never names them.
    return name === 'postgres' && state !== 'Z' && state !== 'X' && folder === (await realpath(dataFolder));
  } catch {
    return false; // no such process, or one that we may not look at: not ours
  }
}

async function commandLine(pid: number): Promise<string> {
  return promisify(execFile)('ps', ['-ww', '-o', 'command=', '-p', `${pid}`], { timeout: 5_000 }).then(
    ({ stdout }) => stdout,
    () => '', // ps fails for a process that is not there
  );
}

/** Ends the postmaster: SIGINT (disconnect all, checkpoint), then SIGQUIT (stop at once, recover later), then SIGKILL; nothing committed is lost by any of them. */
export async function endPostmaster(pid: number, dataFolder: string): Promise<void> {
  for (const [signal, patienceMs] of [['SIGINT', 15_000], ['SIGQUIT', 5_000], ['SIGKILL', 5_000]] as const) {
    if (!(await isPostmasterOf(pid, dataFolder))) return;
    signalIfThere(pid, signal);
    if (await isGone(pid, dataFolder, patienceMs)) return;
  }
  throw new Error(`PostgreSQL (process ${pid}) does not end: look at it by hand`);
}

/** kill -9, as a power cut would. */
export async function killPostmaster(pid: number, dataFolder: string): Promise<void> {
  if (!(await isPostmasterOf(pid, dataFolder))) throw new Error(`process ${pid} is not the PostgreSQL of ${dataFolder}`);
  signalIfThere(pid, 'SIGKILL');
  if (!(await isGone(pid, dataFolder, 5_000))) throw new Error(`PostgreSQL (process ${pid}) survived SIGKILL`);
}

function signalIfThere(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

async function isGone(pid: number, dataFolder: string, patienceMs: number): Promise<boolean> {
  const deadline = Date.now() + patienceMs;
  while (await isPostmasterOf(pid, dataFolder)) {
    if (Date.now() > deadline) return false;
    await delay(POLL_MS);
  }
  return true;
}
