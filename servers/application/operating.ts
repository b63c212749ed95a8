/** What operators order: each kind is carried out elsewhere, with an INTENT before a card is changed and DONE after, like a payment; the dialog with the desk is here. */
import { Failure } from '#protocol/failure.ts';
import { cardAnswer, cardDialog } from '#protocol/messages/card-dialog.ts';
import { operatorReport } from '#protocol/messages/operator-order.ts';
import { byKnownSender, digestOf, signMessage, verifyMessage, type Jws } from '#protocol/signed.ts';
import { verifyOperatorOrder, type OrderKind, type VerifiedOrder } from '../shared/operator-order.ts';
import { createBookkeeping } from './bookkeeping.ts';
import { createExchanges } from './exchange.ts';
import { createIssuing } from './issuing.ts';
import { createLoading } from './loading.ts';
import { isOrderOf, type Begun, type Turn } from './order-turn.ts';
import type { ApplicationParts } from './parts.ts';

/** Each call is one network round of the operator's tool. */
export interface OperatingService {
  requestOrder(order: Jws): Promise<Jws>;
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

const ORDERS = ['issue', 'load', 'replace', 'show', 'account', 'block', 'receipt', 'enrolment-code', 'activation-code'] as const satisfies readonly OrderKind[];

export function createOperatingService(parts: ApplicationParts): OperatingService {
  const { signer, tally, now } = parts;
  const exchanges = createExchanges<Ordered, Waiting>(now);
  const issuing = createIssuing(parts);
  const loading = createLoading(parts);
  const books = createBookkeeping(parts);

  const begin = (order: VerifiedOrder<OrderKind>): Promise<Begun> => {
    if (isOrderOf('issue', order)) return issuing.begin(order);
    if (isOrderOf('load', order) || isOrderOf('replace', order)) return loading.begin(order);
    if (isOrderOf('show', order)) return loading.show(order);
    return books.begin(order);
  };

  const reply = async (ordered: Ordered, previous: string, turn: Turn, introduce: boolean): Promise<{ jws: Jws; waiting: Waiting | null }> => {
    const { paymentId, order } = ordered;
    if ('report' in turn) return { jws: await signMessage(operatorReport, { ...turn.report, paymentId, previous }, signer, { introduce }), waiting: null };
    const jws = await signMessage(cardDialog, { paymentId, nonce: order.body.orderNonce, previous, phase: turn.phase, commands: turn.commands }, signer, { introduce });
    return { jws, waiting: { previous: await digestOf(jws), next: turn.next } };
  };

  return {
    requestOrder: async (jws) => {
      const order = await verifyOperatorOrder(ORDERS, jws, parts);
      if (!exchanges.isFresh(order.body.orderNonce)) throw new Failure('operator/order-used');
      const { paymentId, first } = await begin(order);
      const ordered = { paymentId, order, startedAt: now() };
      const { jws: said, waiting } = await reply(ordered, order.digest, first, true);
      if (waiting !== null) exchanges.open(ordered, waiting);
      return said;
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
