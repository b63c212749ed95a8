/** An operator's order about a card on the reader: a reading under key 1 and, to load or replace, a credit under key 3 of exactly what was ordered. */
import { parseHex } from '#protocol/bytes.ts';
import { Failure } from '#protocol/failure.ts';
import { encodeCommands, parseResponses } from '#protocol/messages/fields.ts';
import type { SecurityService } from '../shared/apis/security.ts';
import { verifyOperatorOrder, type VerifiedOrder } from '../shared/operator-order.ts';
import { openWallet, parseOpening, WALLET_KEYS } from './layout.ts';
import type { SecurityParts, SessionContext } from './parts.ts';
import { deriveAuthenticationKeys, openSession, preparedOf, takeAuthentication } from './wire.ts';

type Loading = Pick<SecurityService, 'openOrder' | 'requestLoadChallenge' | 'authenticateLoad' | 'prepareCredit'>;

export function createLoading(parts: SecurityParts): Loading {
  const { store, sessions, loadLimits, now } = parts;
  /** Key 3 is spoken of in a session for a load only: the same check stands before each of its steps. */
  const loadSession = (sessionId: string) => {
    const session = sessions.get(sessionId);
    const { context } = session;
    if (context.kind !== 'load') throw new Failure('settlement/session', { detail: `no load in a session for a ${context.kind}` });
    return { session, context };
  };
  return {
    openOrder: async ({ order, cardChallenge, keysMayWait }) => {
      const verified = await verifyOperatorOrder(['load', 'replace', 'show'], order, parts);
      return openSession(parts, verified.body, { cardChallenge, keysMayWait }, await contextOf(verified, parts));
    },

    requestLoadChallenge: async ({ sessionId }) => {
      loadSession(sessionId);
      return Promise.resolve({ commands: encodeCommands(openWallet(WALLET_KEYS.load)) });
    },

    authenticateLoad: async ({ sessionId, responses }) => {
      const { uid, cardId } = loadSession(sessionId).session;
      const issued = await store.findCard(cardId);
      if (issued === undefined) throw new Failure('card/not-issued');
      const keys = await deriveAuthenticationKeys(parts, uid, WALLET_KEYS.load, issued.keyVersion);
      const command = loadSession(sessionId).session.authenticate(parseOpening(parseResponses(responses)), keys);
      return { commands: encodeCommands([command]) };
    },

    prepareCredit: async ({ sessionId, responses, operationId, timeSeconds }) => {
      const { session, context } = loadSession(sessionId);
      takeAuthentication(session, responses);
      const { orderDigest, amountMinor } = context;
      // Used up, and counted, before the credit is made: whatever happens after this line, the order never makes money twice, nor a day's orders more than their limit.
      const used = await store.useLoadOrder({ orderDigest, amountMinor, usedAt: Math.floor(now()) }, loadLimits.dayMinor);
      if (used === 'used-before') throw new Failure('operator/order-used');
      if (used === 'above-limit') throw new Failure('operator/limit', { detail: 'the limit of a day' });
      const transfer = { kind: 'credit', operationId: parseHex(operationId), amountMinor, timeSeconds, readBalanceAfter: true } as const;
      return preparedOf(sessions.get(sessionId).prepareTransfer(transfer));
    },
  };
}

/** What the order lets the session do. Throws `card/…` and `operator/limit`. */
async function contextOf({ body, digest: orderDigest }: VerifiedOrder<'load' | 'replace' | 'show'>, { information, loadLimits }: SecurityParts): Promise<SessionContext> {
  const registered = async (cardId: string) => {
    const card = await information.findCard({ cardId });
    if (card === null) throw new Failure('card/not-issued');
    return card;
  };
  const card = await registered(body.cardId);
  if (body.kind === 'show') return { kind: 'reading' };
  // payment-rules 20: a card reported lost takes no load and no refund.
  if (card.blockedAt !== null) throw new Failure('card/blocked');
  if (card.currency !== body.currency) throw new Failure('card/unsupported', { detail: 'another currency' });
  if (body.amountMinor > loadLimits.orderMinor) throw new Failure('operator/limit', { detail: 'the limit of one order' });
  if (body.kind === 'replace') {
    const lost = await registered(body.lostCardId);
    if (lost.blockedAt === null) throw new Failure('card/not-blocked');
    if (lost.currency !== body.currency) throw new Failure('card/unsupported', { detail: 'a lost card of another currency' });
  }
  return { kind: 'load', amountMinor: body.amountMinor, orderDigest };
}
