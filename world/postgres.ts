/** The database of everything on this machine: a private PostgreSQL in a folder, shared by all processes that start it, or the server that DATABASE_URL names. */
import { mkdir } from 'node:fs/promises';
import { resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import { DATABASE_USER, type RootMethod } from './postgres-binaries.ts';
import { clusterPaths, ensureRunning } from './postgres-cluster.ts';
import { endPostmaster, isPostmasterOf, killPostmaster, readPostmasterFile } from './postgres-process.ts';
import { withFileLock } from './postgres-lock.ts';

/** One database per server. */
export const SERVER_DATABASES = ['kessai_shop', 'kessai_application', 'kessai_security', 'kessai_information'] as const;

export interface PostgresOptions {
  /** Where the private PostgreSQL keeps everything, for example `var/postgres`; made when missing, mode 700. */
  readonly folder: string;
  readonly log?: (line: string) => void;
  /** Its DATABASE_URL, when set, names the server to use instead of a private one. */
  readonly environment?: Readonly<Record<string, string | undefined>>;
  /** Databases that must exist; default: one per server. */
  readonly databases?: readonly string[];
  /** For tests: insist on one way of running under root. */
  readonly rootMethod?: RootMethod;
}

export interface Postgres {
  /** Connection URL with the password in it: never log it. */
  url(databaseName: string): string;
  /** Leaves the server; the last of all processes and callers to leave it ends it. */
  stop(): Promise<void>;
  /** For tests: kill -9 of the postmaster. `startPostgres` on the same folder brings it back, on the same port if that is still free. */
  crash(): Promise<void>;
}

/** The first start makes a cluster (a second or two) while others wait. */
const LOCK_TIMEOUT_MS = 180_000;
const CONNECT_TIMEOUT_MS = 10_000;
const LEASE_NAME = 'kessai lease';
const LEASE_RETRY_MS = 250;
const MAX_JOIN_ATTEMPTS = 4;

/** Starts, adopts or joins the PostgreSQL of `folder`, and makes its databases; throws an Error that says what to do. */
export async function startPostgres(options: PostgresOptions): Promise<Postgres> {
  const { log = () => undefined, environment = process.env, databases = SERVER_DATABASES } = options;
  const folder = resolve(options.folder);
  const external = environment['DATABASE_URL'];
  if (external !== undefined && external !== '') return useExternal(external, databases);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  return withFileLock(clusterPaths(folder).lock, LOCK_TIMEOUT_MS, async () => {
    const { cluster, url, endLease } = await join(folder, databases, log, options.rootMethod);
    log(`PostgreSQL listens on 127.0.0.1:${cluster.port} (process ${cluster.pid}, files in ${folder})`);
    return { url, stop: onlyOnce(() => leave(folder, url('postgres'), endLease, log)), crash: () => killPostmaster(cluster.pid, clusterPaths(folder).data) };
  });
}

/** A running cluster with its databases, and a lease on it. Others may end or kill the server while we join: then it is started again. */
async function join(folder: string, databases: readonly string[], log: (line: string) => void, rootMethod: RootMethod | undefined) {
  for (let attempt = 1; ; attempt++) {
    const cluster = await ensureRunning(folder, rootMethod);
    const url = (databaseName: string): string => `postgres://${DATABASE_USER}:${cluster.password}@127.0.0.1:${cluster.port}/${databaseName}`;
    let endLease: (() => Promise<void>) | undefined;
    try {
      endLease = await takeLease(url('postgres'), log);
      await createDatabases(url('postgres'), databases);
      return { cluster, url, endLease };
    } catch (error) {
      await endLease?.();
      if (attempt === MAX_JOIN_ATTEMPTS) throw error;
      await delay(LEASE_RETRY_MS);
    }
  }
}

async function useExternal(databaseUrl: string, databases: readonly string[]): Promise<Postgres> {
  if (!/^postgres(ql)?:$/.test(URL.canParse(databaseUrl) ? new URL(databaseUrl).protocol : '')) throw new Error('DATABASE_URL is not a postgres:// URL: correct it, or unset it to use a private PostgreSQL');
  await createDatabases(databaseUrl, databases);
  const url = (databaseName: string): string => {
    const address = new URL(databaseUrl);
    address.pathname = `/${databaseName}`;
    return address.href;
  };
  return { url, stop: () => Promise.resolve(), crash: () => Promise.reject(new Error('the PostgreSQL of DATABASE_URL is not ours to kill: unset DATABASE_URL')) };
}

async function createDatabases(url: string, names: readonly string[]): Promise<void> {
  const client = await connect(url, 'kessai');
  try {
    const present = await client.query<{ name: string }>('select datname as name from pg_database');
    for (const name of names.filter((wanted) => !present.rows.some((row) => row.name === wanted))) {
      await client.query(`create database ${pg.escapeIdentifier(name)}`).catch((cause: unknown) => {
        const { code } = cause as { code?: string };
        if (code === '42P04' || code === '23505') return; // another process was faster
        if (code === '42501') throw new Error(`this database user may not create databases: create ${names.join(', ')} yourself`, { cause });
        throw cause;
      });
    }
  } finally {
    await client.end();
  }
}

async function connect(url: string, applicationName: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url, application_name: applicationName, connectionTimeoutMillis: CONNECT_TIMEOUT_MS, query_timeout: 60_000, keepAlive: true });
  client.on('error', () => undefined); // a lost connection also fails the query in flight, and ends the lease, which watches for it
  try {
    await client.connect();
    return client;
  } catch (cause) {
    const { hostname, port } = new URL(url);
    throw new Error(`no connection to PostgreSQL on ${hostname}:${port}: ${(cause as Error).message}`, { cause });
  }
}

