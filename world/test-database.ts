/** For vitest: one PostgreSQL for the whole run (shared with other runs on this clone), from which test files take fresh databases. */
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import type { TestProject } from 'vitest/node';
import { TEST_DATABASE_NAME } from '#servers/shared/database-for-tests.ts';
import { startPostgres, type Postgres } from './postgres.ts';

const FORGOTTEN_AFTER_MS = 3_600_000;

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  let postgres: Postgres;
  try {
    postgres = await startPostgres({ folder: fileURLToPath(new URL('../var/test-postgres', import.meta.url)), databases: [] });
    await dropForgotten(postgres.url('postgres'));
  } catch (error) {
    project.provide('testPostgres', { error: (error as Error).message }); // most tests need no database: they run
    return () => Promise.resolve();
  }
  project.provide('testPostgres', { url: postgres.url('postgres') });
  return () => postgres.stop();
}

/** Databases of runs that were killed. */
async function dropForgotten(url: string): Promise<void> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 10_000 });
  await client.connect();
  try {
    const { rows } = await client.query<{ name: string }>("select datname as name from pg_database where datname like 'test\\_%'");
    for (const { name } of rows) {
      const madeAt = Number(TEST_DATABASE_NAME.exec(name)?.[1]);
      if (Date.now() - madeAt > FORGOTTEN_AFTER_MS) await client.query(`drop database if exists ${pg.escapeIdentifier(name)} with (force)`);
    }
  } finally {
    await client.end();
  }
}
