import { execFile } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openKeyStore } from '#servers/security/key-store/open.ts';
import { createSoftToken, TOKEN_LABEL, TOKEN_PIN, type SoftToken } from '#servers/security/key-store/soft-token.fixture.ts';
import { keyFileOf } from '#world/settlement.ts';

interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'kessai-master-keys-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

function masterKeys(given: readonly string[], environment: Readonly<Record<string, string>> = {}): Promise<Outcome> {
  return new Promise((resolve) => {
    const env = { ...process.env, ...environment };
    execFile(process.execPath, ['--import', 'tsx', 'commands/master-keys.ts', ...given], { env }, (error, stdout, stderr) => resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr }));
  });
}

const json = ({ stdout }: Outcome) => JSON.parse(stdout) as unknown;
const noProblem = (problem: Error) => expect.fail(problem.message);

describe('master-keys of a world', () => {
  it('lists none, makes the store, and adds a version, which an open store takes over', async () => {
    const none = await masterKeys(['--list', '--folder', folder]);
    expect(none).toMatchObject({ code: 1, stdout: '' });
    expect(none.stderr).toContain('there is no key store at');
    expect(readdirSync(folder)).toEqual([]);

    const { path } = keyFileOf(folder);
    const made = await masterKeys(['--add-version', '--folder', folder, '--json']);
    expect(json(made)).toEqual({ keyStore: `file ${path}`, versions: [1], currentVersion: 1, added: 1, problems: [] });
    expect(statSync(path).mode & 0o777).toBe(0o600);

    const running = await openKeyStore(keyFileOf(folder), {}, noProblem);
    expect(await running.currentVersion()).toBe(1);
    const added = await masterKeys(['--add-version', '--folder', folder]);
    expect(added.stdout).toBe(`Version 2 is added. Back the key store up: without it no card of this version can be used.\nfile ${path}: versions 1, 2; cards get 2\n`);
    expect(await running.currentVersion()).toBe(2);
    await running.close();
    expect(readFileSync(path, 'utf8')).toContain('ciphertext');
  });
});

describe('master-keys of a file', () => {
  it('takes the passphrase from a private file, and nothing else', async () => {
    const store = join(folder, 'keys.json');
    const passphraseFile = join(folder, 'passphrase');
    writeFileSync(passphraseFile, 'correct horse battery staple\n', { mode: 0o644 });
    const open = await masterKeys(['--add-version', '--key-store', store, '--passphrase-file', passphraseFile]);
    expect(open).toMatchObject({ code: 1, stdout: '' });
    expect(open.stderr).toContain('chmod 600');
    expect(readdirSync(folder)).toEqual(['passphrase']);
  });
});

describe('master-keys of a token', () => {
  let token: SoftToken;
  beforeEach(() => {
    token = createSoftToken();
  });
  afterEach(() => token.remove());

  it('lists none, has the token make two versions, and says what is not usable', async () => {
    const place = ['--module', token.module, '--token', TOKEN_LABEL];
    const pin = { ...token.environment, KESSAI_PKCS11_PIN: TOKEN_PIN };
    expect((await masterKeys(['--list', ...place], pin)).stdout).toBe(`token ${TOKEN_LABEL}: no versions\n`);
    expect((await masterKeys(['--add-version', ...place], pin)).stdout).toContain('Version 1 is added');
    await token.importKeys([['kessai master key 0 version 2', new Uint8Array(16)]], 'torn');
    const pinFile = join(folder, 'pin');
    writeFileSync(pinFile, `${TOKEN_PIN}\n`, { mode: 0o600 });
    const added = await masterKeys(['--add-version', ...place, '--pin-file', pinFile, '--json'], token.environment);
    expect(json(added)).toEqual({ keyStore: `token ${TOKEN_LABEL}`, versions: [1, 3], currentVersion: 3, added: 3, problems: [expect.stringContaining('version 2 in the token are incomplete')] });
  });

  it('says that a PIN is wrong, and not which', async () => {
    const refused = await masterKeys(['--list', '--module', token.module, '--token', TOKEN_LABEL], { ...token.environment, KESSAI_PKCS11_PIN: 'wrong 0815' });
    expect(refused).toMatchObject({ code: 1, stdout: '' });
    expect(refused.stderr).toContain('refuses the PIN');
    expect(refused.stderr).not.toContain('0815');
  });
});

describe('master-keys refuses as wrong usage', () => {
  it.each([
    ['no verb', []],
    ['two places', ['--list', '--key-store', 'a', '--module', 'b', '--token', 'c']],
    ['a library without a token', ['--list', '--module', 'b']],
    ['a PIN without a library', ['--list', '--pin-file', 'b']],
  ])('%s', async (_name, given) => {
    const refused = await masterKeys(given);
    expect(refused).toMatchObject({ code: 2, stdout: '' });
    expect(refused.stderr).toMatch(/^error: /);
  });
});
