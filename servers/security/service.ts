/** The security server (SS): alone it reaches the cards' keys; it checks for itself what the shop, the customer or an operator signed before it speaks to a card. */
import { parseHex } from '#protocol/bytes.ts';
import { Failure } from '#protocol/failure.ts';
import { encodeCommands, parseResponses } from '#protocol/messages/fields.ts';
import { createStep } from '#protocol/step.ts';
import type { SecurityService } from '../shared/apis/security.ts';
import { verifyLinkRequest, verifyPaymentRequest, verifyReadingRequest } from '../shared/payment-request.ts';
import { createIssuing } from './issuing/issuing.ts';
import { createLoading } from './loading.ts';
import { createOpenedRequests } from './opened-requests.ts';
import type { SecurityParts, SessionContext } from './parts.ts';
import { createRekeying } from './issuing/rekeying.ts';
import type { LiveSession } from './sessions.ts';
import { isTransactionMac } from './transfer.ts';
import { openSession, preparedOf, readingOf, takeAuthentication, verdictOf } from './wire.ts';

export function createSecurityService(parts: SecurityParts): SecurityService {
  const { sessions } = parts;
  const requests = createOpenedRequests(parts.now);
  const step = createStep({ party: 'security', journal: parts.journal, now: parts.now });
  /** Steps are named for payments only: a reading or load does the same work without the name. */
  const stepOfPayment = async <T>(id: 'ST12' | 'ST13', { context }: LiveSession<SessionContext>, act: () => T): Promise<T> =>
    context.kind === 'payment' ? step(id, act, context.paymentId) : act();

  return {
    openPayment: ({ paymentId, request, cardChallenge, keysMayWait }) =>
      step('ST11', async () => {
        const { request: verified, bill } = await verifyPaymentRequest(request, parts);
        // What has opened a session may have debited the card: with a renewed challenge it would be good for another debit of the same bill.
        if (cardChallenge !== null && requests.hasOpened(verified.digest)) throw new Failure('settlement/session', { detail: 'a request of an earlier contact' });
        const opened = await openSession(parts, verified.body, { cardChallenge, keysMayWait }, { kind: 'payment', paymentId, amountMinor: bill.body.amountMinor });
        if (opened.at === 'opened') requests.remember(verified.digest);
        return opened;
      }, paymentId),

    openReading: async ({ request, cardChallenge, keysMayWait }) => {
      const verified = await verifyReadingRequest(request, parts);
      return openSession(parts, verified.request.body, { cardChallenge, keysMayWait }, { kind: 'reading' });
    },

    openLink: async ({ request, cardChallenge, keysMayWait }) => {
      const verified = await verifyLinkRequest(request, parts);
      return openSession(parts, verified.request.body, { cardChallenge, keysMayWait }, { kind: 'reading' });
    },

    requestBalance: async ({ sessionId, responses, reading }) => {
      const session = sessions.get(sessionId);
      return stepOfPayment('ST12', session, () => {
        takeAuthentication(session, responses);
        return { commands: encodeCommands(session.requestReading(reading)) };
      });
    },

    takeBalance: async ({ sessionId, responses }) => {
      const session = sessions.get(sessionId);
      return stepOfPayment('ST13', session, () => readingOf(session, session.takeReading(parseResponses(responses))));
    },

    prepareDebit: async ({ sessionId, operationId, timeSeconds, responses, balance }) => {
      const session = sessions.get(sessionId);
      const { context } = session;
      if (context.kind !== 'payment') throw new Failure('settlement/session', { detail: `no debit in a session for a ${context.kind}` });
      if (responses !== null) takeAuthentication(session, responses);
      const order = { kind: 'debit', operationId: parseHex(operationId), amountMinor: context.amountMinor, timeSeconds, readBalanceAfter: balance } as const;
      return Promise.resolve(preparedOf(session.prepareTransfer(order)));
    },

    verifyNotice: async ({ sessionId, responses }) => Promise.resolve(verdictOf(sessions.verifyTransfer(sessionId, parseResponses(responses)))),

    checkTransaction: async ({ cardId, keyVersion, transactionCounter, transactionMac, transactionMacInput }) => {
      const uid = parseHex(cardId);
      const transactionMacKey = await parts.keyStore.deriveCardKey(uid, 'transaction-mac', keyVersion);
      return isTransactionMac({ uid, transactionMacKey }, parseHex(transactionMacInput), { transactionCounter, transactionMac: parseHex(transactionMac) });
    },

    closeSession: ({ sessionId }) => {
      sessions.forget(sessionId);
      return Promise.resolve(null);
    },

    ...createIssuing(parts),
    ...createLoading(parts),
    ...createRekeying(parts),
  };
}

