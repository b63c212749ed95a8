import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as v from 'valibot';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { keyStoreSchema } from '../../shared/settlement-config.ts';
import { openKeyStore } from './open.ts';
import { addPkcs11KeyVersion, readTokenPin } from './pkcs11.ts';
import type { KeyStoreError } from './key-store.ts';
import { createSoftToken, TOKEN_LABEL, TOKEN_PIN, type SoftToken } from './soft-token.fixture.ts';

let token: SoftToken;
beforeEach(() => {
  token = createSoftToken();
});
afterEach(() => token.remove());

describe('the PIN', () => {
  it('comes from the environment first, then from the first line of a private file', () => {
    const file = join(token.folder, 'pin');
    writeFileSync(file, '1234\nmore\n', { mode: 0o600 });
    expect(readTokenPin({ KESSAI_PKCS11_PIN: '5678' }, file)).toBe('5678');
    expect(readTokenPin({}, file)).toBe('1234');
    chmodSync(file, 0o640);
    expect(() => readTokenPin({}, file)).toThrow('chmod 600');
    expect(() => readTokenPin({})).toThrow('no PIN');
    expect(() => readTokenPin({ KESSAI_PKCS11_PIN: '' })).toThrow('no PIN');
  });
});

describe('the configured key store', () => {
  const noProblem = (problem: KeyStoreError) => expect.fail(problem.message);

  it('is the token, whose PIN is gone from the environment afterwards', async () => {
    const config = { kind: 'pkcs11', module: token.module, tokenLabel: TOKEN_LABEL, pinFile: null } as const;
    const environment: Record<string, string> = { KESSAI_PKCS11_PIN: TOKEN_PIN, OTHER: 'stays' };
    await expect(openKeyStore(config, environment, noProblem)).rejects.toThrow('add a version');
    expect(environment).toEqual({ OTHER: 'stays' });
    await addPkcs11KeyVersion({ module: token.module, tokenLabel: TOKEN_LABEL, pin: TOKEN_PIN });
    const store = await openKeyStore(config, { KESSAI_PKCS11_PIN: TOKEN_PIN }, noProblem);
    expect(await store.currentVersion()).toBe(1);
    await store.close();
  });

  it('is the file, made at the first start, whose passphrase is gone from the environment afterwards', async () => {
    const config = { kind: 'file', path: join(token.folder, 'keys.json'), passphraseFile: null } as const;
    const environment = { KESSAI_KEY_STORE_PASSPHRASE: 'correct horse battery staple' };
    const store = await openKeyStore(config, environment, noProblem);
    expect(environment).toEqual({});
    expect(await store.versions()).toEqual([1]);
    await store.close();
  });

  it.each([
    ['the old form, a path', '/keys.json'],
    ['no kind', { path: '/keys.json', passphraseFile: null }],
    ['a token with a path', { kind: 'pkcs11', module: '/lib.so', tokenLabel: 'kessai', pinFile: null, path: '/keys.json' }],
    ['a PIN in the configuration', { kind: 'pkcs11', module: '/lib.so', tokenLabel: 'kessai', pin: '1234' }],
    ['a label longer than a token has', { kind: 'pkcs11', module: '/lib.so', tokenLabel: 'k'.repeat(33), pinFile: null }],
  ])('is not %s', (_name, config) => {
    expect(v.safeParse(keyStoreSchema, config).success).toBe(false);
  });
});
