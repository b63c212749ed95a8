/** Logs and journals of the servers: JSON lines, and nothing secret in them, whatever a caller hands over. */
import pino, { type DestinationStream, type Logger } from 'pino';
import type { Journal } from '#protocol/step.ts';

export type Log = Logger;

const MAX_DEPTH = 5;
const MAX_ITEMS = 50;
const MAX_TEXT = 2_000;
const MAX_CAUSES = 5;

/** Fields that carry message bodies, card commands or keys: their names are enough to keep them out. */
const SECRET_NAME = /^(body|text|payload|apdus?|commands?|responses?|spc|brc|pcn|bi|jws|bill|jwk|pin|code|authorization|cookie)$|(key|password|secret|token|challenge|certificate)s?$/i;
/** Names that SECRET_NAME hits although they are harmless: `code` of an error, which is a word of a table or of the operating system. */
const WORD = /^[A-Za-z0-9_/-]{1,60}$/;

/** JWS and JWT, PEM keys, passwords in URLs: kept out of every line, also out of messages of foreign errors. */
const SECRET_TEXTS: readonly [pattern: RegExp, replacement: string][] = [
  [/\beyJ[\w-]{8,}(\.[\w-]*){1,4}/g, '[jws]'],
  [/-----BEGIN [A-Z ]*KEY-----.*?(-----END [A-Z ]*KEY-----|$)/gs, '[key]'],
  [/(\/\/[^\s:/@"]+:)[^\s@/"]+@/g, '$1[password]@'],
  [/\b[0-9A-Fa-f]{32,}\b/g, '[hex]'],
];

/**
 * A log that writes JSON lines to stderr, or to `destination`.
 * Ids of 32 hex digits and more are taken for keys or card data: log ids as UUIDs, base64url or with their dashes.
 */
export function createLog(options: { name: string; level?: pino.LevelWithSilent; destination?: DestinationStream | { file: string } }): Log {
  const { name, level = 'info', destination = pino.destination({ dest: 2, sync: true }) } = options;
  // Synchronous: the last line before a crash is the one that matters.
  // Told by `write`: a stream of pino's own has a field `file` too.
  const stream = !('write' in destination) ? pino.destination({ dest: destination.file, sync: true, mkdir: true, mode: 0o600 }) : destination;
  return pino(
    {
      name,
      level,
      base: { pid: process.pid },
      serializers: { err: describeError, error: describeError },
      formatters: { log: (fields) => redactFields(fields, 0), level: (label) => ({ level: label }) },
      hooks: { streamWrite: hideSecretTexts },
    },
    stream,
  );
}

/** Text without what must not be logged. */
export function hideSecretTexts(text: string): string {
  return SECRET_TEXTS.reduce((hidden, [pattern, replacement]) => hidden.replace(pattern, replacement), text);
}

function redactFields(fields: object, depth: number): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, redactField(name, value, depth)]));
}

function redactField(name: string, value: unknown, depth: number): unknown {
  if (SECRET_NAME.test(name) && !(/^code$/i.test(name) && typeof value === 'string' && WORD.test(value))) return '[hidden]';
  return redactValue(value, depth);
}

function redactValue(value: unknown, depth: number): unknown {
  if (typeof value === 'bigint') return value.toString();
  if (typeof value === 'string') return value.length > MAX_TEXT ? `${value.slice(0, MAX_TEXT)}...` : value;
  if (typeof value !== 'object' || value === null) return value;
  if (value instanceof Error) return depth === 0 ? value : describeError(value); // at the top the serializer does it
  if (value instanceof Date) return value;
  if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer) return `[${value.byteLength} bytes]`;
  if (depth >= MAX_DEPTH) return '[deep]';
  if (Array.isArray(value)) return value.slice(0, MAX_ITEMS).map((item) => redactValue(item, depth + 1));
  return redactFields(value, depth + 1);
}

/** What we keep of an error and its causes: no fields that a library hung on it (pg's `detail` is a row, valibot's `issues` is a message). */
function describeError(error: unknown): unknown {
  if (!(error instanceof Error)) return redactValue(error, 1);
  const causes: unknown[] = [];
  for (let cause = error.cause; cause !== undefined && causes.length < MAX_CAUSES; cause = cause instanceof Error ? cause.cause : undefined) {
    causes.push(cause instanceof Error ? outline(cause) : typeof cause);
  }
  return causes.length === 0 ? outline(error) : { ...outline(error), causes };
}

function outline(error: Error): object {
  const { code, step } = error as { code?: unknown; step?: unknown };
  return { type: error.name, stack: error.stack?.slice(0, 2 * MAX_TEXT) ?? error.message, ...(typeof code === 'string' ? { code } : {}), ...(typeof step === 'string' ? { step } : {}) };
}

/** A journal that prints one JSON line a step to stdout, marked `"journal":true`, for tests and benches to collect. */
export function createJournal(write: (line: string) => void = (line) => process.stdout.write(line)): Journal {
  return (entry) => write(`${JSON.stringify({ journal: true, ...entry })}\n`);
}
