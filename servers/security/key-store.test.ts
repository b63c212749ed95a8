import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { encodeHex, parseHex } from '#protocol/bytes.ts';
import { addMasterKeyVersion, CARD_KEY_PURPOSES, createKeyStoreFile, diversificationInput, KeyStoreError, openKeyStoreFile, openOrCreateKeyStoreFile, readKeyStorePassphrase, type CardKeyStore } from './key-store.ts';

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
    expect(new Set(made).size).toBe(6);
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

describe('keys of cards', () => {
  it('are zero at the factory, except the transaction MAC\'s, which does not exist', async () => {
    const store = createKeyStoreFile(options());
    expect(encodeHex(await store.deriveCardKey(UID, 3, 0))).toBe('00'.repeat(16));
    await expect(store.deriveCardKey(UID, 'transaction-mac', 0)).rejects.toThrow(KeyStoreError);
    await expect(store.deriveCardKey(UID, 0, 2)).rejects.toThrow('no master key of version 2');
  });

  it('differ by card', async () => {
    const store = createKeyStoreFile(options());
    expect(await store.deriveCardKey(parseHex('04DE5F1EACC041'), 1, 1)).not.toEqual(await store.deriveCardKey(UID, 1, 1));
  });

  it('have diversification inputs of their own, within AN10922\'s length', () => {
    const inputs = CARD_KEY_PURPOSES.map((purpose) => encodeHex(diversificationInput(UID, purpose)));
    expect(new Set(inputs).size).toBe(6);
    for (const input of inputs) expect(input.length / 2).toBeLessThanOrEqual(31);
    expect(() => diversificationInput(UID.slice(1), 1)).toThrow(RangeError);
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
