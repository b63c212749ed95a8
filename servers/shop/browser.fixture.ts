/** For tests: a real Chromium that trusts a test's own root certificate, and nothing else that the machine does not trust. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium, type Browser } from 'playwright';

export interface TestBrowser {
  readonly browser: Browser;
  close(): Promise<void>;
}

/** Needs Debian's chromium and libnss3-tools. */
export async function launchBrowser(rootPem: string): Promise<TestBrowser> {
  const home = mkdtempSync(join(tmpdir(), 'kessai-browser-'));
  const nss = join(home, '.pki', 'nssdb');
  mkdirSync(nss, { recursive: true });
  writeFileSync(join(home, 'root.crt'), rootPem);
  const certutil = (...parameters: string[]): unknown => execFileSync('certutil', ['-d', `sql:${nss}`, ...parameters], { timeout: 30_000, stdio: 'pipe' });
  certutil('-N', '--empty-password');
  certutil('-A', '-t', 'C,,', '-n', 'test root', '-i', join(home, 'root.crt'));
  const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox', '--disable-background-networking', '--disable-component-update', '--disable-quic'], env: { ...process.env, HOME: home } });
  return {
    browser,
    close: async () => {
      await browser.close();
      rmSync(home, { recursive: true, force: true });
    },
  };
}
