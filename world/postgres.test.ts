import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { chmodSync, chownSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { Migration } from 'kysely';
import pg from 'pg';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { openDatabase } from '#servers/shared/database.ts';
import { createLog } from '#servers/shared/log.ts';
import { clusterPaths } from './postgres-cluster.ts';
import { endPostmaster, isPostmasterOf, readPostmasterFile } from './postgres-process.ts';
import { SERVER_DATABASES, startPostgres, type Postgres } from './postgres.ts';

const isRoot = process.getuid?.() === 0;
const nobody = 65_534;
const asNobody = ['setpriv', `--reuid=${nobody}`, `--regid=${nobody}`, '--clear-groups'];
const nobodyCanRead = isRoot && spawnSync('setpriv', [...asNobody.slice(1), 'test', '-r', fileURLToPath(import.meta.url)]).status === 0;
const parents: string[] = [];
const started: { postgres: Postgres; folder: string }[] = [];
const children: ChildProcess[] = [];

/** A folder that only its owner may enter, below one of the same kind. */
function privateFolder(base = isRoot ? homedir() : tmpdir()): string {
  const parent = mkdtempSync(join(base, 'kessai-postgres-test-'));
  chmodSync(parent, 0o700);
  parents.push(parent);
  return join(parent, 'postgres');
}

async function start(folder: string, options: Partial<Parameters<typeof startPostgres>[0]> = {}): Promise<Postgres> {
  const postgres = await startPostgres({ folder, environment: {}, databases: ['kessai_shop'], ...options });
  started.push({ postgres, folder });
  return postgres;
}

async function query<Row extends pg.QueryResultRow>(url: string, sql: string): Promise<Row[]> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 5_000 });
  client.on('error', () => undefined); // the server is killed under it on purpose
  await client.connect();
  try {
    return (await client.query<Row>(sql)).rows;
  } finally {
    await client.end();
  }
}

async function runningPid(folder: string): Promise<number | undefined> {
  const { data } = clusterPaths(folder);
  const file = await readPostmasterFile(data);
  return file !== undefined && (await isPostmasterOf(file.pid, data)) ? file.pid : undefined;
}

/** Another Node process that starts PostgreSQL on `folder`; stops when it reads a line, and says what it does. */
function startElsewhere(folder: string, wrapper: readonly string[] = []): { child: ChildProcess; says: (text: string) => Promise<void>; stop: () => void } {
  const program = `
    import { startPostgres } from ${JSON.stringify(new URL('./postgres.ts', import.meta.url).href)};
    const postgres = await startPostgres({ folder: ${JSON.stringify(folder)}, environment: {}, databases: [] });
    console.log('up');
    process.stdin.once('data', async () => { await postgres.stop(); console.log('stopped'); process.exit(0); });`;
  const [command, ...rest] = [...wrapper, process.execPath, '--import', 'tsx', '--input-type=module', '-e', program];
  const child = spawn(command, rest, { stdio: ['pipe', 'pipe', 'pipe'] });
  children.push(child);
  const lines: string[] = [];
  let errors = '';
  child.stderr.on('data', (chunk: Buffer) => (errors += chunk.toString()));
  createInterface({ input: child.stdout }).on('line', (line) => {
    lines.push(line);
    child.emit('said');
  });
  const says = (text: string): Promise<void> =>
    new Promise((resolve, reject) => {
      const check = (): void => {
        if (lines.includes(text)) resolve();
      };
      child.on('said', check);
      child.once('exit', (code) => {
        check();
        reject(new Error(`ended with ${String(code)}: ${errors}`));
      });
      check();
    });
  return { child, says, stop: () => void child.stdin.write('\n') };
}

afterEach(async () => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
  for (const { postgres, folder } of started.splice(0)) {
    await postgres.stop();
    const pid = await runningPid(folder);
    if (pid !== undefined) await endPostmaster(pid, clusterPaths(folder).data);
  }
});

afterAll(() => {
  for (const parent of parents) rmSync(parent, { recursive: true, force: true });
});

