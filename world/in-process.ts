/** The whole payment in one process, without network or browser: real flows, services and signatures, stores in memory, the simulated chip. For tests and simulation. */
import { createGatedCard } from '#bridge/gated-card.ts';
import { parseHex } from '#protocol/bytes.ts';
import { openContact } from '#protocol/card-contact.ts';
import { encodeCertificateRequest, createSigningKeyPair } from '#protocol/certificate-request.ts';
import { certificateThumbprint, type CertificateVerifier } from '#protocol/certificates.ts';
import { issue } from '#protocol/issue.ts';
import { load } from '#protocol/load.ts';
import { platformRandom } from '#protocol/nonce.ts';
import type { Customer, Outcome, PaymentPorts, Settlement, Shop } from '#protocol/parties.ts';
import { createSigner, type SignatureTally, type Signer } from '#protocol/signed.ts';
import { createStep, type JournalEntry } from '#protocol/step.ts';
import type { Party } from '#protocol/steps.ts';
import { createMemoryApplicationStore } from '#servers/application/memory-store.ts';
import { createOperatingService } from '#servers/application/operating.ts';
import { sendDueNotices } from '#servers/application/outbox.ts';
import type { ApplicationParts } from '#servers/application/parts.ts';
import { createApplicationService } from '#servers/application/service.ts';
import type { ApplicationStore } from '#servers/application/store.ts';
import { createMemoryInformationStore } from '#servers/information/memory-store.ts';
import { createInformationService } from '#servers/information/service.ts';
import { diversifyKey } from '#servers/security/desfire/diversification.ts';
import { diversificationInput, type CardKeyStore } from '#servers/security/key-store.ts';
import { createMemorySecurityStore } from '#servers/security/memory-store.ts';
import type { SecurityParts, SessionContext } from '#servers/security/parts.ts';
import { createSecurityService } from '#servers/security/service.ts';
import { CardSessions } from '#servers/security/sessions.ts';
import { createMemoryShopStore } from '#servers/shop/memory-store.ts';
import { createShopService, type ShopService } from '#servers/shop/service.ts';
import { createInProcessCard, type InProcessCard } from './in-process-card.ts';
import { createInProcessPki, type InProcessPki } from './in-process-pki.ts';

export interface Tally {
  readonly party: Party;
  readonly kind: 'made' | 'verified';
  readonly typ: string;
}

export interface InProcessWorld {
  readonly pki: InProcessPki;
  readonly journal: JournalEntry[];
  readonly tallies: Tally[];
  /** Epoch milliseconds; the settlement's and the shop's clock. */
  readonly clock: { now: number };
  readonly store: ApplicationStore;
  readonly application: ReturnType<typeof createApplicationService>;
  readonly security: ReturnType<typeof createSecurityService>;
  readonly shop: ShopService;
  readonly applicationParts: ApplicationParts;
  /** The customer's browser: key and trust. */
  readonly customer: { readonly signer: Signer; readonly verifier: CertificateVerifier };
  readonly card: InProcessCard;
  /** Another card of the same kind, not issued. */
  newCard(uid: string): InProcessCard;
  issueAndLoad(card: InProcessCard, amountMinor: bigint): Promise<{ enrolmentCode: string; customerId: string }>;
  load(card: InProcessCard, amountMinor: bigint): Promise<void>;
  enrol(code: string): Promise<Signer>;
  /** Sends what is owed to the shop now. */
  deliverNotices(): Promise<number>;
  /** Everything that pay() needs, with `changes` over it. */
  ports(changes?: Partial<PaymentPorts>, customer?: Partial<Customer>): PaymentPorts & { readonly outcomes: Outcome[] };
  settlement(): Settlement;
  shopPort(): Shop;
}

export const SHOP_ORIGIN = 'https://shop.localhost:8443';
export const ORDER = { lines: [{ productId: 'kokoro', quantity: 1 }, { productId: 'sencha', quantity: 2 }] };
/** Of ORDER. */
export const ORDER_TOTAL_MINOR = 2_100n;

const PRODUCTS = [
  { productId: 'kokoro', name: 'Kokoro, by Natsume Soseki', unitMinor: 900n },
  { productId: 'sencha', name: 'Sencha from Uji, 50 g', unitMinor: 600n },
  { productId: 'ink', name: 'A stick of ink', unitMinor: 20_000n },
];

