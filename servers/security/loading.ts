/** Loading: a reading under key 1, then a credit under key 3, of exactly what an operator ordered. */
import { parseHex } from '#protocol/bytes.ts';
import { Failure } from '#protocol/failure.ts';
import { encodeCommands, parseResponses } from '#protocol/messages/fields.ts';
import type { SecurityService } from '../shared/apis/security.ts';
import { verifyOperatorOrder } from '../shared/operator-order.ts';
import { openWallet, parseOpening, WALLET_KEYS } from './layout.ts';
import type { SecurityParts } from './parts.ts';
import { openSession, preparedOf, takeAuthentication } from './wire.ts';

type Loading = Pick<SecurityService, 'openLoad' | 'requestLoadChallenge' | 'authenticateLoad' | 'prepareCredit'>;

export function createLoading(parts: SecurityParts): Loading {
  const { store, keyStore, sessions, now } = parts;
  /** Key 3 is spoken of in a session for a load only: the same check stands before each of its steps. */
  const loadSession = (sessionId: string) => {
    const session = sessions.get(sessionId);
    const { context } = session;
    if (context.kind !== 'load') throw new Failure('settlement/session', { detail: `no load in a session for a ${context.kind}` });
    return { session, context };
  };
  return {
    openLoad: async ({ order }) => {
      const { body, digest: orderDigest } = await verifyOperatorOrder('load', order, parts);
      return openSession(parts, body.cardId, body.cardChallenge, { kind: 'load', amountMinor: body.amountMinor, orderDigest });
    },

    requestLoadChallenge: async ({ sessionId }) => {
      loadSession(sessionId);
      return Promise.resolve({ commands: encodeCommands(openWallet(WALLET_KEYS.load)) });
    },

    authenticateLoad: async ({ sessionId, responses }) => {
      const { uid, cardId } = loadSession(sessionId).session;
      const issued = await store.findCard(cardId);
      if (issued === undefined) throw new Failure('card/not-issued');
      const [authenticationKey, transactionMacKey] = await Promise.all([
        keyStore.deriveCardKey(uid, WALLET_KEYS.load, issued.keyVersion),
        keyStore.deriveCardKey(uid, 'transaction-mac', issued.keyVersion),
      ]);
      const command = sessions.get(sessionId).authenticate(parseOpening(parseResponses(responses)), { authenticationKey, transactionMacKey });
      return { commands: encodeCommands([command]) };
    },

    prepareCredit: async ({ sessionId, responses, operationId, timeSeconds }) => {
      const { session, context } = loadSession(sessionId);
      takeAuthentication(session, responses);
      // Used up before the credit is made: an order can never make money twice, whatever happens after this line.
      if (!(await store.useOrder(context.orderDigest, Math.floor(now())))) throw new Failure('operator/order-used');
      const order = { kind: 'credit', operationId: parseHex(operationId), amountMinor: context.amountMinor, timeSeconds, readBalanceAfter: true } as const;
      return preparedOf(sessions.get(sessionId).prepareTransfer(order));
    },
  };
}