describe('a private PostgreSQL', () => {
  let folder: string;
  beforeAll(() => void (folder = privateFolder()));

  test('starts in a folder that only its owner may enter, for 127.0.0.1 and its password alone', async () => {
    const postgres = await start(folder, { databases: SERVER_DATABASES });
    const names = await query<{ datname: string }>(postgres.url('postgres'), 'select datname from pg_database');
    expect(names.map((row) => row.datname)).toEqual(expect.arrayContaining([...SERVER_DATABASES]));
    const settings = await query<{ name: string; setting: string }>(postgres.url('kessai_shop'), "select name, setting from pg_settings where name in ('fsync','synchronous_commit','listen_addresses','full_page_writes')");
    expect(Object.fromEntries(settings.map(({ name, setting }) => [name, setting]))).toEqual({ fsync: 'on', synchronous_commit: 'on', listen_addresses: '127.0.0.1', full_page_writes: 'on' });
    const { password } = clusterPaths(folder);
    expect(statSync(password).mode & 0o777).toBe(0o600);
    await expect(query(postgres.url('postgres').replace(readFileSync(password, 'utf8'), 'wrong'), 'select 1')).rejects.toThrow(/password authentication failed/);
  });

  test('keeps what was committed, and its port, through kill -9 of PostgreSQL', async () => {
    const first = await start(folder);
    await query(first.url('kessai_shop'), 'create table survivors (id int primary key)');
    await query(first.url('kessai_shop'), 'insert into survivors values (1)');
    await first.crash();
    expect(await runningPid(folder)).toBeUndefined();
    const second = await start(folder);
    expect(second.url('x')).toBe(first.url('x'));
    expect(await query(second.url('kessai_shop'), 'select id from survivors')).toEqual([{ id: 1 }]);
  });

  test('a store on it loses no acknowledged commit by kill -9, and goes on by itself when PostgreSQL is back', async () => {
    const first = await start(folder);
    const create: Migration = { up: (db) => db.schema.createTable('kept').addColumn('id', 'integer').execute() };
    const store = await openDatabase<{ kept: { id: number } }>({ url: first.url('kessai_shop'), migrations: { create }, log: createLog({ name: 'test', level: 'silent' }), maxConnections: 4 });
    const acknowledged: number[] = [];
    const write = async (from: number): Promise<void> => {
      for (let id = from; ; id += 4) {
        await store.durably((transaction) => transaction.insertInto('kept').values({ id }).execute());
        acknowledged.push(id);
        if (acknowledged.length === 40) await first.crash();
      }
    };
    await Promise.allSettled([0, 1, 2, 3].map(write)); // each ends with the crash
    expect(acknowledged.length).toBeGreaterThanOrEqual(40);
    await start(folder);
    const rows = await store.read.selectFrom('kept').select('id').execute();
    expect(rows.map(({ id }) => id)).toEqual(expect.arrayContaining(acknowledged));
    await store.close();
  });

  test('comes back after kill -9 of everything', async () => {
    const elsewhere = startElsewhere(folder);
    await elsewhere.says('up');
    const pid = (await runningPid(folder))!;
    elsewhere.child.kill('SIGKILL');
    process.kill(pid, 'SIGKILL');
    const postgres = await start(folder);
    expect(await runningPid(folder)).not.toBe(pid);
    expect(await query(postgres.url('kessai_shop'), 'select id from survivors')).toEqual([{ id: 1 }]);
  });

  test('outlives kill -9 of its Node process, and the next start adopts it', async () => {
    const elsewhere = startElsewhere(folder);
    await elsewhere.says('up');
    const orphan = await runningPid(folder);
    elsewhere.child.kill('SIGKILL');
    const postgres = await start(folder);
    expect(await runningPid(folder)).toBe(orphan);
    expect(await query(postgres.url('kessai_shop'), 'select 1 as one')).toEqual([{ one: 1 }]);
  });

  test('starts although a leftover postmaster.pid names a process that lives and is unrelated', async () => {
    const { data } = clusterPaths(folder);
    const first = await start(folder);
    await first.crash();
    const unrelated = spawn('sleep', ['60']);
    children.push(unrelated);
    const lines = readFileSync(join(data, 'postmaster.pid'), 'utf8').split('\n');
    writeFileSync(join(data, 'postmaster.pid'), [`${unrelated.pid ?? 0}`, ...lines.slice(1)].join('\n'));
    await start(folder);
    expect(await runningPid(folder)).toBeTypeOf('number');
    expect(unrelated.exitCode).toBeNull();
  });

  test('takes another port when its own is taken', async () => {
    const first = await start(folder);
    await first.stop();
    const { port } = new URL(first.url('x'));
    const squatter = createServer().listen(Number(port), '127.0.0.1');
    await new Promise((resolve) => squatter.once('listening', resolve));
    try {
      const second = await start(folder);
      expect(new URL(second.url('x')).port).not.toBe(port);
      expect(await query(second.url('kessai_shop'), 'select 1 as one')).toEqual([{ one: 1 }]);
    } finally {
      squatter.close();
    }
  });

  test('a server named by DATABASE_URL is used instead, with the databases made in it', async () => {
    const host = await start(folder);
    const external = await startPostgres({ folder: '/nonexistent', environment: { DATABASE_URL: host.url('postgres') }, databases: ['named_by_url'] });
    expect(await query(external.url('named_by_url'), 'select current_database() as name')).toEqual([{ name: 'named_by_url' }]);
    await external.stop();
    await expect(external.crash()).rejects.toThrow(/not ours/);
    expect(await runningPid(folder)).toBeTypeOf('number');
    await expect(startPostgres({ folder, environment: { DATABASE_URL: 'mysql://x' } })).rejects.toThrow(/not a postgres:\/\/ URL/);
  });

  test('says what to do when the password is missing or the data are of another version', async () => {
    const { data, password } = clusterPaths(folder);
    renameSync(password, `${password}.away`);
    await expect(start(folder)).rejects.toThrow(/password is missing.*put it back/);
    renameSync(`${password}.away`, password);
    writeFileSync(join(data, 'PG_VERSION'), '15\n');
    await expect(start(folder)).rejects.toThrow(/made by PostgreSQL 15, and this is 18/);
    writeFileSync(join(data, 'PG_VERSION'), '18\n');
  });
});

