/** Opens the key store that a configuration names, with its secret from the environment or a private file. */
import type * as v from 'valibot';
import type { keyStoreSchema } from '../../shared/settlement-config.ts';
import { openOrCreateKeyStoreFile, readKeyStorePassphrase } from './file.ts';
import { openPkcs11KeyStore, readTokenPin } from './pkcs11.ts';
import type { KeyStoreError, OpenKeyStore } from './key-store.ts';

type KeyStoreConfig = v.InferOutput<typeof keyStoreSchema>;

/**
 * A file that is not there is made; an empty token is not filled: the first master keys of a token are an operator's act.
 * Throws KeyStoreError. `environment` loses the secrets, so that no process inherits them that this one starts.
 */
export async function openKeyStore(config: KeyStoreConfig, environment: Record<string, string | undefined>, onProblem: (problem: KeyStoreError) => void): Promise<OpenKeyStore> {
  try {
    if (config.kind === 'file') {
      return openOrCreateKeyStoreFile({ path: config.path, passphrase: readKeyStorePassphrase(environment, config.passphraseFile ?? undefined), onProblem });
    }
    const { module, tokenLabel, pinFile } = config;
    const store = await openPkcs11KeyStore({ module, tokenLabel, pin: readTokenPin(environment, pinFile ?? undefined), onProblem });
    try {
      await store.currentVersion();
      return store;
    } catch (error) {
      await store.close();
      throw error;
    }
  } finally {
    delete environment['KESSAI_KEY_STORE_PASSPHRASE'];
    delete environment['KESSAI_PKCS11_PIN'];
  }
}
