import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { encodeHex } from '#protocol/bytes.ts';
import { addMasterKeyVersion, openKeyStoreFile } from './file.ts';
import { encryptMasterKeys } from './file-format.ts';
import { openPkcs11KeyStore } from './pkcs11.ts';
import { keyStoreContract, knownMasterKeys, UID } from './key-store.contract.ts';
import { CARD_KEY_PURPOSES, diversificationInput } from './key-store.ts';
import { createSoftToken, TOKEN_LABEL, TOKEN_PIN } from './soft-token.fixture.ts';

keyStoreContract('an encrypted file', () => {
  const folder = mkdtempSync(join(tmpdir(), 'kessai-keys-'));
  const options = { path: join(folder, 'keys.json'), passphrase: 'correct horse battery staple', scryptCost: 1 << 10 };
  return {
    open(masterKeys) {
      writeFileSync(options.path, encryptMasterKeys(masterKeys, options), { mode: 0o600 });
      return Promise.resolve(openKeyStoreFile(options));
    },
    addElsewhere: () => addMasterKeyVersion(options).close(),
    remove: () => rmSync(folder, { recursive: true }),
  };
});

keyStoreContract('a PKCS#11 token', () => {
  const token = createSoftToken();
  return {
    async open(masterKeys) {
      for (const [version, keys] of masterKeys) await token.importVersion(version, keys);
      return openPkcs11KeyStore({ module: token.module, tokenLabel: TOKEN_LABEL, pin: TOKEN_PIN });
    },
    addElsewhere: (version) => token.importVersion(version, knownMasterKeys(version).get(version) ?? new Map()),
    remove: () => token.remove(),
  };
});

describe('diversification inputs', () => {
  it('are one for each purpose, within AN10922\'s length', () => {
    const inputs = CARD_KEY_PURPOSES.map((purpose) => encodeHex(diversificationInput(UID, purpose)));
    expect(new Set(inputs).size).toBe(7);
    for (const input of inputs) expect(input.length / 2).toBeLessThanOrEqual(31);
  });

  it('never change: cards hold the keys that they gave', () => {
    const tails = CARD_KEY_PURPOSES.map((purpose) => new TextDecoder().decode(diversificationInput(UID, purpose).subarray(7)));
    expect(tails).toEqual(['kessai card key 0', 'kessai card key 1', 'kessai card key 2', 'kessai card key 3', 'kessai card key 4', 'kessai transaction mac', 'kessai picc key']);
  });
});
