/** One PostgreSQL cluster in a folder of its own: made when missing, found running, or started; all under the caller's lock. */
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { open, readdir, readFile, rename, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { chooseRunner, CLEAN_ENVIRONMENT, createCluster, locatePrograms, type RootMethod, type Runner, wrap } from './postgres-binaries.ts';
import { endPostmaster, isPostmasterOf, readPostmasterFile } from './postgres-process.ts';

const MAJOR_VERSION = '18';
const READY_TIMEOUT_MS = 60_000;
const START_ATTEMPTS_TIMEOUT_MS = 30_000;
const POLL_MS = 10;
const MAX_LOG_BYTES = 8 * 1024 * 1024;

/** The paths of a cluster's folder. */
export function clusterPaths(folder: string) {
  return { data: join(folder, 'data'), lock: join(folder, 'lock'), password: join(folder, 'password'), port: join(folder, 'port'), log: join(folder, 'postgres.log') };
}

export interface RunningCluster {
  readonly pid: number;
  readonly port: number;
  readonly password: string;
}

/** Small and honest: everything acknowledged is on the disk; nothing but 127.0.0.1; no statement and no row in the log. */
const SETTINGS = {
  listen_addresses: '127.0.0.1',
  unix_socket_directories: '',
  fsync: 'on',
  full_page_writes: 'on',
  synchronous_commit: 'on',
  max_connections: '100',
  shared_buffers: '32MB',
  io_method: 'sync',
  wal_level: 'minimal',
  max_wal_senders: '0',
  max_wal_size: '256MB',
  max_parallel_workers_per_gather: '0',
  jit: 'off',
  log_checkpoints: 'off',
  log_min_messages: 'log',
  log_min_error_statement: 'panic',
  log_error_verbosity: 'terse',
};

/** The running cluster of `folder`: adopted if it runs (an orphan, or another process's), else started, else made first. Call it under the folder's lock. */
export async function ensureRunning(folder: string, rootMethod?: RootMethod): Promise<RunningCluster> {
  const paths = clusterPaths(folder);
  const adopted = await adopt(folder);
  if (adopted !== undefined) return adopted;
  const programs = await locatePrograms();
  await removeDrafts(folder);
  const runner = await chooseRunner(programs, folder, paths.data, rootMethod);
  const password = await ensurePassword(folder);
  if (existsSync(paths.data)) await checkVersion(paths.data);
  else await createCluster(programs, runner, paths.data, paths.password);
  return { ...(await start(folder, programs, runner)), password };
}

async function adopt(folder: string): Promise<RunningCluster | undefined> {
  const { data, password } = clusterPaths(folder);
  const found = await readPostmasterFile(data);
  if (found === undefined || !(await isPostmasterOf(found.pid, data))) return undefined;
  const ready = await waitUntilReady(found.pid, data, () => isPostmasterOf(found.pid, data));
  if (ready !== undefined && existsSync(password)) return { pid: found.pid, port: ready, password: await readFile(password, 'utf8') };
  await endPostmaster(found.pid, data); // ours, but stuck or on its way out: nobody can use it
  return undefined;
}

/** The port once the postmaster takes connections; undefined if it ends first or stays unready. */
async function waitUntilReady(pid: number, dataFolder: string, isAlive: () => boolean | Promise<boolean>): Promise<number | undefined> {
  const deadline = Date.now() + READY_TIMEOUT_MS;
  while (Date.now() < deadline) {
    const file = await readPostmasterFile(dataFolder);
    if (file?.pid === pid && file.ready) return file.port;
    if (!(await isAlive())) return undefined;
    await delay(POLL_MS);
  }
  return undefined;
}

async function ensurePassword(folder: string): Promise<string> {
  const { data, password: path } = clusterPaths(folder);
  if (existsSync(path)) return readFile(path, 'utf8');
  if (existsSync(data)) throw new Error(`${path} is missing, and without it nobody can read ${data}: put it back, or remove ${folder} with all its data`);
  const password = randomBytes(24).toString('base64url');
  const file = await open(`${path}.new`, 'w', 0o600);
  try {
    await file.writeFile(password);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(`${path}.new`, path);
  return password;
}

/** A cluster whose making was interrupted. */
async function removeDrafts(folder: string): Promise<void> {
  for (const name of await readdir(folder)) if (name.startsWith('data.new-')) await rm(join(folder, name), { recursive: true, force: true });
}

async function checkVersion(dataFolder: string): Promise<void> {
  const version = (await readFile(join(dataFolder, 'PG_VERSION'), 'utf8')).trim();
  if (version !== MAJOR_VERSION) throw new Error(`${dataFolder} was made by PostgreSQL ${version}, and this is ${MAJOR_VERSION}: move the data with pg_dump of version ${version}, or remove the folder with all its data`);
}

async function start(folder: string, programs: string, runner: Runner): Promise<{ pid: number; port: number }> {
  const { data, port: portFile, log } = clusterPaths(folder);
  const deadline = Date.now() + START_ATTEMPTS_TIMEOUT_MS;
  let port = Number(await readFile(portFile, 'utf8').catch(() => '0')); // no file: the first start
  for (;;) {
    if (!(port > 0 && port < 65_536)) port = await freePort();
    const outcome = await launch(folder, programs, runner, port);
    if (typeof outcome !== 'string') {
      await writeFile(portFile, `${port}`, { mode: 0o600 });
      return outcome;
    }
    if (Date.now() > deadline) throw new Error(`PostgreSQL does not start on ${data}; the end of ${log}:\n${outcome}`);
    if (outcome.includes('could not create any TCP/IP sockets')) port = 0;
    // After kill -9 the dead postmaster's children need a moment to notice.
    else if (/pre-existing shared memory block|lock file "postmaster.pid" already exists/.test(outcome)) await delay(100);
    else throw new Error(`PostgreSQL does not start on ${data}; the end of ${log}:\n${outcome}`);
  }
}

/** A started postmaster, or what it said before it gave up. */
async function launch(folder: string, programs: string, runner: Runner, port: number): Promise<{ pid: number; port: number } | string> {
  const { data, log } = clusterPaths(folder);
  const leftover = await readPostmasterFile(data);
  // PostgreSQL refuses to start while any process has the pid of a leftover postmaster.pid, be it a dead one that nobody reaps or
  // an unrelated one. We know that it is no postmaster of this folder; this variable says so (src/backend/utils/init/miscinit.c,
  // CreateLockFile), and PostgreSQL still checks the shared memory, so that surviving children are never overlooked.
  const environment = leftover === undefined ? CLEAN_ENVIRONMENT : { ...CLEAN_ENVIRONMENT, PG_GRANDPARENT_PID: `${leftover.pid}` };
  const logStart = await stat(log).then(({ size }) => size, () => 0);
  if (logStart > MAX_LOG_BYTES) await truncate(log);
  const logFile = await open(log, 'a', 0o600);
  try {
    const settings = Object.entries({ ...SETTINGS, port }).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
    // Detached: Ctrl-C in a terminal must reach the servers first, and PostgreSQL must survive one of two users.
    const child = spawn(...wrap(runner, join(programs, 'postgres'), ['-D', data, ...settings]), { detached: true, stdio: ['ignore', logFile.fd, logFile.fd], env: environment, cwd: '/' });
    child.unref();
    await once(child, 'spawn');
    const pid = child.pid ?? 0;
    const ready = await waitUntilReady(pid, data, () => child.exitCode === null && child.signalCode === null);
    if (ready !== undefined) return { pid, port: ready };
    await endPostmaster(pid, data);
    return await readTail(log, logStart > MAX_LOG_BYTES ? 0 : logStart);
  } finally {
    await logFile.close();
  }
}

async function readTail(path: string, from: number): Promise<string> {
  const text = (await readFile(path)).subarray(from).toString('utf8').trim();
  return text.slice(-2_000);
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
