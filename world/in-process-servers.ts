/** The shop and the settlement's three servers in one process: the real services, their stores in memory. For tests and simulation. */
import { parseHex } from '#protocol/bytes.ts';
import { platformRandom } from '#protocol/nonce.ts';
import type { SignatureTally, Signer } from '#protocol/signed.ts';
import type { Journal } from '#protocol/step.ts';
import type { Party } from '#protocol/steps.ts';
import { createMemoryApplicationStore } from '#servers/application/memory-store.ts';
import { createOperatingService, type OperatingService } from '#servers/application/operating.ts';
import type { ApplicationParts } from '#servers/application/parts.ts';
import { createApplicationService, type ApplicationService } from '#servers/application/service.ts';
import type { ApplicationStore } from '#servers/application/store.ts';
import { createMemoryInformationStore } from '#servers/information/memory-store.ts';
import { createInformationService, type InformationServer } from '#servers/information/service.ts';
import { diversifyKey } from '#servers/security/desfire/diversification.ts';
import { diversificationInput, factoryKey, FACTORY_KEY_VERSION, FIRST_KEY_VERSION, unknownVersion, type CardKeyStore } from '#servers/security/key-store/key-store.ts';
import { createMemorySecurityStore } from '#servers/security/memory-store.ts';
import type { SessionContext } from '#servers/security/parts.ts';
import { createSecurityService } from '#servers/security/service.ts';
import { CardSessions } from '#servers/security/sessions.ts';
import type { SecurityService } from '#servers/shared/apis/security.ts';
import { createMemoryShopStore } from '#servers/shop/memory-store.ts';
import { createShopService, type ShopService } from '#servers/shop/service.ts';
import type { ShopStore } from '#servers/shop/store.ts';
import type { InProcessPki } from './in-process-pki.ts';

export const PRODUCTS = [
  { productId: 'kokoro', name: 'Kokoro, by Natsume Soseki', unitMinor: 900n },
  { productId: 'sencha', name: 'Sencha from Uji, 50 g', unitMinor: 600n },
  { productId: 'ink', name: 'A stick of ink', unitMinor: 20_000n },
];

export interface InProcessShop {
  readonly shopId: string;
  readonly origin: string;
  readonly signer: Signer;
  readonly service: ShopService;
  readonly store: ShopStore;
}

export interface InProcessServers {
  readonly information: InformationServer;
  readonly security: SecurityService;
  /** Version of the master keys that cards are issued with now; cards of an older one are re-keyed at their next contact. */
  readonly keyVersion: { current: number };
  readonly keyStore: CardKeyStore;
  /** More than any test loads, but for those about the limits. */
  readonly loadLimits: { orderMinor: bigint; dayMinor: bigint };
  readonly application: ApplicationService;
  readonly operating: OperatingService;
  readonly applicationParts: ApplicationParts;
  readonly store: ApplicationStore;
  /** Every payment, load and issue that ever had an INTENT. */
  readonly operationIds: readonly string[];
  /** Another application server process on the same store: nothing of its memory is left. */
  restartApplication(): ApplicationService;
}

export interface Surroundings {
  readonly pki: InProcessPki;
  readonly now: () => number;
  readonly journal: Journal;
  readonly tallyOf: (party: Party) => SignatureTally;
}

export async function createInProcessServers({ pki, now, journal, tallyOf }: Surroundings): Promise<InProcessServers> {
  const random = platformRandom;
  const keyVersion = { current: 1 };
  const keyStore = testKeyStore(keyVersion);
  const loadLimits = { orderMinor: 100_000n, dayMinor: 10_000_000n };
  const newId = (): string => crypto.randomUUID();
  const verifier = pki.verifier(now);
  const information = createInformationService({ store: createMemoryInformationStore(), customersAuthority: pki.customersAuthority, verifier, now, random, newId });
  const security = createSecurityService({
    store: createMemorySecurityStore(),
    keyStore,
    sessions: new CardSessions<SessionContext>({ now }),
    information,
    verifier: pki.verifier(now),
    loadLimits,
    journal,
    tally: tallyOf('security'),
    now,
    random,
  });
  const operationIds: string[] = [];
  const store = remembering(createMemoryApplicationStore(), operationIds);
  const signer = await pki.signer({ role: 'settlement', commonName: 'settlement' }, tallyOf('application'));
  const applicationParts: ApplicationParts = { store, security, information, verifier, signer, journal, tally: tallyOf('application'), now, random, newId, onNotice: () => undefined };
  return {
    information,
    security,
    keyVersion,
    keyStore,
    loadLimits,
    application: createApplicationService(applicationParts),
    operating: createOperatingService(applicationParts),
    applicationParts,
    store,
    operationIds,
    restartApplication: () => createApplicationService(applicationParts),
  };
}

/** A shop that an operator has admitted. */
export async function openInProcessShop(names: { shopId: string; origin: string; legalName: string }, { information }: InProcessServers, { pki, now, journal, tallyOf }: Surroundings): Promise<InProcessShop> {
  const { shopId, origin, legalName } = names;
  const signer = await pki.signer({ role: 'shop', commonName: shopId, organization: legalName, origins: [origin] }, tallyOf('shop'));
  await information.registerShop(shopId, signer.chain);
  const store = createMemoryShopStore();
  const service = createShopService({
    shopId, origin, currency: 'JPY', products: PRODUCTS, minimumVersion: '0.1.0', store, signer, verifier: pki.verifier(now), journal, tally: tallyOf('shop'), now, random: platformRandom,
  });
  return { shopId, origin, signer, service, store };
}

function remembering(store: ApplicationStore, operationIds: string[]): ApplicationStore {
  return {
    ...store,
    writeIntent: async (intent) => {
      const written = await store.writeIntent(intent);
      if (written === 'written') operationIds.push(intent.paymentId);
      return written;
    },
  };
}

/** Fixed master keys: this world protects nothing. */
function testKeyStore(keyVersion: { readonly current: number }): CardKeyStore {
  const masterKey = (version: number) => parseHex(`00112233445566778899AABBCCDDEE${version.toString(16).padStart(2, '0')}`);
  return {
    currentVersion: () => Promise.resolve(keyVersion.current),
    deriveCardKey: (uid, purpose, version) => {
      const zero = version === FACTORY_KEY_VERSION ? factoryKey(purpose) : undefined;
      if (zero === undefined && (version < FIRST_KEY_VERSION || version > keyVersion.current)) return Promise.reject(unknownVersion(purpose, version));
      return Promise.resolve(zero ?? diversifyKey(masterKey(version), diversificationInput(uid, purpose)));
    },
  };
}
