/** The whole payment in one process, without network or browser: real flows, services and signatures, stores in memory, the simulated chip. For tests and simulation. */
import type { ProfileName } from '#card-firmware-sim/profile.ts';
import { createGatedCard } from '#bridge/gated-card.ts';
import { encodeCertificateRequest, createSigningKeyPair } from '#protocol/certificate-request.ts';
import { certificateThumbprint } from '#protocol/certificates.ts';
import { asFailure } from '#protocol/failure.ts';
import { failureNotice } from '#protocol/messages/failure-notice.ts';
import { platformRandom } from '#protocol/nonce.ts';
import type { Customer, Identity, Outcome, PaymentPorts, Reader, Settlement, Shop } from '#protocol/parties.ts';
import { createSigner, digestOf, jwsSchema, signMessage, type Jws, type SignatureTally, type Signer } from '#protocol/signed.ts';
import { createStep, type JournalEntry } from '#protocol/step.ts';
import type { Party } from '#protocol/steps.ts';
import { sendDueNotices } from '#servers/application/outbox.ts';
import type { ApplicationService } from '#servers/application/service.ts';
import * as v from 'valibot';
import { createInProcessCard, type InProcessCard } from './in-process-card.ts';
import { createWorldClock, type WorldClock } from './in-process-clock.ts';
import { createOperator, type InProcessOperator } from './in-process-operator.ts';
import { createInProcessPki, type InProcessPki } from './in-process-pki.ts';
import { createInProcessServers, openInProcessShop, type InProcessServers, type InProcessShop, type Surroundings } from './in-process-servers.ts';

export interface Tally {
  readonly party: Party;
  readonly kind: 'made' | 'verified';
  readonly typ: string;
}

/** A customer's browser and card. */
export interface InProcessCustomer {
  readonly identity: Identity;
  readonly card: InProcessCard;
}

export interface InProcessWorld extends InProcessServers, InProcessOperator {
  readonly pki: InProcessPki;
  /** As it was written; sorted by `at` it is what happened. */
  readonly journal: JournalEntry[];
  readonly tallies: Tally[];
  /** Of the settlement, the shops, the PC and the card. */
  readonly clock: WorldClock;
  readonly shop: InProcessShop;
  readonly shops: readonly InProcessShop[];
  readonly cards: readonly InProcessCard[];
  /** Whom `ports()` is for, and the card on the reader. */
  readonly customer: InProcessCustomer;
  readonly card: InProcessCard;
  /** A factory card: a Light, or a blank EV2 or EV3. */
  newCard(uid: string, profile?: ProfileName): InProcessCard;
  /** Another customer, with a card of their own. */
  newCustomer(uid: string, balanceMinor: bigint, profile?: ProfileName): Promise<InProcessCustomer>;
  openShop(names: { shopId: string; origin: string; legalName: string }): Promise<InProcessShop>;
  /** A browser enrolled with this one-time code. */
  enrol(code: string): Promise<Identity>;
  /** Sends what is owed to the shops now; answers how many took it. */
  deliverNotices(): Promise<number>;
  /** Everything that pay() needs, with `changes` over it, and a customer who says yes but for `answers`. */
  ports(changes?: Partial<PaymentPorts>, answers?: Partial<Customer>): PaymentPorts & { readonly outcomes: Outcome[] };
  /** As it is reached over the network: a failure comes back as a signed failure notice. */
  settlement(service?: ApplicationService): Settlement;
  shopPort(shop?: InProcessShop): Shop;
}

export const SHOP_ORIGIN = 'https://shop.localhost:8443';
export const ORDER = { lines: [{ productId: 'kokoro', quantity: 1 }, { productId: 'sencha', quantity: 2 }] };
/** Of ORDER. */
export const ORDER_TOTAL_MINOR = 2_100n;

