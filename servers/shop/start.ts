/** Puts a shop together and starts it: configuration, store, pages, edge. */
import { strict as assert } from 'node:assert';
import * as v from 'valibot';
import type { CertificateVerifier } from '#protocol/certificates.ts';
import { shopIdSchema } from '#protocol/messages/fields.ts';
import { shopStatement } from '#protocol/messages/shop-statement.ts';
import { platformRandom } from '#protocol/nonce.ts';
import { createSigner, type SignatureTally } from '#protocol/signed.ts';
import type { Journal } from '#protocol/step.ts';
import { databaseUrlSchema } from '../shared/config.ts';
import { openDatabase } from '../shared/database.ts';
import { createEdge } from '../shared/edge.ts';
import { readTlsIdentity } from '../shared/identity-file.ts';
import { createJournal, createLog, type Log } from '../shared/log.ts';
import { createTally, epochMs, type RunningServer } from '../shared/process.ts';
import { portOf, publicEdgeSchema, readTrust, trustSchema } from '../shared/settlement-config.ts';
import { loadSigningIdentity, type SigningIdentity } from '../shared/signing-identity.ts';
import { createTlsServer } from '../shared/tls.ts';
import { readAsset, readShopAssets } from './assets.ts';
import { productsOf, PROFILES } from './catalogue.ts';
import { SHOP_MIGRATIONS } from './migrations.ts';
import type { PageShop } from './pages/layout.ts';
import { createPostgresShopStore, type ShopSchema } from './postgres-store.ts';
import { addShopRoutes, IC_CARD_PATH, PAGE_POLICY } from './routes.ts';
import { createShopService } from './service.ts';
import type { ShopStore } from './store.ts';

const pathSchema = v.pipe(v.string(), v.minLength(1));

export const shopConfigSchema = v.strictObject({
  /** One of the catalogue's shops; as registered with the settlement institution. */
  shopId: shopIdSchema,
  public: publicEdgeSchema,
  /** K_SHOP,S with its chain, PEM. Its certificate gives the legal name. */
  signing: pathSchema,
  /** The settlement institution's root vouches for messages and for callers. */
  trust: trustSchema,
  databaseUrl: databaseUrlSchema,
  /** The built interface program (`ic-card.js`). */
  icCard: pathSchema,
  /** The oldest extension that the shop works with. */
  minimumVersion: shopStatement.schema.entries.minimumVersion,
  /** Where a customer gets the extension; null: the pages give no address. */
  extensionUrl: v.nullable(v.pipe(v.string(), v.url(), v.startsWith('https://'))),
});
export type ShopConfig = v.InferOutput<typeof shopConfigSchema>;

const FORGET_EVERY_MS = 3_600_000;
/** An estimate that nobody asked a bill for in this time is not an order. */
const FORGET_AFTER_MS = 24 * 3_600_000;

/** Where a shop writes: by default the log to stderr, journal and signature counts to stdout. */
export interface ShopSurroundings {
  readonly log: Log;
  readonly journal: Journal;
  readonly tally: SignatureTally;
}

/** Listens when it resolves; throws an Error that says what is wrong with the configuration or its files. */
export async function startShop(config: ShopConfig, surroundings: Partial<ShopSurroundings> = {}): Promise<RunningServer> {
  const { shopId, minimumVersion, public: edge } = config;
  const profile = PROFILES.find((candidate) => candidate.shopId === shopId);
  if (profile === undefined) throw new Error(`shopId: the catalogue has no shop ${shopId}`);
  const { log = createLog({ name: 'shop' }), journal = createJournal(), tally = createTally('shop') } = surroundings;
  const [trust, web, identity] = await Promise.all([readTrust(config.trust), readTlsIdentity(edge.identity), loadSigningIdentity(config.signing)]);
  const { verifier } = trust;
  const legalName = await legalNameOf(identity, edge.origin, verifier);
  const assets = readShopAssets(profile);
  const icCard = readAsset(config.icCard, IC_CARD_PATH);
  const database = await openDatabase<ShopSchema>({ url: config.databaseUrl, migrations: SHOP_MIGRATIONS, log });
  const store = createPostgresShopStore(database);
  const signer = createSigner(identity, tally);
  const service = createShopService({
    shopId, origin: edge.origin, currency: profile.currency, products: productsOf(profile), minimumVersion, store, signer, verifier,
    journal, tally, now: epochMs, random: platformRandom,
  });
  const page: PageShop = { profile, legalName, origin: edge.origin, asset: assetOf(assets), icCard, extensionUrl: config.extensionUrl };
  const app = createEdge({ name: 'shop', log, contentSecurityPolicy: PAGE_POLICY, routes: (router) => addShopRoutes(router, { service, page, assets, icCard, signer, log, now: epochMs }) });
  const acceptPeer = trust.accept('customer-browser', 'application-server');
  const server = createTlsServer(app, { ...web, trustAnchors: [trust.root], clientCertificates: edge.clientCertificates, acceptPeer, log });
  await server.listen({ port: portOf(edge.origin) });
  const stopForgetting = forgetRegularly(store, log);
  return {
    addresses: { shop: edge.origin },
    close: async () => {
      stopForgetting();
      await server.close();
      await database.close();
    },
  };
}

/** A shop whose certificate does not fit would be refused by every customer: better it does not start. */
async function legalNameOf({ chain }: SigningIdentity, origin: string, verifier: CertificateVerifier): Promise<string> {
  const { organization, origins } = await verifier.verifyChain(chain, 'shop');
  if (!origins.includes(origin)) throw new Error(`signing: the certificate is for ${origins.join(', ')}, not for ${origin}`);
  assert(organization !== undefined, 'a shop certificate has a legal name');
  return organization;
}

function assetOf(assets: ReturnType<typeof readShopAssets>): PageShop['asset'] {
  return (name) => {
    const asset = assets.get(name);
    assert(asset !== undefined, `no file ${name}`);
    return asset;
  };
}

function forgetRegularly(store: ShopStore, log: Log): () => void {
  const forget = (): void => {
    store.forgetUnbilled(Math.floor(epochMs()) - FORGET_AFTER_MS).then(
      (count) => log.debug({ count }, 'orders without a bill forgotten'),
      (error: unknown) => log.warn({ err: error }, 'orders without a bill not forgotten'),
    );
  };
  const timer = setInterval(forget, FORGET_EVERY_MS).unref();
  return () => clearInterval(timer);
}
