import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { get } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { chromium } from 'playwright';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

interface Started {
  readonly shops: readonly { readonly origin: string }[];
  readonly settlement: string;
  readonly extension: { readonly folder: string; readonly id: string };
  readonly trust: { readonly webRoot: string };
  readonly nativeHost: { readonly manifests: readonly string[]; readonly launcher: string };
  readonly card: { readonly cardId: string; readonly enrolmentCode: string };
}

const LIMIT_MS = 90_000;

describe('npm start', () => {
  let folder = '';
  let child: ChildProcess;
  let started: Started;
  let errors = '';

  const start = (): ChildProcess =>
    spawn(process.execPath, ['--import', 'tsx', 'commands/start.ts', '--reader', 'sim', '--merged', '--json', '--folder', join(folder, 'world')], {
      env: { ...process.env, HOME: join(folder, 'home') },
      stdio: ['ignore', 'pipe', 'pipe'],
    });

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'kessai-start-'));
    child = start();
    child.stderr?.on('data', (chunk: Buffer) => (errors += chunk.toString()));
    started = await new Promise<Started>((resolve, reject) => {
      child.once('exit', (code) => reject(new Error(`ended with ${String(code)}: ${errors}`)));
      createInterface({ input: child.stdout! }).once('line', (line) => resolve(JSON.parse(line) as Started));
    });
  }, LIMIT_MS);
  afterAll(async () => {
    if (child.exitCode === null) child.kill('SIGKILL');
    await rm(folder, { recursive: true, force: true });
  });

  const statusOf = async (url: string): Promise<number | undefined> => {
    const ca = await readFile(started.trust.webRoot);
    return new Promise((resolve, reject) => {
      const lookup = (_host: string, _options: object, done: (error: null, found: { address: string; family: number }[]) => void): void => done(null, [{ address: '127.0.0.1', family: 4 }]);
      get(url, { ca, lookup: lookup, timeout: 10_000 }, (response) => {
        response.resume();
        resolve(response.statusCode);
      }).once('error', reject);
    });
  };

  test('shop and settlement answer over TLS under the web root, to a client without a certificate', async () => {
    expect(await statusOf(started.shops[0]!.origin)).toBe(200);
    expect(await statusOf(`${started.settlement}/health`)).toBe(204);
  });

  test('the extension can be loaded, and the native host is registered for it in the home folder', () => {
    expect(existsSync(join(started.extension.folder, 'manifest.json'))).toBe(true);
    const [manifest = ''] = started.nativeHost.manifests;
    expect(manifest.startsWith(join(folder, 'home'))).toBe(true);
    expect(JSON.parse(readFileSync(manifest, 'utf8'))).toMatchObject({ path: started.nativeHost.launcher, allowed_origins: [`chrome-extension://${started.extension.id}/`] });
    expect(started.card.cardId).toMatch(/^[0-9A-F]{14}$/);
  });

  test("a person's own Chromium, with the web root and no certificate of its own, enrols and pays as the printed lines say", async () => {
    const home = join(folder, 'home');
    const database = ['-d', `sql:${join(home, '.pki/nssdb')}`];
    await mkdir(join(home, '.pki/nssdb'), { recursive: true });
    execFileSync('certutil', [...database, '-N', '--empty-password']);
    execFileSync('certutil', [...database, '-A', '-t', 'C,,', '-n', 'web root', '-i', started.trust.webRoot]);
    const { id, folder: extensionFolder } = started.extension;
    const context = await chromium.launchPersistentContext(join(home, '.config/chromium'), {
      executablePath: process.env['KESSAI_BROWSER'] ?? '/usr/bin/chromium',
      args: [...(process.getuid?.() === 0 ? ['--no-sandbox'] : []), '--disable-background-networking', `--load-extension=${extensionFolder}`, `--disable-extensions-except=${extensionFolder}`],
      env: { ...(process.env as Record<string, string>), HOME: home, LANGUAGE: 'en' },
    });
    try {
      const options = await context.newPage();
      await options.goto(`chrome-extension://${id}/options/options.html`);
      await options.getByTestId('enrol-code').fill(started.card.enrolmentCode);
      await options.getByTestId('enrol').click();
      await options.locator('[data-testid="step-enrol"][data-state="done"]').waitFor();
      for (const page of context.pages().filter((candidate) => candidate.url().endsWith('options.html'))) await page.close();
      const shop = await context.newPage();
      await shop.goto(started.shops[0]!.origin);
      await shop.locator('#add-sencha').click();
      const opening = context.waitForEvent('page', (page) => page.url().startsWith(`chrome-extension://${id}`));
      await shop.locator('#pay').click();
      const window = await opening;
      for (const kind of ['estimate', 'bill', 'balance']) await window.locator(`[data-screen="${kind}"]`).getByTestId('primary').click();
      await window.locator('[data-screen="paid"]').waitFor();
      expect(await window.getByTestId('balance-after').innerText()).toContain('9,280');
    } finally {
      await context.close();
    }
  }, LIMIT_MS);

  test('a second start on the same folder is refused in words, and disturbs nothing', async () => {
    const second = start();
    let complaint = '';
    second.stderr?.on('data', (chunk: Buffer) => (complaint += chunk.toString()));
    const code = await new Promise((resolve) => second.once('close', resolve));
    expect(code).toBe(1);
    expect(complaint).toContain('end it first, or choose another folder with --folder');
    expect(await statusOf(started.shops[0]!.origin)).toBe(200);
  }, LIMIT_MS);

  test('SIGTERM ends all of it with exit code 0, and takes the registration away', async () => {
    child.removeAllListeners('exit');
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGTERM');
    expect(await ended).toBe(0);
    await expect(statusOf(started.shops[0]!.origin)).rejects.toThrow();
    expect(started.nativeHost.manifests.some((file) => existsSync(file))).toBe(false);
  }, LIMIT_MS);
});