export async function createInProcessWorld(options: { balanceMinor?: bigint } = {}): Promise<InProcessWorld> {
  const clock = createWorldClock(Date.UTC(2026, 10, 22, 12));
  const journal: JournalEntry[] = [];
  const tallies: Tally[] = [];
  const surroundings: Surroundings = {
    pki: await createInProcessPki(clock.now()),
    now: clock.now,
    journal: (entry) => void journal.push(entry),
    tallyOf: (party) => ({ kind, typ }) => void tallies.push({ party, kind, typ }),
  };
  const { pki } = surroundings;
  const servers = await createInProcessServers(surroundings);
  const shops: InProcessShop[] = [];
  const cards: InProcessCard[] = [];

  const openShop: InProcessWorld['openShop'] = async (names) => {
    const shop = await openInProcessShop(names, servers, surroundings);
    shops.push(shop);
    return shop;
  };
  const newCard = (uid: string, profile?: ProfileName): InProcessCard => {
    const card = createInProcessCard({ uid, profile, journal: surroundings.journal, now: clock.now });
    cards.push(card);
    return card;
  };
  const operator = await createOperator(servers, surroundings);
  const enrol = (code: string): Promise<Identity> => enrolBrowser(code, servers, surroundings);
  const newCustomer = async (uid: string, balanceMinor: bigint, profile?: ProfileName): Promise<InProcessCustomer> => {
    const card = newCard(uid, profile);
    const { enrolmentCode } = await operator.issue(card);
    if (enrolmentCode === null) throw new Error('a new customer without an enrolment code');
    if (balanceMinor > 0n) await operator.load(card, balanceMinor);
    return { card, identity: await enrol(enrolmentCode) };
  };

  const shop = await openShop({ shopId: 'hanamaru', origin: SHOP_ORIGIN, legalName: 'Hanamaru Books' });
  const customer = await newCustomer('04A1B2C3D4E5F6', options.balanceMinor ?? 10_000n);
  const { application, store } = servers;
  const deliver = (shopId: string, notice: string): Promise<string> => (shops.find((one) => one.shopId === shopId) ?? shop).service.receiveNotice(notice);
  const settlement = (service = application): Settlement => settlementPort(service, servers.applicationParts.signer);
  const shopPort = ({ origin, service, signer } = shop): Shop => ({ origin, introduce: () => service.introduce(), decide: answering(signer, (jws) => service.decide(jws)), requestBill: answering(signer, (jws) => service.requestBill(jws)) });

  return {
    ...servers, ...operator, pki, journal, tallies, clock, shop, shops, cards, customer, card: customer.card, newCard, newCustomer, openShop, enrol, settlement, shopPort,
    deliverNotices: () => sendDueNotices({ store, deliver, verifier: pki.verifier(clock.now), tally: surroundings.tallyOf('application'), now: clock.now, onFailure: () => undefined }),
    ports: (changes = {}, answers = {}) => {
      const outcomes: Outcome[] = [];
      const step = createStep({ party: 'extension', journal: surroundings.journal, now: clock.now });
      const given = { shop: shopPort(), settlement: settlement(), reader: readerWith(customer.card), customer: { ...agreeingCustomer(outcomes), ...answers }, identity: customer.identity };
      return { ...given, step, now: clock.now, random: platformRandom, outcomes, ...changes };
    },
  };
}

/** As the routes do: what a service throws is answered with a failure notice about exactly this request. */
function answering(signer: Signer, handle: (request: Jws) => Promise<Jws>): (request: Jws) => Promise<Jws> {
  return (request) =>
    handle(request).catch(async (thrown: unknown) => {
      const { code, step } = asFailure(thrown);
      // A bug of ours must show in the test that finds it, and what is no message cannot be referred to.
      if (code === 'internal/bug' || !v.is(jwsSchema, request)) throw thrown;
      return signMessage(failureNotice, { request: await digestOf(request), code, step: step ?? null }, signer, { introduce: true });
    });
}

function settlementPort(service: ApplicationService, signer: Signer): Settlement {
  return {
    connect: () => Promise.resolve(),
    requestPayment: answering(signer, (jws) => service.requestPayment(jws)),
    requestReading: answering(signer, (jws) => service.requestReading(jws)),
    requestLink: answering(signer, (jws) => service.requestLink(jws)),
    answerCard: (paymentId, answer) => answering(signer, (jws) => service.answerCard(paymentId, jws))(answer),
    complete: (paymentId, message) => answering(signer, (jws) => service.complete(paymentId, jws))(message),
  };
}

/** A reader on which this card lies whenever it is asked for. */
export function readerWith(card: InProcessCard): Reader {
  return { awaitCard: () => Promise.resolve(createGatedCard(card.open(), new AbortController().signal)) };
}

async function enrolBrowser(code: string, { information }: InProcessServers, { pki, tallyOf }: Surroundings): Promise<Identity> {
  const keys = await createSigningKeyPair();
  const chain = await information.enrol(code, await encodeCertificateRequest(keys));
  const [leaf] = chain;
  if (leaf === undefined) throw new Error('no certificate');
  const tally: SignatureTally = tallyOf('extension');
  return { signer: createSigner({ privateKey: keys.privateKey, chain, thumbprint: await certificateThumbprint(leaf) }, tally), verifier: pki.verifier(null), tally };
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
    showOutcome: (outcome) => {
      outcomes.push(outcome);
      return Promise.resolve();
    },
  };
}
