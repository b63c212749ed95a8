/** What operators order: issuing and loading cards, each with an INTENT before the card is changed and DONE after, like a payment. */
import { Failure } from '#protocol/failure.ts';
import { cardAnswer, cardDialog } from '#protocol/messages/card-dialog.ts';
import { operatorReport } from '#protocol/messages/operator-order.ts';
import { byKnownSender, digestOf, signMessage, verifyMessage, type Jws } from '#protocol/signed.ts';
import { verifyOperatorOrder, type OrderKind, type VerifiedOrder } from '../shared/operator-order.ts';
import { createExchanges } from './exchange.ts';
import { createIssuing } from './issuing.ts';
import { createLoading } from './loading.ts';
import type { Begun, Turn } from './order-turn.ts';
import type { ApplicationParts } from './parts.ts';

/** Each call is one network round of the operator's tool. */
export interface OperatingService {
  requestIssue(order: Jws): Promise<Jws>;
  requestLoad(order: Jws): Promise<Jws>;
  answerCard(paymentId: string, answer: Jws): Promise<Jws>;
}

interface Ordered {
  readonly paymentId: string;
  readonly order: VerifiedOrder<OrderKind>;
  readonly startedAt: number;
}

interface Waiting {
  readonly previous: string;
  readonly next: (responses: string[]) => Promise<Turn>;
}

export function createOperatingService(parts: ApplicationParts): OperatingService {
  const { signer, tally, now } = parts;
  const exchanges = createExchanges<Ordered, Waiting>(now);
  const issuing = createIssuing(parts);
  const loading = createLoading(parts);

  const reply = async (ordered: Ordered, previous: string, turn: Turn, introduce: boolean): Promise<{ jws: Jws; waiting: Waiting | null }> => {
    const { paymentId, order } = ordered;
    if ('report' in turn) return { jws: await signMessage(operatorReport, { ...turn.report, paymentId, previous }, signer), waiting: null };
    const jws = await signMessage(cardDialog, { paymentId, nonce: order.body.orderNonce, previous, phase: turn.phase, commands: turn.commands }, signer, { introduce });
    return { jws, waiting: { previous: await digestOf(jws), next: turn.next } };
  };

  const begin = async (order: VerifiedOrder<OrderKind>, begun: () => Promise<Begun>): Promise<Jws> => {
    if (!exchanges.isFresh(order.body.orderNonce)) throw new Failure('operator/order-used');
    const { paymentId, first } = await begun();
    const ordered = { paymentId, order, startedAt: now() };
    const { jws, waiting } = await reply(ordered, order.digest, first, true);
    if (waiting !== null) exchanges.open(ordered, waiting);
    return jws;
  };

  return {
    requestIssue: async (jws) => {
      const order = await verifyOperatorOrder('issue', jws, parts);
      return begin(order, () => issuing.begin(order));
    },
    requestLoad: async (jws) => {
      const order = await verifyOperatorOrder('load', jws, parts);
      return begin(order, () => loading.begin(order));
    },
    answerCard: async (paymentId, jws) => {
      const answer = await verifyMessage(cardAnswer, jws, byKnownSender(exchanges.find(paymentId).order.sender), tally);
      const { exchange, awaiting } = exchanges.take(paymentId, answer.body);
      const { jws: said, waiting } = await reply(exchange, answer.digest, await awaiting.next(answer.body.responses), false);
      if (waiting === null) exchanges.close(paymentId);
      else exchanges.await(paymentId, waiting);
      return said;
    },
  };
}
