import { sql, type Generated, type Migration } from 'kysely';
import { afterEach, describe, expect, test } from 'vitest';
import { useFreshDatabase } from './database-for-tests.ts';
import { isSerializationFailure, openDatabase, uniqueViolation, type Database } from './database.ts';
import { createLog } from './log.ts';

interface Schema {
  intents: { id: Generated<bigint>; card: string; amount: bigint; proof: Buffer | null };
}

const migrations: Record<string, Migration> = {
  '001-intents': {
    up: async (db) => {
      await db.schema
        .createTable('intents')
        .addColumn('id', 'bigint', (column) => column.primaryKey().generatedAlwaysAsIdentity())
        .addColumn('card', 'text', (column) => column.notNull())
        .addColumn('amount', 'bigint', (column) => column.notNull())
        .addColumn('proof', 'bytea')
        .execute();
      await db.schema.createIndex('one_open_intent_a_card').on('intents').column('card').unique().execute();
    },
  },
};

const log = createLog({ name: 'test', level: 'silent' });
const url = useFreshDatabase();
const open: Database<Schema>[] = [];

async function openTest(): Promise<Database<Schema>> {
  const database = await openDatabase<Schema>({ url: url(), migrations, log, maxConnections: 4 });
  open.push(database);
  return database;
}

afterEach(async () => {
  for (const database of open.splice(0)) await database.close();
});

/** How often this PostgreSQL's client processes have waited for the write-ahead log to reach the disk. */
async function logSyncs({ read }: Database<Schema>): Promise<bigint> {
  await sql`select pg_stat_force_next_flush()`.execute(read);
  const { rows } = await sql<{ syncs: bigint }>`select coalesce(sum(fsyncs), 0)::bigint as syncs from pg_stat_io where object = 'wal' and backend_type = 'client backend'`.execute(read);
  return rows[0]!.syncs;
}

describe('a database', () => {
  test('that several servers open at once is migrated once', async () => {
    const all = await Promise.all(Array.from({ length: 6 }, openTest));
    const { rows } = await sql<{ name: string }>`select name from kysely_migration`.execute(all[0]!.read);
    expect(rows).toEqual([{ name: '001-intents' }]);
  });

  test('that a newer server has made is refused', async () => {
    await openTest();
    await expect(openDatabase({ url: url(), migrations: {}, log })).rejects.toThrow(/newer version of this server/);
  });

  test('keeps bigint and bytes as they are', async () => {
    const { durably, read } = await openTest();
    const row = { card: 'exact', amount: 9_007_199_254_740_993n, proof: Buffer.from([0, 255]) };
    await durably((transaction) => transaction.insertInto('intents').values(row).execute());
    const found = await read.selectFrom('intents').selectAll().where('card', '=', 'exact').executeTakeFirstOrThrow();
    expect(found).toEqual({ ...row, id: expect.any(BigInt) as bigint });
    const { total } = await read.selectFrom('intents').select((each) => each.fn.countAll<bigint>().as('total')).executeTakeFirstOrThrow();
    expect(total).toBe(1n);
  });

  test('a durable commit waits for the disk, a relaxed one does not, and both are counted', async () => {
    const database = await openTest();
    const insert = (kind: 'durably' | 'relaxed', card: string) => database[kind]((transaction) => transaction.insertInto('intents').values({ card, amount: 1n, proof: null }).execute());
    const before = await logSyncs(database);
    await insert('relaxed', 'relaxed');
    expect(await logSyncs(database)).toBe(before);
    await insert('durably', 'durable');
    expect(await logSyncs(database)).toBeGreaterThan(before);
    expect(database.commits).toEqual({ durable: 1, relaxed: 1 });
  });

  test('refuses to write outside a counted transaction', async () => {
    const { read, commits } = await openTest();
    await expect(read.insertInto('intents').values({ card: 'uncounted', amount: 1n, proof: null }).execute()).rejects.toThrow(/read-only transaction/);
    expect(commits).toEqual({ durable: 0, relaxed: 0 });
  });

  test('undoes what throws, counts it not, and names the constraint that was violated', async () => {
    const { durably, read, commits } = await openTest();
    const insert = (amount: bigint) => durably((transaction) => transaction.insertInto('intents').values({ card: 'twice', amount, proof: null }).execute());
    await insert(1n);
    const error: unknown = await insert(2n).catch((thrown: unknown) => thrown);
    expect(uniqueViolation(error)).toBe('one_open_intent_a_card');
    expect(isSerializationFailure(error)).toBe(false);
    expect(uniqueViolation(new Error('x'))).toBeUndefined();
    const bug = new Error('bug');
    await expect(
      durably(async (transaction) => {
        await transaction.updateTable('intents').set({ amount: 3n }).where('card', '=', 'twice').execute();
        throw bug;
      }),
    ).rejects.toBe(bug);
    expect(await read.selectFrom('intents').select('amount').where('card', '=', 'twice').execute()).toEqual([{ amount: 1n }]);
    expect(commits.durable).toBe(1);
  });

  test('tells a serialization failure from other errors', async () => {
    const { durably } = await openTest();
    await durably((transaction) => transaction.insertInto('intents').values([{ card: 'a', amount: 1n, proof: null }, { card: 'b', amount: 1n, proof: null }]).execute());
    let bothHaveRead = (): void => undefined;
    const otherHasRead = new Promise<void>((resolve) => (bothHaveRead = resolve));
    let readers = 0;
    const writeSkew = (card: string) =>
      durably(
        async (transaction) => {
          await transaction.selectFrom('intents').select('amount').where('card', 'in', ['a', 'b']).execute();
          if (++readers === 2) bothHaveRead();
          await otherHasRead;
          await transaction.updateTable('intents').set({ amount: 2n }).where('card', '=', card).execute();
        },
        { isolation: 'serializable' },
      );
    const outcomes = await Promise.allSettled([writeSkew('a'), writeSkew('b')]);
    const failures = outcomes.filter((outcome) => outcome.status === 'rejected');
    expect(failures.map(({ reason }) => isSerializationFailure(reason))).toEqual([true]);
  });

  test('prepares statements, but not without limit', async () => {
    const database = await openDatabase<Schema>({ url: url(), migrations, log, maxConnections: 1 });
    open.push(database);
    for (let length = 1; length <= 300; length++) {
      await database.read.selectFrom('intents').select('id').where('card', 'in', Array.from({ length }, String)).execute();
    }
    const { rows } = await sql<{ prepared: bigint }>`select count(*) as prepared from pg_prepared_statements`.execute(database.read);
    expect(rows).toEqual([{ prepared: 256n }]);
  });

  test('a connection that is lost in the middle of a transaction fails that transaction, and not the process', async () => {
    const [victim, other] = [await openTest(), await openTest()];
    const lost = victim.durably(async (transaction) => {
      const { rows } = await sql<{ pid: number }>`select pg_backend_pid() as pid`.execute(transaction);
      const { pid } = rows[0]!;
      await sql`select pg_terminate_backend(${pid}, 5000)`.execute(other.read); // returns when it has ended
      await transaction.selectFrom('intents').selectAll().execute();
    });
    await expect(lost).rejects.toThrow();
    expect(victim.commits.durable).toBe(0);
    await expect(victim.read.selectFrom('intents').selectAll().execute()).resolves.toBeDefined();
  });

  test('goes on after its connections were cut', async () => {
    const { read } = await openTest();
    const cut = () => sql`select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and application_name = 'kessai'`.execute(read);
    await expect(cut()).rejects.toThrow();
    await expect(sql`select 1 as one`.execute(read)).resolves.toMatchObject({ rows: [{ one: 1 }] });
  });
});
