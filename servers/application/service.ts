/** The application server (APS): checks what the shop and the customer signed, drives the payment through the security server, signs what the PC must trust. */
import { Failure } from '#protocol/failure.ts';
import { cardAnswer } from '#protocol/messages/card-dialog.ts';
import { completion } from '#protocol/messages/completion.ts';
import { byKnownSender, digestOf, verifyMessage, type BodyOf, type Jws, type VerifiedMessage } from '#protocol/signed.ts';
import { createStep, type Step } from '#protocol/step.ts';
import type { OpenedOrRekey } from '../shared/apis/security.ts';
import { verifyLinkRequest, verifyPaymentRequest, verifyReadingRequest, type CustomerOfCard, type VerifiedPaymentRequest } from '../shared/payment-request.ts';
import { createDeciding, type Deciding } from './deciding.ts';
import { createExchanges, type Awaiting, type Exchange, type Purpose } from './exchange.ts';
import { createOffering, type Offering } from './offering.ts';
import { openCard, type Opening, type OpeningHow } from './opening.ts';
import type { ApplicationParts } from './parts.ts';
import { consentOrNull, createReplies, type Replies } from './replies.ts';
import type { ApplicationStore } from './store.ts';

/** Each call is one network round: a signed message in, a signed message out. Throws Failure; the route signs it. */
export interface ApplicationService {
  requestPayment(request: Jws): Promise<Jws>;
  requestReading(request: Jws): Promise<Jws>;
  requestLink(request: Jws): Promise<Jws>;
  answerCard(paymentId: string, answer: Jws): Promise<Jws>;
  complete(paymentId: string, completion: Jws): Promise<Jws>;
}

export function createApplicationService(parts: ApplicationParts): ApplicationService {
  const { store, security, now, newId, tally } = parts;
  const step = createStep({ party: 'application', journal: parts.journal, now });
  const exchanges = createExchanges<Exchange, Awaiting>(now);
  const deciding = createDeciding(parts);
  const replies = createReplies(parts);
  const workings = { parts, step, deciding, offering: createOffering(parts), replies };

  const begin = async (exchange: Exchange, opening: Opening, requestDigest: string): Promise<Jws> => {
    const { said, next } = await offerOpening(replies, exchange, opening, requestDigest, true);
    exchanges.open(exchange, next);
    return said;
  };

  /** A reading, asked for by a card's holder or by whoever has its activation code. */
  const beginReading = async (verified: CustomerOfCard & AskedReading, purpose: Purpose, open: (how: OpeningHow) => Promise<OpenedOrRekey>): Promise<Jws> => {
    const { readingNonce, cardId } = verified.request.body;
    if (!exchanges.isFresh(readingNonce)) throw new Failure('message/not-fresh');
    // payment-rules 4: what is unresolved is loaded before the session starts, so its reading may decide this and nothing else.
    const unresolved = await store.unresolvedOf(cardId);
    const opening = await openCard(parts, cardId, unresolved, open);
    return begin({ paymentId: newId(), purpose, customer: verified, nonce: readingNonce, unresolved, startedAt: now() }, opening, verified.request.digest);
  };

  return {
    requestPayment: async (jws) => {
      const paymentId = newId();
      const verified = await step('ST9', () => verifyPaymentRequest(jws, parts), paymentId);
      const { paymentNonce, cardId } = verified.request.body;
      if (!exchanges.isFresh(paymentNonce)) throw new Failure('message/not-fresh');
      await requirePayable(store, verified, cardId);
      const unresolved = await store.unresolvedOf(cardId); // as for a reading
      const opening = await openCard(parts, cardId, unresolved, (how) => step('ST10', () => security.openPayment({ paymentId, request: jws, ...how }), paymentId));
      return begin({ paymentId, purpose: { kind: 'payment', request: verified }, customer: verified, nonce: paymentNonce, unresolved, startedAt: now() }, opening, verified.request.digest);
    },

    requestReading: async (jws) => {
      const verified = await verifyReadingRequest(jws, parts);
      const { about, history } = verified.request.body;
      return beginReading(verified, { kind: 'reading', about, history }, (how) => security.openReading({ request: jws, ...how }));
    },

    requestLink: async (jws) => {
      const verified = await verifyLinkRequest(jws, parts);
      return beginReading(verified, { kind: 'link', activationCode: verified.request.body.activationCode }, (how) => security.openLink({ request: jws, ...how }));
    },

    answerCard: async (paymentId, jws) => {
      const answer = await verifyMessage(cardAnswer, jws, byKnownSender(exchanges.find(paymentId).customer.payer), tally);
      const { exchange, awaiting } = exchanges.take(paymentId, answer.body);
      const { said, next } = await goOn(workings, exchange, awaiting, answer).catch((thrown: unknown) => {
        // The card's session is over with any failure: the PC begins anew.
        exchanges.close(paymentId);
        throw thrown;
      });
      if (next === null) exchanges.close(paymentId);
      else exchanges.await(paymentId, next);
      return said;
    },

    complete: async (paymentId, jws) => {
      const message = await verifyMessage(completion, jws, byKnownSender(exchanges.find(paymentId).customer.payer), tally);
      const { exchange, awaiting } = exchanges.take(paymentId, message.body);
      // A completion may come again after a failure on our side: it repeats no card command, and DONE is decided once.
      exchanges.await(paymentId, awaiting);
      if (awaiting.what !== 'completion') throw new Failure('settlement/session', { detail: 'a completion out of place' });
      const { intent, statement, sessionId } = awaiting;
      return step('ST19', async () => {
        const verdict = await security.verifyNotice({ sessionId, responses: message.body.responses });
        // payment-rules 5: what is not proved is unknown, and only a reading decides.
        if (verdict.verdict === 'unproven') throw new Failure('card/unresolved', { detail: verdict.reason });
        const consent = await consentOrNull(message.body.consent, exchange, statement, tally);
        const notice = await deciding.byNotice(intent, verdict, { statement, consent });
        exchanges.finish(paymentId);
        return notice;
      }, paymentId);
    },
  };
}

