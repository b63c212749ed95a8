import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { encodeHex, parseHex } from '#protocol/bytes.ts';
import { addMasterKeyVersion, createKeyStoreFile, openKeyStoreFile, openOrCreateKeyStoreFile, readKeyStorePassphrase } from './file.ts';
import { encryptMasterKeys } from './file-format.ts';
import { knownMasterKeys } from './key-store.contract.ts';
import { CARD_KEY_PURPOSES, KeyStoreError, type CardKeyStore } from './key-store.ts';

const UID = parseHex('04DE5F1EACC040');
const passphrase = 'correct horse battery staple';
let folder: string;
let path: string;
const options = () => ({ path, passphrase, scryptCost: 1 << 10 });

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'kessai-keys-'));
  path = join(folder, 'card-keys.json');
});
afterEach(() => rmSync(folder, { recursive: true }));

async function allKeys(store: CardKeyStore, version = 1): Promise<string[]> {
  return Promise.all(CARD_KEY_PURPOSES.map(async (purpose) => encodeHex(await store.deriveCardKey(UID, purpose, version))));
}

describe('the encrypted key file', () => {
  it('is made on first start and gives the same keys ever after', async () => {
    const made = await allKeys(openOrCreateKeyStoreFile(options()));
    expect(await allKeys(openOrCreateKeyStoreFile(options()))).toEqual(made);
    expect(await allKeys(openKeyStoreFile(options()))).toEqual(made);
    expect(new Set(made).size).toBe(7);
    expect(statSync(path).mode & 0o777).toBe(0o600);
  });

  it('names no key in plain text', async () => {
    const keys = await allKeys(createKeyStoreFile(options()));
    const text = readFileSync(path, 'utf8');
    for (const key of keys) expect(text).not.toContain(key);
    expect(Object.keys(JSON.parse(text) as object)).toEqual(['format', 'scryptCost', 'salt', 'nonce', 'ciphertext', 'tag']);
  });

  it('is never overwritten', () => {
    createKeyStoreFile(options());
    expect(() => createKeyStoreFile(options())).toThrow(KeyStoreError);
    expect(readdirSync(folder)).toEqual(['card-keys.json']);
  });

  it('keeps old versions when a new one is added', async () => {
    const first = await allKeys(createKeyStoreFile(options()));
    const store = addMasterKeyVersion(options());
    expect(await store.currentVersion()).toBe(2);
    const reopened = openKeyStoreFile(options());
    expect(await allKeys(reopened)).toEqual(first);
    expect(await allKeys(reopened, 2)).toEqual(await allKeys(store, 2));
    expect(await allKeys(reopened, 2)).not.toEqual(first);
    expect(statSync(path).mode & 0o777).toBe(0o600);
  });

  it('does not open with another passphrase', () => {
    createKeyStoreFile(options());
    expect(() => openKeyStoreFile({ ...options(), passphrase: 'wrong horse battery staple' })).toThrow('does not open with this passphrase');
  });

  it.each(['group', 'other'] as const)('is refused when %s may read it', (who) => {
    createKeyStoreFile(options());
    chmodSync(path, who === 'group' ? 0o640 : 0o604);
    expect(() => openKeyStoreFile(options())).toThrow('chmod 600');
  });

  it.each([
    ['an empty file', () => ''],
    ['no JSON', () => '{'],
    ['a field too many', (file: Record<string, unknown>) => JSON.stringify({ ...file, more: 1 })],
    ['no tag', (file: Record<string, unknown>) => JSON.stringify({ ...file, tag: undefined })],
    ['a short tag', (file: Record<string, unknown>) => JSON.stringify({ ...file, tag: (file['tag'] as string).slice(0, 8) })],
    ['another salt', (file: Record<string, unknown>) => JSON.stringify({ ...file, salt: '00'.repeat(16) })],
    ['another cost', (file: Record<string, unknown>) => JSON.stringify({ ...file, scryptCost: 2048 })],
    ['a cost without bound', (file: Record<string, unknown>) => JSON.stringify({ ...file, scryptCost: 2 ** 40 })],
    ['a changed ciphertext', (file: Record<string, unknown>) => JSON.stringify({ ...file, ciphertext: (file['ciphertext'] as string).replace(/^../, '00') })],
    ['a cut ciphertext', (file: Record<string, unknown>) => JSON.stringify({ ...file, ciphertext: (file['ciphertext'] as string).slice(2) })],
  ])('is refused with %s, and never replaced', (_name, damage) => {
    createKeyStoreFile(options());
    const damaged = damage(JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>);
    writeFileSync(path, damaged);
    expect(() => openOrCreateKeyStoreFile(options())).toThrow(KeyStoreError);
    expect(readFileSync(path, 'utf8')).toBe(damaged);
  });

  it('says when there is none', () => expect(() => openKeyStoreFile(options())).toThrow('there is no key store'));
});

