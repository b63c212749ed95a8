import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { connect, createServer } from 'node:tls';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { equalBytes } from '#protocol/bytes.ts';
import { parseCertificate } from '#protocol/certificate-parse.ts';
import { createCertificateVerifier, type Role } from '#protocol/certificates.ts';
import { DEFAULT_HOSTS, ensureBrowserCertificate, ensurePki, type Identity, type Pki, readShops, type ShopParameters } from './pki.ts';

const NOW_MS = Date.UTC(2026, 10, 22);
const DAY_MS = 86_400_000;
const HANAMARU = { host: 'shop.localhost', organization: 'Hanamaru Books', origins: ['https://shop.localhost:8443'] };
const TEAS = { host: 'teas.localhost', organization: 'Teas', origins: ['https://teas.localhost'] };

let folder: string;

beforeEach(async () => { folder = join(await mkdtemp(join(tmpdir(), 'kessai-pki-')), 'pki'); });
afterEach(() => rm(join(folder, '..'), { recursive: true, force: true }));

const start = (nowMs = NOW_MS, shops: readonly ShopParameters[] = [HANAMARU]): Promise<Pki> => ensurePki({ folder, shops, now: () => nowMs });

function identities({ application, information, security, operator, shops }: Pki): Record<string, Identity> {
  const shop = shops.get('shop.localhost');
  if (shop === undefined) throw new Error('no shop');
  return { 'application.web': application.web, 'application.peer': application.peer, 'application.signing': application.signing, 'information.web': information.web, 'information.peer': information.peer, 'customersIssuer': information.customersIssuer, 'security.peer': security.peer, 'operator.signing': operator.signing, 'shop.web': shop.web, 'shop.peer': shop.peer, 'shop.signing': shop.signing };
}

async function filesOf(path: string): Promise<string[]> {
  return (await readdir(path, { recursive: true, withFileTypes: true })).filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
}

