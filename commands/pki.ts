/** pki: makes or renews the keys and certificates of the development world, and shows who has which. */
import { randomBytes } from 'node:crypto';
import { join, relative, resolve } from 'node:path';
import { Command } from 'commander';
import { type ParsedCertificate, parseCertificate } from '#protocol/certificate-parse.ts';
import { certificateThumbprint, extendedKeyUsages, type Role, ROLES } from '#protocol/certificates.ts';
import { encodePkcs12 } from '#world/pki-pkcs12.ts';
import { writeWhole } from '#world/pki-store.ts';
import { ensureBrowserCertificate, ensurePki, type Identity, type Pki, readShops } from '#world/pki.ts';
import { EXIT, runCommand } from './run-command.ts';

const DEFAULT_SHOP = { host: 'shop.localhost', organization: 'Hanamaru Books', origins: ['https://shop.localhost'] };

interface PkiOptions {
  readonly folder: string;
  readonly json?: true;
  readonly pkcs12?: string;
}

interface Row {
  readonly holder: string;
  readonly role: string;
  readonly commonName: string;
  readonly organization: string | undefined;
  readonly origins: readonly string[];
  readonly dnsNames: readonly string[];
  readonly notAfter: string;
  readonly thumbprint: string;
  readonly file: string;
}

function commandLine(): Command {
  return new Command('pki')
    .description('Makes or renews the keys and certificates of the development world, and shows who has which.')
    .option('--folder <folder>', 'where they are; private to you', 'var/pki')
    .option('--pkcs12 <file>', "also write the demo browser's client certificate, to import it into a browser of your own; its password is printed")
    .option('--json', 'print JSON');
}

async function rowOf(holder: string, der: Uint8Array<ArrayBuffer>, file: string): Promise<Row> {
  const certificate = parseCertificate(der);
  const { commonName, organization, uris, dnsNames, notAfterMs } = certificate;
  return { holder, role: roleOf(certificate), commonName, organization, origins: uris, dnsNames, notAfter: new Date(notAfterMs).toISOString(), thumbprint: await certificateThumbprint(der), file: relative('', file) };
}

function roleOf({ isAuthority, extendedKeyUsages: usages }: ParsedCertificate): string {
  const roles = Object.keys(ROLES) as Role[];
  if (!isAuthority) return roles.find((role) => [...extendedKeyUsages(role)].sort().join() === [...usages].sort().join()) ?? 'unknown';
  // The web root's usage is TLS's own: an intermediate has it only for the sake of its servers' certificates.
  const given = roles.filter((role) => role !== 'web-server' && usages.includes(ROLES[role]));
  return given.length === 0 ? 'root' : `may give ${given.join(', ')}`;
}

async function rowsOf(pki: Pki, browser: Identity): Promise<Row[]> {
  const { application, information, security, operator, shops } = pki;
  const held: [holder: string, identity: Identity][] = [
    ...Object.entries(application).map(([use, identity]): [string, Identity] => [`application ${use}`, identity]),
    ...Object.entries(information).map(([use, identity]): [string, Identity] => [`information ${use}`, identity]),
    ['security peer', security.peer],
    ['operator signing', operator.signing],
    ...[...shops].flatMap(([host, shop]) => Object.entries(shop).map(([use, identity]): [string, Identity] => [`${host} ${use}`, identity as Identity])),
    ['browser demo', browser],
  ];
  const { shops: shopsIssuer, servers: serversIssuer } = pki.intermediates;
  return await Promise.all([
    rowOf('root', pki.root.certificate, pki.root.file),
    rowOf('web root', pki.webRoot.certificate, pki.webRoot.file),
    rowOf('issuer of shops', shopsIssuer, join(pki.folder, 'ca/shops.pem')),
    rowOf('issuer of servers', serversIssuer, join(pki.folder, 'ca/servers.pem')),
    ...held.flatMap(([holder, { chain: [leaf], file }]) => (leaf === undefined ? [] : [rowOf(holder, leaf, file)])),
  ]);
}

function encodeRow({ holder, role, commonName, organization, origins, notAfter, thumbprint, file }: Row): string {
  const name = [commonName, ...(organization === undefined ? [] : [`"${organization}"`]), ...origins].join(' ');
  return `${holder}: ${role}\n  ${name}\n  until ${notAfter.slice(0, 10)}, x5t#S256 ${thumbprint}, ${file}\n`;
}

async function showPki({ folder, json, pkcs12 }: PkiOptions): Promise<void> {
  const known = await readShops(folder);
  const pki = await ensurePki({ folder: resolve(folder), shops: known.length === 0 ? [DEFAULT_SHOP] : known });
  const browser = await ensureBrowserCertificate({ pki });
  const rows = await rowsOf(pki, browser);
  process.stdout.write(json === true ? `${JSON.stringify(rows, undefined, 2)}\n` : rows.map(encodeRow).join(''));
  if (pkcs12 === undefined) return;
  const password = randomBytes(9).toString('base64url');
  await writeWhole(pkcs12, await encodePkcs12(browser, 'Kessai', password), 'replace');
  process.stderr.write(`${pkcs12}: password ${password}\n`);
}

process.exitCode = await runCommand(commandLine(), async (options: PkiOptions) => {
  await showPki(options);
  return EXIT.done;
});
