/** For tests: a throwaway authority and certificates with chosen names and extended key usages, made by the openssl command. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from 'vitest';

export interface TestCertificate {
  readonly certificate: string;
  readonly key: string;
}

export interface TestAuthority {
  /** PEM of the root. */
  readonly anchor: string;
  issue(options: { hosts?: readonly string[]; usages: readonly string[]; days?: number }): TestCertificate;
}

const KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];

/** Call it at the top of a test file; its files go when the tests of the file have run. */
export function createTestAuthority(): TestAuthority {
  const folder = mkdtempSync(join(tmpdir(), 'kessai-authority-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  let count = 0;
  const make = (subject: string, options: readonly string[]): TestCertificate => {
    const path = join(folder, `${count++}`);
    execFileSync('openssl', ['req', '-x509', ...KEY, '-subj', `/CN=${subject}`, '-keyout', `${path}.key`, '-out', `${path}.crt`, ...options], { stdio: 'pipe', timeout: 10_000 });
    return { certificate: readFileSync(`${path}.crt`, 'utf8'), key: readFileSync(`${path}.key`, 'utf8') };
  };
  const { certificate: anchor } = make('test authority', ['-days', '2', '-addext', 'keyUsage=critical,keyCertSign']);
  return {
    anchor,
    issue: ({ hosts = [], usages, days = 1 }) => {
      const names = hosts.length === 0 ? [] : ['-addext', `subjectAltName=${hosts.map((host) => `DNS:${host}`).join(',')}`];
      const authority = ['-CA', join(folder, '0.crt'), '-CAkey', join(folder, '0.key')];
      return make('test leaf', [...authority, '-days', `${days}`, '-addext', 'basicConstraints=critical,CA:false', '-addext', `extendedKeyUsage=${usages.join(',')}`, ...names]);
    },
  };
}
