/** Issuing: a factory card becomes a new customer's card; torn at any point it is taken up again under the same operation. */
import { encodeHex } from '#protocol/bytes.ts';
import { Failure } from '#protocol/failure.ts';
import type { VerifiedOrder } from '../shared/operator-order.ts';
import { createDeciding } from './deciding.ts';
import type { Begun, Turn } from './order-turn.ts';
import type { ApplicationParts } from './parts.ts';
import type { Intent } from './store.ts';

type IssueOrder = VerifiedOrder<'issue'>;

export function createIssuing(parts: ApplicationParts): { begin(order: IssueOrder): Promise<Begun> } {
  const { store, security, information, now, newId, random } = parts;
  const deciding = createDeciding(parts);

  /** The torn issuing of this card, or a new one; not written yet. */
  const intentFor = async (order: IssueOrder): Promise<{ intent: Intent; isWritten: boolean }> => {
    const { cardId, currency } = order.body;
    const [open] = await store.unresolvedOf(cardId);
    if (open?.kind === 'issue') return { intent: open, isWritten: true };
    if (open !== undefined) throw new Failure('card/unresolved');
    if ((await information.findCard({ cardId })) !== null) throw new Failure('card/already-issued');
    const writtenAt = Math.floor(now());
    const paymentId = newId();
    const intent: Intent = { paymentId, kind: 'issue', cardId, operationId: encodeHex(random(8)), amountMinor: 0n, currency, bill: null, sessionId: paymentId, transactionCounter: null, keyVersion: null, expectedTmi: '', source: null, request: order.jws, writtenAt };
    return { intent, isWritten: false };
  };

  /** A torn issuing that has come this far before has its customer already. */
  const holderOf = async ({ body: { cardId, holder } }: IssueOrder): Promise<string | null> => {
    const registered = await information.findCard({ cardId });
    if (registered !== null) return registered.customerId;
    return holder.is === 'new-customer' ? (await information.createCustomer({ name: holder.name })).customerId : null;
  };

  const finish = async (order: IssueOrder, intent: Intent): Promise<Turn> => {
    const { cardId, currency, limitMinor } = order.body;
    const customerId = await holderOf(order);
    if (!(await information.registerCard({ cardId, customerId, currency, limitMinor }))) throw new Failure('card/already-issued');
    await deciding.carriedOut(intent, { by: 'issuing', customerId });
    const enrolmentCode = customerId === null ? null : (await information.newEnrolmentCode({ customerId })).enrolmentCode;
    const activationCode = customerId === null ? (await information.newActivationCode({ cardId })).activationCode : null;
    return { report: { kind: 'issue', cardId, customerId, enrolmentCode, activationCode } };
  };

  return {
    begin: async (order) => {
      const { intent, isWritten } = await intentFor(order);
      const opened = await security.openIssue({ order: order.jws, operationId: intent.operationId, timeSeconds: Math.floor(intent.writtenAt / 1000) });
      const next = async (responses: string[], written: boolean): Promise<Turn> => {
        const { commands } = await security.continueIssue({ sessionId: opened.sessionId, responses });
        if (commands === null) return finish(order, intent);
        // The first batch only authenticated: a card that is no factory card leaves no record. Before anything is changed, the INTENT is durable.
        if (!written && (await store.writeIntent(intent)) !== 'written') throw new Failure('card/unresolved');
        return { phase: 'issue', commands, next: (answers) => next(answers, true) };
      };
      return { paymentId: intent.paymentId, first: { phase: 'authenticate', commands: opened.commands, next: (responses) => next(responses, isWritten) } };
    },
  };
}