describe('two starts on one folder', () => {
  test('at once make one cluster and share one server; the first to stop leaves it to the other', async () => {
    const folder = privateFolder();
    mkdirSync(join(folder, 'data.new-interrupted'), { recursive: true });
    const [one, two] = [startElsewhere(folder), startElsewhere(folder)];
    await Promise.all([one.says('up'), two.says('up')]);
    const pid = await runningPid(folder);
    expect(pid).toBeTypeOf('number');
    expect(readdirSync(folder).filter((name) => name.startsWith('data'))).toEqual(['data']);
    one.stop();
    await one.says('stopped');
    expect(await runningPid(folder)).toBe(pid);
    two.stop();
    await two.says('stopped');
    expect(await runningPid(folder)).toBeUndefined();
  });
});

describe.runIf(isRoot)('as root', () => {
  test('runs without user namespaces too, in a folder that only root may enter, also on data made with them', async () => {
    const folder = privateFolder();
    const first = await start(folder, { rootMethod: 'namespace' });
    await query(first.url('kessai_shop'), 'create table kept (id int)');
    await first.stop();
    const second = await start(folder, { rootMethod: 'capability' });
    expect(await query(second.url('kessai_shop'), 'select id from kept')).toEqual([]);
    expect(statSync(clusterPaths(folder).data).uid).not.toBe(0);
    await second.crash();
    const third = await start(folder); // now it belongs to somebody else: that owner runs it
    expect(await query(third.url('kessai_shop'), 'select id from kept')).toEqual([]);
  });

  test.runIf(nobodyCanRead)('an ordinary user needs none of this', async () => {
    const folder = privateFolder(tmpdir());
    mkdirSync(folder);
    for (const path of [join(folder, '..'), folder]) chownSync(path, nobody, nobody);
    const elsewhere = startElsewhere(folder, asNobody);
    await elsewhere.says('up');
    expect(statSync(clusterPaths(folder).data).uid).toBe(nobody);
    elsewhere.stop();
    await elsewhere.says('stopped');
    expect(await runningPid(folder)).toBeUndefined();
  });
});
