/** Looks into the memory of a process that works with a key store, from outside, for master keys that only this test knows. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdtempSync, openSync, readFileSync, readSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { encodeHex, parseHex, type Bytes } from '#protocol/bytes.ts';
import { encryptMasterKeys, type MasterKeys } from './file-format.ts';
import { diversifyKey } from '../desfire/diversification.ts';
import { diversificationInput, MASTER_KEY_PURPOSES } from './key-store.ts';
import { createSoftToken, TOKEN_LABEL, TOKEN_PIN } from './soft-token.fixture.ts';

const PASSPHRASE = 'correct horse battery staple';
const PIECE_BYTES = 8 << 20;
const started: ChildProcess[] = [];
afterEach(async () => {
  for (const child of started.splice(0)) {
    child.stdin?.end();
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  }
});

/** Never derived from anything: what is found is found because it was there. */
function freshMasterKeys(): MasterKeys {
  return new Map([[1, new Map(MASTER_KEY_PURPOSES.map((purpose) => [purpose, crypto.getRandomValues(new Uint8Array(16))] as const))]]);
}

/** The process id, once the program has derived hundreds of card keys and holds the last. */
async function startHolding(keyStore: object, secrets: Readonly<Record<string, string>>): Promise<number> {
  const child = spawn(process.execPath, ['--expose-gc', '--import', 'tsx', 'servers/security/key-store/held-open.fixture.ts', JSON.stringify(keyStore)], { env: { ...process.env, ...secrets }, stdio: ['pipe', 'pipe', 'inherit'] });
  started.push(child);
  const [first] = (await Promise.race([once(child.stdout, 'data'), once(child, 'exit')])) as [unknown];
  expect(String(first)).toBe('ready\n');
  return child.pid ?? expect.fail('no process');
}

/** Which of these byte strings are anywhere in what the process can read, as bytes or as a text of hex digits. */
function findInMemory(pid: number, secrets: readonly Bytes[]): { found: Set<string>; bytesRead: number } {
  const forms = secrets.flatMap((secret) => {
    const hex = encodeHex(secret);
    return [Buffer.from(secret), Buffer.from(hex), Buffer.from(hex.toLowerCase())].map((form) => [hex, form] as const);
  });
  const found = new Set<string>();
  const memory = openSync(`/proc/${pid}/mem`, 'r');
  const piece = Buffer.alloc(PIECE_BYTES);
  let bytesRead = 0;
  for (const line of readFileSync(`/proc/${pid}/maps`, 'utf8').trimEnd().split('\n')) {
    const [, start = '', end = ''] = /^([0-9a-f]+)-([0-9a-f]+) r(?!.*\[v)/.exec(line) ?? [];
    // A form that lies across two pieces is in the overlap.
    for (let at = Number(`0x${start}`); at < Number(`0x${end}`); at += PIECE_BYTES - 64) {
      const read = readPiece(memory, piece.subarray(0, Math.min(PIECE_BYTES, Number(`0x${end}`) - at)), at);
      bytesRead += read;
      for (const [hex, form] of forms) if (!found.has(hex) && piece.subarray(0, read).includes(form)) found.add(hex);
    }
  }
  closeSync(memory);
  return { found, bytesRead };
}

function readPiece(memory: number, into: Buffer, at: number): number {
  try {
    return readSync(memory, into, 0, into.length, at);
  } catch {
    return 0; // memory that is set aside and not there, or that the process has given back meanwhile
  }
}

const masterKeysOf = (masterKeys: MasterKeys): Bytes[] => [...masterKeys.values()].flatMap((keys) => [...keys.values()]);
const lastCardKey = (masterKeys: MasterKeys): Bytes => diversifyKey(masterKeys.get(1)?.get(0) ?? expect.fail('no key'), diversificationInput(parseHex('04DE5F1EACC031'), 'picc'));

describe.skipIf(process.platform !== 'linux')('the memory of a server at rest', () => {
  it('holds no master key when they are in a token: neither in JavaScript nor in native code', async () => {
    const token = createSoftToken();
    const masterKeys = freshMasterKeys();
    await token.importVersion(1, masterKeys.get(1) ?? new Map());
    const pid = await startHolding({ kind: 'pkcs11', module: token.module, tokenLabel: TOKEN_LABEL, pinFile: null }, { KESSAI_PKCS11_PIN: TOKEN_PIN });
    const { found, bytesRead } = findInMemory(pid, [...masterKeysOf(masterKeys), lastCardKey(masterKeys)]);
    // The search does find what is there: the card key that the program holds.
    expect([...found]).toEqual([encodeHex(lastCardKey(masterKeys))]);
    expect(bytesRead).toBeGreaterThan(50 << 20);
    token.remove();
  });

  it('holds all master keys when they are in a file', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'kessai-keys-'));
    const path = join(folder, 'keys.json');
    const masterKeys = freshMasterKeys();
    writeFileSync(path, encryptMasterKeys(masterKeys, { passphrase: PASSPHRASE, scryptCost: 1 << 10 }), { mode: 0o600 });
    const pid = await startHolding({ kind: 'file', path, passphraseFile: null }, { KESSAI_KEY_STORE_PASSPHRASE: PASSPHRASE });
    const { found } = findInMemory(pid, masterKeysOf(masterKeys));
    expect(found.size).toBe(MASTER_KEY_PURPOSES.length);
    rmSync(folder, { recursive: true });
  });
});
