import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as v from 'valibot';
import { expect, test } from 'vitest';
import { ConfigError, databaseUrlSchema, loadConfig, originSchema, parseConfig, portSchema } from './config.ts';

const schema = v.strictObject({ port: portSchema, origin: originSchema, databaseUrl: databaseUrlSchema, limits: v.strictObject({ perDayMinor: v.number() }) });
const good = { port: 9443, origin: 'https://shop.localhost:9443', databaseUrl: 'postgres://u:p@127.0.0.1/x', limits: { perDayMinor: 5 } };

test('a good file is read', () => {
  const folder = mkdtempSync(join(tmpdir(), 'kessai-config-'));
  const file = join(folder, 'shop.json');
  writeFileSync(file, JSON.stringify(good));
  expect(loadConfig(schema, ['--config', file])).toEqual(good);
  rmSync(folder, { recursive: true });
});

test('every mistake is named at once, without its value', () => {
  const text = JSON.stringify({ ...good, port: 70_000, databaseUrl: 'mysql://S3CRET', limits: {}, extra: 'S3CRET' });
  const message = messageOf(() => parseConfig(schema, text, 'shop.json'));
  expect(message).toBe(
    'shop.json cannot be used:\n  port: expected <=65535\n  databaseUrl: must be a postgres:// URL\n  limits.perDayMinor: missing (expected "perDayMinor")\n  extra: unknown setting',
  );
});

test.each([[[]], [['--config']], [['--port', '1']], [['--config', 'a', 'b']]])('the command line %j is refused with the usage', (commandLine) => {
  expect(() => loadConfig(schema, commandLine)).toThrow(new ConfigError('usage: --config <file.json>'));
});

test('a missing or damaged file is named, and its content is not quoted', () => {
  expect(() => loadConfig(schema, ['--config', '/nonexistent.json'])).toThrow(/cannot read the configuration \/nonexistent.json/);
  expect(messageOf(() => parseConfig(schema, '{"password":"S3CRET"', 'shop.json'))).toBe('shop.json is not JSON');
});

test.each(['http://shop.localhost', 'https://shop.localhost/', 'https://shop.localhost:443', 'https://Shop.localhost', 'shop'])('the origin %s is refused', (origin) => {
  expect(v.is(originSchema, origin)).toBe(false);
});

function messageOf(act: () => unknown): string {
  try {
    act();
  } catch (error) {
    return (error as Error).message;
  }
  throw new Error('nothing was thrown');
}
