import { spawnSync } from 'node:child_process';
import { expect, test } from 'vitest';
import { Failure } from '#protocol/failure.ts';
import { createJournal, createLog, type Log } from './log.ts';

function capture(): { log: Log; lines: () => Record<string, unknown>[]; text: () => string } {
  let text = '';
  const log = createLog({ name: 'shop', level: 'debug', destination: { write: (line: string) => void (text += line) } });
  return { log, text: () => text, lines: () => text.trim().split('\n').map((line) => JSON.parse(line) as Record<string, unknown>) };
}

const JWS = `eyJhbGciOiJFUzI1NiJ9.${'a'.repeat(40)}.${'b'.repeat(86)}`;

test('a line is JSON with a level, a time and a name', () => {
  const { log, lines } = capture();
  log.info({ requestId: 'r-1', amountMinor: 12n }, 'answered');
  expect(lines()).toEqual([{ level: 'info', time: expect.any(Number) as number, pid: process.pid, name: 'shop', requestId: 'r-1', amountMinor: '12', msg: 'answered' }]);
});

test.each([
  ['a body', { body: 'S3CRET' }],
  ['an APDU in a list', { exchange: { apdus: ['S3CRET'] } }],
  ['a key by its name', { shopSigningKey: 'S3CRET' }],
  ['a password deep inside', { a: { b: { c: { databasePassword: 'S3CRET' } } } }],
  ['an enrolment code', { code: 'S3CRET with blanks' }],
  ['a JWS in a harmless field', { note: `got ${JWS.replace('aaaa', 'S3CRET')}` }],
  ['hex of a key in a harmless field', { note: `K=${'00112233'.repeat(4)}S3CRET`.replace('S3CRET', '') }],
  ['bytes', { data: new TextEncoder().encode('S3CRET') }],
])('%s is not logged', (_what, fields) => {
  const { log, text } = capture();
  log.info(fields, 'x');
  expect(text()).not.toMatch(/S3CRET|83,51|00112233/);
});

test('an error keeps its code, step, stack and causes, but no secrets and no fields of libraries', () => {
  const { log, text, lines } = capture();
  const row = Object.assign(new Error(`bad ${JWS}`), { code: '23505', detail: 'Key (name)=(S3CRET) already exists' });
  log.error(new Failure('message/malformed', { cause: row, step: 'ST9' }));
  log.error({ err: new Error('postgres://kessai:S3CRET@127.0.0.1/x') }, 'no database');
  expect(text()).not.toMatch(/S3CRET|bbbbbbb/);
  expect(lines()[0]).toMatchObject({ err: { type: 'Failure', code: 'message/malformed', step: 'ST9', causes: [{ code: '23505' }] } });
  expect(text()).toContain('postgres://kessai:[password]@127.0.0.1/x');
});

test('a journal prints one marked line a step', () => {
  const lines: string[] = [];
  createJournal((line) => void lines.push(line))({ step: 'ST9', party: 'application', at: 1.5, ms: 2, payment: 'p' });
  expect(lines).toEqual(['{"journal":true,"step":"ST9","party":"application","at":1.5,"ms":2,"payment":"p"}\n']);
});

test('it writes to standard error unless told otherwise: standard output carries only what the starter reads', () => {
  const program = "import { createLog } from './servers/shared/log.ts'; createLog({ name: 'x' }).info('hello');";
  const { stdout, stderr } = spawnSync(process.execPath, ['--import', 'tsx', '--input-type=module', '--eval', program], { encoding: 'utf8' });
  expect(stdout).toBe('');
  expect(stderr).toContain('"msg":"hello"');
});