/** Of a reading or link request. */
interface AskedReading {
  readonly request: { readonly digest: string; readonly body: { readonly cardId: string; readonly readingNonce: string } };
}

/** What a turn is done with. */
interface Workings {
  readonly parts: ApplicationParts;
  readonly step: Step;
  readonly deciding: Deciding;
  readonly offering: Offering;
  readonly replies: Replies;
}

/** What the server answers, and what it waits for then. */
interface Said<Next extends Awaiting | null = Awaiting | null> {
  readonly said: Jws;
  readonly next: Next;
}

/** The commands with which a session begins, or those that give the card newer keys first. `introduce`: the server's first message of the exchange. */
async function offerOpening(replies: Replies, exchange: Exchange, opening: Opening, answered: string, introduce: boolean): Promise<Said<Awaiting>> {
  const said = await replies.dialog(exchange, answered, opening.at === 'rekey' ? 'rekey' : 'authenticate', opening.commands, introduce);
  const previous = await digestOf(said);
  return { said, next: opening.at === 'rekey' ? { what: 'rekey', previous, next: opening.next } : { what: 'authentication', previous, sessionId: opening.sessionId } };
}

/** After the card has answered: newer keys, BRC, then what the reading decides, then a report, a refusal or the offer to debit. */
async function goOn(workings: Workings, exchange: Exchange, awaiting: Awaiting, answer: VerifiedMessage<BodyOf<typeof cardAnswer>>): Promise<Said> {
  const { parts, step, deciding, offering, replies } = workings;
  const { purpose, paymentId } = exchange;
  const { responses } = answer.body;
  if (awaiting.what === 'rekey') return offerOpening(replies, exchange, await awaiting.next(responses), answer.digest, false);
  const { sessionId } = awaiting;
  const wanted = readingFor(exchange);
  if (awaiting.what === 'authentication' && wanted !== null) {
    const { commands } = await parts.security.requestBalance({ sessionId, responses, reading: wanted }); // ST12
    const said = await replies.dialog(exchange, answer.digest, 'read', commands, false);
    return { said, next: { what: 'reading', previous: await digestOf(said), sessionId } };
  }
  const reading = awaiting.what === 'reading' ? await parts.security.takeBalance({ sessionId, responses }) : null; // ST13
  const decided = reading === null ? [] : await deciding.byReading({ sessionId, unresolved: exchange.unresolved }, reading);
  if (purpose.kind !== 'payment') {
    if (reading === null) throw new Failure('settlement/session', { detail: 'a reading without a reading' });
    await parts.security.closeSession({ sessionId });
    if (purpose.kind === 'link') await linkCard(parts, exchange, purpose.activationCode);
    return { said: await replies.report(exchange, answer.digest, reading, decided), next: null };
  }
  if (typeof reading?.balanceMinor === 'bigint' && reading.balanceMinor < purpose.request.bill.body.amountMinor) {
    await parts.security.closeSession({ sessionId });
    return { said: await replies.balanceTooLow(exchange, purpose.request, answer.digest, reading.balanceMinor), next: null };
  }
  const offer = await step('ST14', () => offering.makeOffer({ paymentId, sessionId }, purpose.request, answer, reading), paymentId);
  return { said: offer.statement, next: { what: 'completion', previous: await digestOf(offer.statement), sessionId, ...offer } };
}

/** What is read before anything else is done; null where nothing has to be (0064). */
function readingFor({ purpose, unresolved }: Exchange): 'log' | 'balance' | 'history' | null {
  if (purpose.kind === 'link') return 'history';
  if (purpose.kind === 'reading') return purpose.history ? 'history' : 'balance';
  if (purpose.request.request.body.readBalance) return 'balance';
  return unresolved.length > 0 ? 'log' : null;
}

/** The card has proved that it lies there: the code is used up for good. */
async function linkCard({ information }: ApplicationParts, { customer }: Exchange, activationCode: string): Promise<void> {
  const { card, customerId } = customer;
  if (!(await information.linkCard({ cardId: card.cardId, customerId, activationCode }))) throw new Failure('customer/activation-code');
}

/** Refuses early what the constraints would refuse at the INTENT (payment-rules 2, 9). */
async function requirePayable(store: ApplicationStore, { bill }: VerifiedPaymentRequest, cardId: string): Promise<void> {
  const attempts = await store.attemptsFor(bill.body.shopId, bill.body.billId);
  for (const attempt of attempts) {
    if (attempt.state === 'DONE') throw new Failure('bill/already-paid');
    if (attempt.state === 'INTENT' && attempt.cardId !== cardId) throw new Failure('bill/in-progress');
    if (attempt.state !== 'INTENT' && attempt.state !== 'ABORTED') throw new Failure('bill/expired');
  }
}
