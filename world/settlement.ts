/** Which servers a world runs, and with which configuration: four processes, or the settlement's three merged in one. */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { encodePem } from '#protocol/certificate-pem.ts';
import type { Pki } from './pki.ts';
import { readText, writeWhole } from './pki-store.ts';
import type { Ports } from './ports.ts';
import type { Postgres } from './postgres.ts';
import type { ServerPlan } from './server-process.ts';
import type { ShopOfWorld } from './shops.ts';

export type ClientCertificates = 'required' | 'requested' | 'none';

export interface SettlementOptions {
  readonly folder: string;
  readonly pki: Pki;
  readonly ports: Ports;
  readonly postgres: Postgres;
  readonly origins: Origins;
  readonly shops: readonly ShopOfWorld[];
  readonly merged: boolean;
  readonly clientCertificates: ClientCertificates;
}

export interface Origins {
  readonly application: string;
  readonly enrolment: string;
  readonly security: string;
  readonly information: string;
}

export function settlementOrigins(ports: Ports): Origins {
  return {
    application: `https://settlement.localhost:${ports.application}`,
    enrolment: `https://enrol.settlement.localhost:${ports.enrolment}`,
    security: `https://security.settlement.localhost:${ports.security}`,
    information: `https://enrol.settlement.localhost:${ports.information}`,
  };
}

/** Minor units, as a configuration spells them. */
const LOAD_LIMITS = { orderMinor: '100000', dayMinor: '10000000' };

/** In the order in which they must start: each calls only those before it. */
export async function settlementPlans(options: SettlementOptions): Promise<ServerPlan[]> {
  const { folder, pki, postgres, origins, shops, merged, clientCertificates } = options;
  const trust = await trustFiles(folder, pki);
  const information = {
    // A browser that enrols has no certificate yet.
    public: { origin: origins.enrolment, identity: pki.information.web.file, clientCertificates: 'none' },
    customersAuthority: pki.information.customersIssuer.file,
    databaseUrl: postgres.url('kessai_information'),
    shops: shops.map(({ shopId, identities }) => ({ shopId, chain: identities.signing.file })),
  };
  const security = { keyStore: tokenOf(process.env) ?? (await ensureKeyFilePassphrase(keyFileOf(folder))), loadLimits: LOAD_LIMITS, databaseUrl: postgres.url('kessai_security') };
  const application = {
    public: { origin: origins.application, identity: pki.application.web.file, clientCertificates },
    signing: pki.application.signing.file,
    peer: pki.application.peer.file,
    databaseUrl: postgres.url('kessai_application'),
  };
  if (merged) return [{ name: 'settlement', program: 'servers/settlement/main.ts', config: { trust, application, security, information } }];
  return [
    { name: 'information', program: 'servers/information/main.ts', config: { ...information, trust, origin: origins.information, peer: pki.information.peer.file } },
    { name: 'security', program: 'servers/security/main.ts', config: { ...security, trust, origin: origins.security, peer: pki.security.peer.file, informationUrl: origins.information } },
    { name: 'application', program: 'servers/application/main.ts', config: { ...application, trust, securityUrl: origins.security, informationUrl: origins.information } },
  ];
}

/** Where each server finds whom to trust. */
export async function trustFiles(folder: string, pki: Pki): Promise<{ root: string; webRoot: string; intermediates: string }> {
  const intermediates = join(folder, 'pki', 'intermediates.crt');
  await writeWhole(intermediates, Object.values(pki.intermediates).map((der) => encodePem('CERTIFICATE', der)).join(''), 'replace');
  return { root: pki.root.file, webRoot: pki.webRoot.file, intermediates };
}

export interface KeyFile {
  readonly kind: 'file';
  readonly path: string;
  readonly passphraseFile: string;
}

/** The world's own key store. */
export function keyFileOf(folder: string): KeyFile {
  return { kind: 'file', path: join(folder, 'security', 'keys.json'), passphraseFile: join(folder, 'security', 'passphrase') };
}

/** The development world's key store needs a passphrase too; a real one comes from the operator. */
export async function ensureKeyFilePassphrase(keyFile: KeyFile): Promise<KeyFile> {
  if ((await readText(keyFile.passphraseFile)) === undefined) await writeWhole(keyFile.passphraseFile, `${randomBytes(24).toString('base64url')}\n`, 'keep');
  return keyFile;
}

/** Instead: a token, which already holds master keys. The PIN is in KESSAI_PKCS11_PIN_FILE, or the security server takes KESSAI_PKCS11_PIN itself. */
function tokenOf(environment: Readonly<Record<string, string | undefined>>): { kind: 'pkcs11'; module: string; tokenLabel: string; pinFile: string | null } | undefined {
  const { KESSAI_PKCS11_MODULE: module, KESSAI_PKCS11_TOKEN: tokenLabel, KESSAI_PKCS11_PIN_FILE: pinFile } = environment;
  if (module === undefined) return undefined;
  if (tokenLabel === undefined) throw new Error('KESSAI_PKCS11_MODULE is set, KESSAI_PKCS11_TOKEN is not');
  return { kind: 'pkcs11', module, tokenLabel, pinFile: pinFile ?? null };
}
