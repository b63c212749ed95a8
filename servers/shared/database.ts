/** A server's store on PostgreSQL: migrations, prepared statements, limits on everything, and two kinds of commit that are counted. */
import { Kysely, Migrator, PostgresDialect, sql, type IsolationLevel, type Migration, type PostgresPool, type PostgresPoolClient, type Transaction } from 'kysely';
import pg from 'pg';
import type { Log } from './log.ts';

export interface DatabaseOptions {
  /** `postgres://user:password@host:port/database` */
  readonly url: string;
  /** In the order of their names; those that a database has not seen yet run when it is opened. */
  readonly migrations: Readonly<Record<string, Migration>>;
  readonly log: Log;
  readonly maxConnections?: number;
}

export interface TransactionOptions {
  /** Default: read committed. Under `serializable` the caller repeats what fails with `isSerializationFailure`. */
  readonly isolation?: IsolationLevel;
}

/** Runs `work` in a transaction and commits it; undoes it if `work` throws. */
export type Commit<Schema> = <T>(work: (transaction: Transaction<Schema>) => Promise<T>, options?: TransactionOptions) => Promise<T>;

export interface Database<Schema> {
  /** For reading only: the server refuses writes here, so that no commit goes uncounted. */
  readonly read: Kysely<Schema>;
  /** A transaction that is on the disk when this resolves. If it throws because the connection was lost, the outcome is unknown. */
  readonly durably: Commit<Schema>;
  /** A transaction that a crash of the database may forget if it is younger than a second; never half of it, and never an older one. */
  readonly relaxed: Commit<Schema>;
  /** Commits since the database was opened. */
  readonly commits: { readonly durable: number; readonly relaxed: number };
  /** Waits for the transactions in progress, which have limits. */
  close(): Promise<void>;
}

const CONNECT_TIMEOUT_MS = 5_000;
const LOCK_TIMEOUT_MS = 5_000;
const STATEMENT_TIMEOUT_MS = 10_000;
/** Longer than the server's own limit: this one is for a server that does not answer at all. */
const ANSWER_TIMEOUT_MS = 15_000;
const MIGRATION_TIMEOUT_MS = 300_000;
const IDLE_TIMEOUT_MS = 60_000;
/** Statements of variable length (lists) must not fill the server's memory. */
const MAX_PREPARED_STATEMENTS = 256;

/** Migrates the database and opens it; throws an Error that says what is wrong with it. */
export async function openDatabase<Schema>(options: DatabaseOptions): Promise<Database<Schema>> {
  const { url, migrations, log, maxConnections = 10 } = options;
  await migrate(url, migrations, log);
  const pool = new pg.Pool({
    ...connectionOptions(url),
    max: maxConnections,
    statement_timeout: STATEMENT_TIMEOUT_MS,
    query_timeout: ANSWER_TIMEOUT_MS,
    options: '-c synchronous_commit=on -c default_transaction_read_only=on',
  });
  watchForLoss(pool, log);
  const read = new Kysely<Schema>({ dialect: new PostgresDialect({ pool: preparing(pool) }) });
  const commits = { durable: 0, relaxed: 0 };
  const commit = async <T>(kind: keyof typeof commits, work: (transaction: Transaction<Schema>) => Promise<T>, { isolation = 'read committed' }: TransactionOptions = {}): Promise<T> => {
    const result = await read
      .transaction()
      .setIsolationLevel(isolation)
      .setAccessMode('read write')
      .execute(async (transaction) => {
        if (kind === 'relaxed') await sql`set local synchronous_commit = off`.execute(transaction);
        return work(transaction);
      });
    commits[kind] += 1;
    return result;
  };
  return { read, durably: (work, how) => commit('durable', work, how), relaxed: (work, how) => commit('relaxed', work, how), commits, close: () => read.destroy() };
}

/** The name of the unique constraint or index that `error` reports as violated; undefined for any other error. */
export function uniqueViolation(error: unknown): string | undefined {
  return error instanceof pg.DatabaseError && error.code === '23505' ? error.constraint : undefined;
}