/**
 * A user's claim on the server: a connection, because the server itself forgets it when its holder dies.
 * After a crash of the server it is taken again as soon as somebody has started it. The returned function gives it up.
 */
async function takeLease(url: string, log: (line: string) => void): Promise<() => Promise<void>> {
  const ending = new AbortController();
  let client = await connect(url, LEASE_NAME);
  let renewal = Promise.resolve();
  const renew = async (): Promise<void> => {
    if (!isEnding()) log('PostgreSQL was lost; waiting for it to come back');
    while (!isEnding()) {
      await delay(LEASE_RETRY_MS, undefined, { ref: false, signal: ending.signal }).catch(() => undefined); // ended early: the loop sees it
      const renewed = isEnding() ? undefined : await connect(url, LEASE_NAME).catch(() => undefined); // still away: try again
      if (renewed === undefined) continue;
      client = renewed;
      watch();
      log('PostgreSQL is back');
      return;
    }
  };
  const isEnding = (): boolean => ending.signal.aborted;
  const watch = (): void => {
    client.once('end', () => {
      renewal = renew();
    });
  };
  watch();
  return async () => {
    ending.abort();
    await renewal; // it may just have taken a new one
    await client.end().catch(() => undefined); // it is gone already
  };
}

async function leave(folder: string, url: string, endLease: () => Promise<void>, log: (line: string) => void): Promise<void> {
  const { lock, data } = clusterPaths(folder);
  await withFileLock(lock, LOCK_TIMEOUT_MS, async () => {
    await endLease();
    const running = await readPostmasterFile(data);
    if (running === undefined || !(await isPostmasterOf(running.pid, data))) return;
    const others = await countLeases(url);
    if (others > 0) {
      log(`PostgreSQL stays up for ${others} other user${others === 1 ? '' : 's'}`);
      return;
    }
    await endPostmaster(running.pid, data);
    log('PostgreSQL ended');
  });
}

/** How many use the server; 0 if it does not answer, because then nobody can. */
async function countLeases(url: string): Promise<number> {
  const client = await connect(url, 'kessai').catch(() => undefined);
  if (client === undefined) return 0;
  try {
    const { rows } = await client.query<{ leases: number }>('select count(*)::int as leases from pg_stat_activity where application_name = $1', [LEASE_NAME]);
    return rows[0]?.leases ?? 0;
  } finally {
    await client.end();
  }
}

function onlyOnce(act: () => Promise<void>): () => Promise<void> {
  let done: Promise<void> | undefined;
  return () => (done ??= act());
}