describe('a development PKI', () => {
  test('gives every party certificates that its counterparts accept, and only those', async () => {
    const pki = await start();
    const own = createCertificateVerifier({ anchors: [pki.root.certificate], now: () => NOW_MS });
    const web = createCertificateVerifier({ anchors: [pki.webRoot.certificate], now: () => NOW_MS });
    const roles: Record<string, Role> = { 'application.peer': 'application-server', 'application.signing': 'settlement', 'information.peer': 'information-server', 'security.peer': 'security-server', 'operator.signing': 'operator', 'shop.peer': 'shop-server', 'shop.signing': 'shop' };
    const all = identities(pki);
    for (const [name, role] of Object.entries(roles)) {
      expect(await own.verifyChain(all[name]!.chain, role)).toMatchObject({ role });
      await expect(web.verifyChain(all[name]!.chain, role)).rejects.toMatchObject({ code: 'message/certificate' });
    }
    for (const name of ['application.web', 'information.web', 'shop.web']) {
      expect(await web.verifyChain(all[name]!.chain, 'web-server')).toMatchObject({ role: 'web-server' });
      await expect(own.verifyChain(all[name]!.chain, 'web-server')).rejects.toMatchObject({ code: 'message/certificate' });
    }
    expect(await own.verifyChain(all['shop.signing']!.chain, 'shop')).toMatchObject({ organization: 'Hanamaru Books', origins: HANAMARU.origins });
    expect(await own.verifyChain((await ensureBrowserCertificate({ pki, now: () => NOW_MS })).chain, 'customer-browser')).toMatchObject({ origins: [] });
  });

  test('is its owner\'s only', async () => {
    expect(await readShops(folder)).toEqual([]);
    const pki = await start();
    expect(pki.root).not.toHaveProperty('privateKey');
    expect((await stat(folder)).mode & 0o777).toBe(0o700);
    for (const file of await filesOf(folder)) expect([file, (await stat(file)).mode & 0o077]).toEqual([file, 0]);
    expect(await readFile(pki.root.file, 'utf8')).not.toContain('PRIVATE');
  });

  test('is the same at the next start', async () => {
    const first = await start();
    expect(identities(await start(NOW_MS + DAY_MS))).toEqual(identities(first));
  });

  test('made by several starts at once is one', async () => {
    const all = await Promise.all([start(), start(), start(), start()]);
    for (const pki of all) expect(identities(pki)).toEqual(identities(all[0]));
    expect((await filesOf(folder)).filter((file) => file.endsWith('.tmp'))).toEqual([]);
  });

  test('that lost files is completed', async () => {
    const first = identities(await start());
    await rm(join(folder, 'security'), { recursive: true });
    const second = identities(await start());
    expect(second['security.peer']!.keyPem).not.toBe(first['security.peer']!.keyPem);
    expect({ ...second, 'security.peer': undefined }).toEqual({ ...first, 'security.peer': undefined });
  });

  test('gets a second shop, and a shop that moved a new certificate for its old key', async () => {
    const first = await start();
    const moved = { ...HANAMARU, origins: ['https://shop.localhost:9443'] };
    const second = await start(NOW_MS, [moved, TEAS]);
    const [before, after] = [first.shops.get('shop.localhost')!, second.shops.get('shop.localhost')!];
    expect(after.signing.keyPem).toBe(before.signing.keyPem);
    expect(parseCertificate(after.signing.chain[0]!).uris).toEqual(moved.origins);
    expect({ ...after, signing: undefined }).toEqual({ ...before, signing: undefined });
    expect(await readShops(folder)).toEqual([moved, TEAS]);
    expect([...second.shops.keys()]).toEqual(['shop.localhost', 'teas.localhost']);
  });

  test('renews what is near its end, for the same key, and not earlier', async () => {
    const first = await start();
    expect(identities(await start(NOW_MS + 59 * DAY_MS))).toEqual(identities(first));
    const later = await start(NOW_MS + 61 * DAY_MS);
    expect(later.application.signing.keyPem).toBe(first.application.signing.keyPem);
    expect(later.application.signing.chainPem).not.toBe(first.application.signing.chainPem);
    expect(later.information.customersIssuer).toEqual(first.information.customersIssuer);
  });

  test('renews its roots for the same keys, so that old leaves stay good', async () => {
    const first = await start();
    const laterMs = NOW_MS + 3300 * DAY_MS;
    const later = await start(laterMs);
    expect(equalBytes(later.root.certificate, first.root.certificate)).toBe(false);
    const verifier = createCertificateVerifier({ anchors: [later.root.certificate], now: null });
    expect(await verifier.verifyChain(first.application.signing.chain, 'settlement')).toMatchObject({ role: 'settlement' });
    expect(await createCertificateVerifier({ anchors: [later.root.certificate], now: () => laterMs }).verifyChain(later.application.signing.chain, 'settlement')).toMatchObject({ role: 'settlement' });
  });

  test('whose root was removed is re-issued under the new one', async () => {
    await start();
    await rm(join(folder, 'ca/root.pem'));
    const pki = await start();
    const verifier = createCertificateVerifier({ anchors: [pki.root.certificate], now: () => NOW_MS });
    expect(await verifier.verifyChain(pki.application.signing.chain, 'settlement')).toMatchObject({ role: 'settlement' });
    expect(await verifier.verifyChain((await ensureBrowserCertificate({ pki, now: () => NOW_MS })).chain, 'customer-browser')).toMatchObject({ role: 'customer-browser' });
  });

  test('with a damaged file says which', async () => {
    const pki = await start();
    await writeFile(pki.security.peer.file, 'damaged');
    await expect(start()).rejects.toThrow(pki.security.peer.file);
  });

  test.each(['../shop', 'Shop.localhost', '', 'a/b', '.hidden', 'a..b'])('refuses the host name %j', async (host) => {
    await expect(start(NOW_MS, [{ ...HANAMARU, host }])).rejects.toThrow(RangeError);
  });
});

test('two servers authenticate each other over TLS 1.3 with their peer certificates', async () => {
  const pki = await ensurePki({ folder, shops: [] });
  const options = ({ keyPem, chainPem }: Identity) => ({ key: keyPem, cert: chainPem, ca: pki.root.pem, minVersion: 'TLSv1.3' as const });
  const server = createServer({ ...options(pki.security.peer), requestCert: true, rejectUnauthorized: true }, (socket) => { socket.end(String(socket.getPeerCertificate().subject.CN)); });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const answer = await new Promise((resolve, reject) => {
    const socket = connect({ ...options(pki.application.peer), host: '127.0.0.1', port: (server.address() as AddressInfo).port, servername: DEFAULT_HOSTS.security });
    socket.on('data', (data: Buffer) => resolve(data.toString())).on('error', reject);
  });
  expect(answer).toBe(DEFAULT_HOSTS.application);
  await new Promise((resolve) => server.close(resolve));
});