/** The name of the law that a trigger of ours reports as broken (SQLSTATE 23000, integrity constraint violation); undefined for any other error. */
export function triggerRefusal(error: unknown): string | undefined {
  return error instanceof pg.DatabaseError && error.code === '23000' ? error.constraint : undefined;
}

/** True if the transaction was undone only because of others at the same time (serialization failure or deadlock): it may be tried again. */
export function isSerializationFailure(error: unknown): boolean {
  return error instanceof pg.DatabaseError && (error.code === '40001' || error.code === '40P01');
}

function connectionOptions(url: string): pg.PoolConfig {
  return {
    connectionString: url,
    application_name: 'kessai',
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    idleTimeoutMillis: IDLE_TIMEOUT_MS,
    lock_timeout: LOCK_TIMEOUT_MS,
    idle_in_transaction_session_timeout: ANSWER_TIMEOUT_MS,
    keepAlive: true,
    types: { getTypeParser: parserOf },
  };
}

/** pg reports a lost connection as an event, which ends the process if nobody listens: the pool does for idle ones only. */
function watchForLoss(pool: pg.Pool, log: Log): void {
  pool.on('error', () => undefined); // the client says the same
  pool.on('connect', (client) => client.on('error', (error) => log.warn({ err: error }, 'a database connection was lost')));
}

/** bigint columns and counts arrive as bigint (pg's own choice is text); `numeric`, so also sum(bigint), stays text: cast it. */
function parserOf(oid: Parameters<typeof pg.types.getTypeParser>[0], format: 'text' | 'binary' = 'text'): unknown {
  if (oid === pg.types.builtins.INT8 && format === 'text') return BigInt;
  return format === 'text' ? pg.types.getTypeParser(oid, 'text') : pg.types.getTypeParser(oid, 'binary');
}

/** Several servers may start at once: Kysely takes an advisory lock, and the others find the work done. */
async function migrate(url: string, migrations: Readonly<Record<string, Migration>>, log: Log): Promise<void> {
  const limits = { max: 2, statement_timeout: MIGRATION_TIMEOUT_MS, query_timeout: MIGRATION_TIMEOUT_MS, lock_timeout: MIGRATION_TIMEOUT_MS, idle_in_transaction_session_timeout: MIGRATION_TIMEOUT_MS };
  const pool = new pg.Pool({ ...connectionOptions(url), ...limits, options: '-c synchronous_commit=on' });
  watchForLoss(pool, log);
  const kysely = new Kysely<unknown>({ dialect: new PostgresDialect({ pool }) });
  try {
    const migrator = new Migrator({ db: kysely, provider: { getMigrations: () => Promise.resolve({ ...migrations }) } });
    const { error, results = [] } = await migrator.migrateToLatest();
    for (const { migrationName, status } of results) log.info({ migration: migrationName, status }, 'database migration');
    if (error !== undefined) throw new Error('the database cannot be used: it was made by a newer version of this server, or a migration failed, or it does not answer', { cause: error });
  } finally {
    await kysely.destroy();
  }
}

/** Gives each statement a name, so that PostgreSQL plans it once a connection, and throws away connections that stopped answering. */
function preparing(pool: pg.Pool): PostgresPool {
  const names = new Map<string, string>();
  const nameOf = (text: string): string | undefined => {
    const known = names.get(text);
    if (known !== undefined || names.size >= MAX_PREPARED_STATEMENTS) return known;
    const name = `k${names.size}`;
    names.set(text, name);
    return name;
  };
  return {
    connect: async () => {
      const client = await pool.connect();
      let isBroken = false;
      const query = async (text: string, values: readonly unknown[]) => {
        const name = values.length === 0 ? undefined : nameOf(text);
        try {
          return await client.query({ text, values: [...values], ...(name === undefined ? {} : { name }) });
        } catch (error) {
          // No answer of the server, or its last one: the next query would wait behind this one, or find the connection closed.
          isBroken ||= !(error instanceof pg.DatabaseError) || error.severity === 'FATAL';
          throw error;
        }
      };
      return { query: query as unknown as PostgresPoolClient['query'] /* its other form, cursors, is never asked for */, release: () => client.release(isBroken) };
    },
    end: () => pool.end(),
  };
}
