import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { TLSSocket } from 'node:tls';
import { type BrowserContext, chromium } from 'playwright';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseCertificate } from '#protocol/certificate-parse.ts';
import { createCertificateVerifier } from '#protocol/certificates.ts';
import { type BrowserProfile, prepareBrowserProfile } from './browser-trust.ts';
import { encodePkcs12 } from './pki-pkcs12.ts';
import { ensureBrowserCertificate, ensurePki, type Pki } from './pki.ts';

const CHROMIUM = '/usr/bin/chromium';
let folder: string;
let pki: Pki;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kessai-browser-'));
  pki = await ensurePki({ folder: join(folder, 'pki'), shops: [{ host: 'shop.localhost', organization: 'Hanamaru Books', origins: ['https://shop.localhost'] }] });
});

afterAll(() => rm(folder, { recursive: true, force: true }));

describe('the profile', () => {
  const prepare = (origins: readonly string[]) => prepareBrowserProfile({ homeFolder: join(folder, 'home'), userDataDir: join(folder, 'profile'), pki, clientCertificateFor: origins });
  const settings = async (): Promise<unknown> => JSON.parse(await readFile(join(folder, 'profile/Default/Preferences'), 'utf8'));

  test('is prepared again for other origins without forgetting the rest', async () => {
    const first = await prepare(['https://shop.localhost']);
    expect(await settings()).toEqual({ profile: { content_settings: { exceptions: { auto_select_certificate: { 'https://shop.localhost:443,*': { setting: { filters: [{ ISSUER: { CN: 'Kessai development customers' } }] } } } } } } });
    expect(await prepare(['https://shop.localhost:8443'])).toEqual(first);
    expect(JSON.stringify(await settings())).toContain('https://shop.localhost:8443,*');
  });

  test('the client certificate\'s name is an opaque number, the same at every start', async () => {
    const [first, second] = [await ensureBrowserCertificate({ pki }), await ensureBrowserCertificate({ pki })];
    expect(first).toEqual(second);
    expect(parseCertificate(first.chain[0]!).commonName).toMatch(/^\d{16}$/);
    expect(await encodePkcs12(first, 'Kessai', 'secret')).toBeInstanceOf(Uint8Array);
  });

  test.each(['http://shop.localhost', 'https://shop.localhost/', 'shop.localhost'])('%s is not an origin to send a certificate to', async (origin) => {
    await expect(prepare([origin])).rejects.toThrow();
  });
});

describe.skipIf(!existsSync(CHROMIUM))('Chromium with this profile', () => {
  let server: Server;
  let context: BrowserContext;
  let origin: string;
  let profile: BrowserProfile;

  beforeAll(async () => {
    const { web } = pki.shops.get('shop.localhost')!;
    const verifier = createCertificateVerifier({ anchors: [pki.root.certificate], now: Date.now });
    server = createServer({ key: web.keyPem, cert: web.chainPem, ca: pki.root.pem, requestCert: true, rejectUnauthorized: true, minVersion: 'TLSv1.3' }, (request, response) => {
      const { socket } = request;
      if (!(socket instanceof TLSSocket)) throw new Error('not TLS');
      const leaf = socket.getPeerCertificate(true);
      verifier.verifyChain([new Uint8Array(leaf.raw), new Uint8Array(leaf.issuerCertificate.raw)], 'customer-browser').then(
        ({ commonName }) => response.end(JSON.stringify({ commonName, protocol: socket.getProtocol() })),
        (error: unknown) => response.end(String(error)),
      );
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    origin = `https://shop.localhost:${(server.address() as AddressInfo).port}`;
    const userDataDir = join(folder, 'chromium');
    profile = await prepareBrowserProfile({ homeFolder: join(folder, 'chromium-home'), userDataDir, pki, clientCertificateFor: [origin] });
    context = await chromium.launchPersistentContext(userDataDir, {
      executablePath: CHROMIUM, headless: true, env: { ...process.env, ...profile.environment },
      args: ['--no-sandbox', '--disable-background-networking', '--disable-component-update', '--disable-sync', '--disable-quic'],
    });
  });

  afterAll(async () => {
    await context.close();
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });

  test('opens a page over mutual TLS 1.3: it trusts the server and presents the customer\'s certificate', async () => {
    const page = await context.newPage();
    await page.goto(origin);
    expect(JSON.parse(await page.innerText('body'))).toEqual({ commonName: profile.commonName, protocol: 'TLSv1.3' });
  });

  test('does not trust a server whose certificate comes from the settlement\'s own root', async () => {
    const { peer } = pki.application;
    const impostor = createServer({ key: peer.keyPem, cert: peer.chainPem }, (_, response) => response.end('impostor'));
    await new Promise<void>((resolve) => impostor.listen(0, '127.0.0.1', resolve));
    const page = await context.newPage();
    await expect(page.goto(`https://settlement.localhost:${(impostor.address() as AddressInfo).port}`)).rejects.toThrow('ERR_CERT_AUTHORITY_INVALID');
    impostor.closeAllConnections();
    await new Promise((resolve) => impostor.close(resolve));
  });
});