export async function createInProcessWorld(options: { balanceMinor?: bigint } = {}): Promise<InProcessWorld> {
  const clock = { now: Date.UTC(2026, 10, 22, 12) };
  const journal: JournalEntry[] = [];
  const tallies: Tally[] = [];
  const write = (entry: JournalEntry): void => void journal.push(entry);
  const tallyOf = (party: Party): SignatureTally => ({ kind, typ }) => void tallies.push({ party, kind, typ });
  const pki = await createInProcessPki(clock.now);
  const now = (): number => clock.now;
  const newId = (): string => crypto.randomUUID();
  const verifier = pki.verifier(now);

  const information = createInformationService({ store: createMemoryInformationStore(), customersAuthority: pki.customersAuthority, verifier, now, random: platformRandom, newId });
  const securityParts: SecurityParts = {
    store: createMemorySecurityStore(), keyStore: testKeyStore, sessions: new CardSessions<SessionContext>({ now }), information, verifier: pki.verifier(now), journal: write, tally: tallyOf('security'), now, random: platformRandom,
  };
  const security = createSecurityService(securityParts);
  const store = createMemoryApplicationStore();
  const applicationParts: ApplicationParts = {
    store, security, information, verifier, signer: await pki.signer({ role: 'settlement', commonName: 'settlement' }, tallyOf('application')), journal: write, tally: tallyOf('application'), now, random: platformRandom, newId, onNotice: () => undefined,
  };
  const application = createApplicationService(applicationParts);
  const operating = createOperatingService(applicationParts);
  const shopSigner = await pki.signer({ role: 'shop', commonName: 'hanamaru', organization: 'Hanamaru Books', origins: [SHOP_ORIGIN] }, tallyOf('shop'));
  await information.registerShop('hanamaru', shopSigner.chain);
  const shop = createShopService({
    shopId: 'hanamaru', origin: SHOP_ORIGIN, currency: 'JPY', products: PRODUCTS, minimumVersion: '0.1.0', store: createMemoryShopStore(), signer: shopSigner, verifier: pki.verifier(now), journal: write, tally: tallyOf('shop'), now, random: platformRandom,
  });
  const operator = { signer: await pki.signer({ role: 'operator', commonName: 'operator' }, () => undefined), verifier: pki.verifier(null) };
  const operatorPorts = { operating, identity: operator, now, random: platformRandom };

  const contactOf = async (card: InProcessCard, keyNumber: 0 | 1) => {
    const channel = card.open();
    const signal = new AbortController().signal;
    const operatorCard = { transmit: (commands: Parameters<typeof channel.transmit>[0]) => channel.transmit(commands, signal) };
    const contact = await openContact({ readerName: '', onLost: () => undefined, transmit: (_phase, commands) => operatorCard.transmit(commands), debit: (commands) => operatorCard.transmit(commands), close: () => channel.close() }, keyNumber);
    return { contact, operatorCard };
  };
  const loadCard = async (card: InProcessCard, amountMinor: bigint): Promise<void> => {
    const { contact, operatorCard } = await contactOf(card, 1);
    await load({ currency: 'JPY', amountMinor }, contact, operatorCard, operatorPorts);
  };

  const enrol = async (code: string): Promise<Signer> => {
    const keys = await createSigningKeyPair();
    const chain = await information.enrol(code, await encodeCertificateRequest(keys));
    const [leaf] = chain;
    if (leaf === undefined) throw new Error('no certificate');
    return createSigner({ privateKey: keys.privateKey, chain, thumbprint: await certificateThumbprint(leaf) }, tallyOf('extension'));
  };

  const issueAndLoad = async (card: InProcessCard, amountMinor: bigint) => {
    const { contact, operatorCard } = await contactOf(card, 0);
    const report = await issue({ currency: 'JPY', limitMinor: 50_000n, customerName: 'Hanako' }, contact, operatorCard, operatorPorts);
    if (amountMinor > 0n) await loadCard(card, amountMinor);
    return report;
  };

  const newCard = (uid: string): InProcessCard => createInProcessCard({ uid, journal: write });
  const card = newCard('04A1B2C3D4E5F6');
  const { enrolmentCode } = await issueAndLoad(card, options.balanceMinor ?? 10_000n);
  const customer = { signer: await enrol(enrolmentCode), verifier: pki.verifier(null) };

  const settlement = (): Settlement => ({
    connect: () => Promise.resolve(),
    requestPayment: (request) => application.requestPayment(request),
    requestReading: (request) => application.requestReading(request),
    answerCard: (paymentId, answer) => application.answerCard(paymentId, answer),
    complete: (paymentId, message) => application.complete(paymentId, message),
  });
  const shopPort = (): Shop => ({ origin: SHOP_ORIGIN, introduce: () => shop.introduce(), decide: (message) => shop.decide(message), requestBill: (message) => shop.requestBill(message) });

  return {
    pki, journal, tallies, clock, store, application, security, shop, applicationParts, customer, card, newCard, issueAndLoad, load: loadCard, enrol, settlement, shopPort,
    deliverNotices: () => sendDueNotices({ store, deliver: (_shopId, notice) => shop.receiveNotice(notice), verifier, tally: tallyOf('application'), now, onFailure: () => undefined }),
    ports: (changes = {}, answers = {}) => {
      const outcomes: Outcome[] = [];
      return {
        shop: shopPort(),
        settlement: settlement(),
        reader: { awaitCard: () => Promise.resolve(createGatedCard(card.open(), new AbortController().signal)) },
        customer: { ...agreeingCustomer(outcomes), ...answers },
        identity: { ...customer, tally: tallyOf('extension') },
        step: createStep({ party: 'extension', journal: write, now: () => performance.timeOrigin + performance.now() }),
        now,
        random: platformRandom,
        outcomes,
        ...changes,
      };
    },
  };
}

/** Says yes to everything. */
function agreeingCustomer(outcomes: Outcome[]): Customer {
  return {
    agreeToEstimate: () => Promise.resolve(true),
    showBill: () => undefined,
    agreeToBill: () => Promise.resolve(true),
    askForCard: () => undefined,
    showProgress: () => undefined,
    agreeToDebit: (view) => Promise.resolve({ agreed: true, shown: `Pay ${view.bill.amountMinor}` }),
    showOutcome: (outcome) => void outcomes.push(outcome),
  };
}

/** Fixed master keys: this world protects nothing. */
const testKeyStore: CardKeyStore = {
  currentVersion: () => Promise.resolve(1),
  deriveCardKey: (uid, purpose, version) => Promise.resolve(diversifyKey(parseHex('00112233445566778899AABBCCDDEE0' + version.toString(16)), diversificationInput(uid, purpose))),
};
