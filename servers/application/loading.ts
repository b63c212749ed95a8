/** Loading: a reading under key 1 settles what is open, then a credit under key 3, with INTENT and DONE like a payment. */
import { encodeHex } from '#protocol/bytes.ts';
import { Failure } from '#protocol/failure.ts';
import type { VerifiedOrder } from '../shared/operator-order.ts';
import { createDeciding } from './deciding.ts';
import type { Begun, Turn } from './order-turn.ts';
import type { ApplicationParts } from './parts.ts';
import type { Intent, Operation } from './store.ts';

type LoadOrder = VerifiedOrder<'load'>;

interface Load {
  readonly order: LoadOrder;
  readonly paymentId: string;
  readonly sessionId: string;
  readonly unresolved: readonly Operation[];
  readonly limitMinor: bigint;
}

export function createLoading(parts: ApplicationParts): { begin(order: LoadOrder): Promise<Begun> } {
  const { store, security, information, newId } = parts;
  const deciding = createDeciding(parts);

  const afterReading = async (load: Load, responses: string[]): Promise<Turn> => {
    const { sessionId, order, limitMinor } = load;
    const reading = await security.takeBalance({ sessionId, responses });
    await deciding.byReading(load, reading);
    if (reading.balanceMinor === null || reading.balanceMinor + order.body.amountMinor > limitMinor) throw new Failure('card/limit');
    const { commands } = await security.requestLoadChallenge({ sessionId });
    return { phase: 'load', commands, next: (answers) => authenticate(load, answers) };
  };

  const authenticate = async (load: Load, responses: string[]): Promise<Turn> => {
    const { commands } = await security.authenticateLoad({ sessionId: load.sessionId, responses });
    return { phase: 'load', commands, next: (answers) => credit(load, answers) };
  };

  const credit = async (load: Load, responses: string[]): Promise<Turn> => {
    const { sessionId } = load;
    const { intent, commands } = await intend(load, responses, parts);
    return { phase: 'load', commands, next: (answers) => conclude(intent, sessionId, answers) };
  };

  const conclude = async (intent: Intent, sessionId: string, responses: string[]): Promise<Turn> => {
    const verdict = await security.verifyNotice({ sessionId, responses });
    if (verdict.verdict === 'unproven') throw new Failure('card/unresolved', { detail: verdict.reason });
    const { transactionCounter, transactionMac, balanceAfterMinor } = verdict;
    await deciding.carriedOut(intent, { by: 'notice', transactionCounter, transactionMac, statement: null, consent: null });
    return { report: { kind: 'load', cardId: intent.cardId, amountMinor: intent.amountMinor, balanceAfterMinor } };
  };

  return {
    begin: async (order) => {
      const card = await information.findCard({ cardId: order.body.cardId });
      if (card === null) throw new Failure('card/not-issued');
      if (card.currency !== order.body.currency) throw new Failure('card/unsupported', { detail: 'another currency' });
      const unresolved = await store.unresolvedOf(card.cardId);
      const { sessionId, commands } = await security.openLoad({ order: order.jws });
      const load: Load = { order, paymentId: newId(), sessionId, unresolved, limitMinor: card.limitMinor };
      const read = async (responses: string[]): Promise<Turn> => {
        const request = await security.requestBalance({ sessionId, responses, balance: true });
        return { phase: 'read', commands: request.commands, next: (answers) => afterReading(load, answers) };
      };
      return { paymentId: load.paymentId, first: { phase: 'authenticate', commands, next: read } };
    },
  };
}

/** The credit is made, then the INTENT is durable, then the commands leave (payment-rules 1). */
async function intend({ order, paymentId, sessionId }: Load, responses: string[], { store, security, now, random }: ApplicationParts) {
  const { cardId, currency, amountMinor } = order.body;
  const writtenAt = Math.floor(now());
  const operationId = encodeHex(random(8));
  const prepared = await security.prepareCredit({ sessionId, responses, operationId, timeSeconds: Math.floor(writtenAt / 1000) });
  const { transactionCounter, expectedTmi, commands } = prepared;
  const intent: Intent = { paymentId, kind: 'load', cardId, operationId, amountMinor, currency, bill: null, sessionId, transactionCounter, expectedTmi, request: order.jws, writtenAt };
  if ((await store.writeIntent(intent)) !== 'written') throw new Failure('card/unresolved');
  return { intent, commands };
}
