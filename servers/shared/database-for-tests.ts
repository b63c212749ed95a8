/** For tests: fresh databases on the one PostgreSQL that world/test-database.ts starts for a vitest run. */
import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { afterAll, beforeAll, inject } from 'vitest';

declare module 'vitest' {
  export interface ProvidedContext {
    /** Where to make databases; or why there is no PostgreSQL, for the tests that need it to say so. */
    testPostgres: { url: string } | { error: string };
  }
}

/** The time in a name tells a database that a killed run forgot. */
export const TEST_DATABASE_NAME = /^test_(\d+)_/;

/** Makes an empty database before the tests of this file (or describe block) and drops it after them; returns what tells its URL. */
export function useFreshDatabase(): () => string {
  const name = `test_${Date.now()}_${randomBytes(4).toString('hex')}`;
  beforeAll(() => run(serverUrl(), `create database ${name}`));
  afterAll(() => run(serverUrl(), `drop database if exists ${name} with (force)`));
  return () => {
    const url = new URL(serverUrl());
    url.pathname = `/${name}`;
    return url.href;
  };
}

function serverUrl(): string {
  const server = inject('testPostgres');
  if ('error' in server) throw new Error(server.error);
  return server.url;
}

async function run(url: string, command: string): Promise<void> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 10_000, query_timeout: 30_000 });
  await client.connect();
  try {
    await client.query(command);
  } finally {
    await client.end();
  }
}
