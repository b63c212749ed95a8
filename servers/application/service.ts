/** The application server (APS): checks what the shop and the customer signed, drives the payment through the security server, signs what the PC must trust. */
import { Failure } from '#protocol/failure.ts';
import { cardAnswer } from '#protocol/messages/card-dialog.ts';
import { completion } from '#protocol/messages/completion.ts';
import type { WireCommands } from '#protocol/messages/fields.ts';
import { byKnownSender, digestOf, verifyMessage, type BodyOf, type Jws, type VerifiedMessage } from '#protocol/signed.ts';
import { createStep, type Step } from '#protocol/step.ts';
import { verifyPaymentRequest, verifyReadingRequest, type VerifiedPaymentRequest } from '../shared/payment-request.ts';
import { createDeciding, type Deciding } from './deciding.ts';
import { createExchanges, type Awaiting, type Exchange } from './exchange.ts';
import { createOffering, type Offering } from './offering.ts';
import type { ApplicationParts } from './parts.ts';
import { consentOrNull, createReplies, type Replies } from './replies.ts';
import type { ApplicationStore } from './store.ts';

/** Each call is one network round: a signed message in, a signed message out. Throws Failure; the route signs it. */
export interface ApplicationService {
  requestPayment(request: Jws): Promise<Jws>;
  requestReading(request: Jws): Promise<Jws>;
  answerCard(paymentId: string, answer: Jws): Promise<Jws>;
  complete(paymentId: string, completion: Jws): Promise<Jws>;
}

export function createApplicationService(parts: ApplicationParts): ApplicationService {
  const { store, security, now, newId, tally } = parts;
  const step = createStep({ party: 'application', journal: parts.journal, now });
  const exchanges = createExchanges<Exchange, Awaiting>(now);
  const deciding = createDeciding(parts);
  const replies = createReplies(parts);
  const workings = { security, step, deciding, offering: createOffering(parts), replies };

  const begin = async (exchange: Exchange, commands: WireCommands, requestDigest: string): Promise<Jws> => {
    const dialog = await replies.dialog(exchange, requestDigest, 'authenticate', commands);
    exchanges.open(exchange, { what: 'authentication', previous: await digestOf(dialog) });
    return dialog;
  };

  return {
    requestPayment: async (jws) => {
      const paymentId = newId();
      const verified = await step('ST9', () => verifyPaymentRequest(jws, parts), paymentId);
      const { paymentNonce, cardId } = verified.request.body;
      if (!exchanges.isFresh(paymentNonce)) throw new Failure('message/not-fresh');
      await requirePayable(store, verified, cardId);
      // payment-rules 4: what is unresolved is loaded before the session starts, so its reading may decide this and nothing else.
      const unresolved = await store.unresolvedOf(cardId);
      const opened = await step('ST10', () => security.openPayment({ paymentId, request: jws }), paymentId);
      const purpose = { kind: 'payment', request: verified } as const;
      const exchange = { paymentId, purpose, customer: verified, nonce: paymentNonce, sessionId: opened.sessionId, unresolved, startedAt: now() };
      return begin(exchange, opened.commands, verified.request.digest);
    },

    requestReading: async (jws) => {
      const verified = await verifyReadingRequest(jws, parts);
      const { readingNonce, cardId, about } = verified.request.body;
      if (!exchanges.isFresh(readingNonce)) throw new Failure('message/not-fresh');
      const unresolved = await store.unresolvedOf(cardId);
      const opened = await security.openReading({ request: jws });
      const exchange = { paymentId: newId(), purpose: { kind: 'reading', about } as const, customer: verified, nonce: readingNonce, sessionId: opened.sessionId, unresolved, startedAt: now() };
      return begin(exchange, opened.commands, verified.request.digest);
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
      const { intent, statement } = awaiting;
      return step('ST19', async () => {
        const verdict = await security.verifyNotice({ sessionId: exchange.sessionId, responses: message.body.responses });
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

/** What a turn is done with. */
interface Workings {
  readonly security: ApplicationParts['security'];
  readonly step: Step;
  readonly deciding: Deciding;
  readonly offering: Offering;
  readonly replies: Replies;
}

/** What the server answers, and what it waits for then. */
interface Said {
  readonly said: Jws;
  readonly next: Awaiting | null;
}

/** After the card has answered: BRC, then what the reading decides, then a report, a refusal or the offer to debit. */
async function goOn({ security, step, deciding, offering, replies }: Workings, exchange: Exchange, awaiting: Awaiting, answer: VerifiedMessage<BodyOf<typeof cardAnswer>>): Promise<Said> {
  const { purpose, sessionId, paymentId } = exchange;
  const { responses } = answer.body;
  const readBalance = purpose.kind === 'reading' || purpose.request.request.body.readBalance;
  if (awaiting.what === 'authentication' && (readBalance || exchange.unresolved.length > 0)) {
    const { commands } = await security.requestBalance({ sessionId, responses, balance: readBalance }); // ST12
    const said = await replies.dialog(exchange, answer.digest, 'read', commands);
    return { said, next: { what: 'reading', previous: await digestOf(said) } };
  }
  const reading = awaiting.what === 'reading' ? await security.takeBalance({ sessionId, responses }) : null; // ST13
  const decided = reading === null ? [] : await deciding.byReading(exchange, reading);
  if (purpose.kind === 'reading') {
    if (reading === null) throw new Failure('settlement/session', { detail: 'a reading without a reading' });
    await security.closeSession({ sessionId });
    return { said: await replies.report(exchange, answer.digest, reading, decided), next: null };
  }
  if (typeof reading?.balanceMinor === 'bigint' && reading.balanceMinor < purpose.request.bill.body.amountMinor) {
    await security.closeSession({ sessionId });
    return { said: await replies.balanceTooLow(exchange, purpose.request, answer.digest, reading.balanceMinor), next: null };
  }
  const offer = await step('ST14', () => offering.makeOffer(exchange, purpose.request, answer, reading), paymentId);
  return { said: offer.statement, next: { what: 'completion', previous: await digestOf(offer.statement), ...offer } };
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
