/** A server's configuration: one strict JSON file, named by `--config`; every mistake is named at once, and no secret travels by environment or command line. */
import { readFileSync } from 'node:fs';
import * as v from 'valibot';

/** A configuration that cannot be used; the message is for the person who wrote it. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
}

/** TCP port; 0 lets the system choose. */
export const portSchema = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(65_535));
/** Web origin in its one spelling, for example `https://shop.localhost:9443`. */
export const originSchema = v.pipe(v.string(), v.check((text) => URL.canParse(text) && new URL(text).origin === text && text.startsWith('https://'), 'must be an https origin without a path'));
export const databaseUrlSchema = v.pipe(v.string(), v.check((text) => URL.canParse(text) && /^postgres(ql)?:$/.test(new URL(text).protocol), 'must be a postgres:// URL'));

/** Reads the file that follows `--config` in `commandLine` (default: this process's); throws ConfigError. */
export function loadConfig<const Schema extends v.GenericSchema>(schema: Schema, commandLine: readonly string[] = process.argv.slice(2)): v.InferOutput<Schema> {
  const [option, path, ...rest] = commandLine;
  if (option !== '--config' || path === undefined || rest.length > 0) throw new ConfigError('usage: --config <file.json>');
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (cause) {
    throw new ConfigError(`cannot read the configuration ${path}: ${(cause as Error).message}`, { cause });
  }
  return parseConfig(schema, text, path);
}

/** `where` names the source in messages. Values are never part of a message: they may be secrets. */
export function parseConfig<const Schema extends v.GenericSchema>(schema: Schema, text: string, where: string): v.InferOutput<Schema> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new ConfigError(`${where} is not JSON`); // the parser's own message quotes the file
  }
  const result = v.safeParse(schema, value);
  if (result.success) return result.output;
  const mistakes = result.issues.map((issue) => `  ${v.getDotPath(issue) ?? '(all)'}: ${describeIssue(issue)}`);
  throw new ConfigError(`${where} cannot be used:\n${mistakes.join('\n')}`);
}

function describeIssue(issue: v.BaseIssue<unknown>): string {
  if (issue.expected === 'never') return 'unknown setting';
  if (issue.received === 'undefined') return `missing (expected ${issue.expected ?? 'a value'})`;
  return issue.type === 'check' ? issue.message : `expected ${issue.expected ?? 'another value'}`;
}