describe('a key file that changes while a server has it open', () => {
  const written = (...versions: number[]) => writeFileSync(path, encryptMasterKeys(knownMasterKeys(...versions), options()), { mode: 0o600 });

  async function openTelling(): Promise<{ store: CardKeyStore; problems: string[] }> {
    written(1, 2);
    const problems: string[] = [];
    const store = openKeyStoreFile({ ...options(), onProblem: ({ message }) => problems.push(message) });
    expect(await store.currentVersion()).toBe(2);
    return { store, problems };
  }

  it('is taken over when a version was added', async () => {
    const { store, problems } = await openTelling();
    const before = await allKeys(store, 2);
    await addMasterKeyVersion(options()).close();
    expect(await Promise.all([store.currentVersion(), store.currentVersion()])).toEqual([3, 3]);
    expect(await allKeys(store, 2)).toEqual(before);
    expect(problems).toEqual([]);
  });

  it.each([
    ['lost a version', () => written(2), 'no longer holds the master keys'],
    ['has other keys under a version', () => writeFileSync(path, encryptMasterKeys(new Map([[1, knownMasterKeys(4).get(4) ?? new Map()], [2, knownMasterKeys(2).get(2) ?? new Map()]]), options())), 'no longer holds the master keys'],
    ['is damaged', () => writeFileSync(path, '{'), 'damaged'],
    ['is open to others', () => chmodSync(path, 0o644), 'chmod 600'],
    ['has another passphrase', () => writeFileSync(path, encryptMasterKeys(knownMasterKeys(1, 2, 3), { ...options(), passphrase: 'wrong horse battery staple' })), 'does not open'],
  ])('is not taken over when it %s: the store goes on with what it holds, and says so once', async (_name, change, problem) => {
    const { store, problems } = await openTelling();
    const before = [...(await allKeys(store, 1)), ...(await allKeys(store, 2))];
    change();
    expect(await store.currentVersion()).toBe(2);
    expect(await store.currentVersion()).toBe(2);
    expect([...(await allKeys(store, 1)), ...(await allKeys(store, 2))]).toEqual(before);
    expect(problems).toEqual([expect.stringContaining(problem)]);
  });

  it('is nothing to the store when it is gone', async () => {
    const { store, problems } = await openTelling();
    rmSync(path);
    expect(await store.currentVersion()).toBe(2);
    expect(problems).toEqual([]);
  });
});

describe('adding a version', () => {
  it('is refused while another adds one, and leaves nothing behind', async () => {
    createKeyStoreFile(options());
    writeFileSync(`${path}.lock`, '');
    expect(() => addMasterKeyVersion(options())).toThrow('remove');
    expect(await openKeyStoreFile(options()).currentVersion()).toBe(1);
    rmSync(`${path}.lock`);
    addMasterKeyVersion(options());
    expect(readdirSync(folder)).toEqual(['card-keys.json']);
  });

  it('ends with version 255, the last that a card can name', () => {
    writeFileSync(path, encryptMasterKeys(knownMasterKeys(255), options()), { mode: 0o600 });
    expect(() => addMasterKeyVersion(options())).toThrow('all key versions are used');
    expect(readdirSync(folder)).toEqual(['card-keys.json']);
  });
});

describe('the passphrase', () => {
  it('comes from the environment first, then from the first line of a private file', () => {
    const file = join(folder, 'passphrase');
    writeFileSync(file, `${passphrase} in a file\nsecond line\n`, { mode: 0o600 });
    expect(readKeyStorePassphrase({ KESSAI_KEY_STORE_PASSPHRASE: passphrase }, file)).toBe(passphrase);
    expect(readKeyStorePassphrase({}, file)).toBe(`${passphrase} in a file`);
    chmodSync(file, 0o644);
    expect(() => readKeyStorePassphrase({}, file)).toThrow('chmod 600');
  });

  it('must be there and not short', () => {
    expect(() => readKeyStorePassphrase({})).toThrow('no passphrase');
    expect(() => readKeyStorePassphrase({}, join(folder, 'none'))).toThrow('no passphrase');
    expect(() => readKeyStorePassphrase({ KESSAI_KEY_STORE_PASSPHRASE: 'short' })).toThrow('at least 12');
  });
});
