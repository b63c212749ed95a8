/** What is decided about an operation, by PCN or by a reading, and what follows from it: ledger, ACN; all in one commit (payment-rules 1, 4 to 6, 9). */
import { notice } from '#protocol/messages/notice.ts';
import { signMessage, type Jws } from '#protocol/signed.ts';
import { Failure } from '#protocol/failure.ts';
import type { CardReading, Verdict } from '../shared/apis/security.ts';
import type { ApplicationParts } from './parts.ts';
import type { Decision, Evidence, Intent, Operation, Transfer } from './store.ts';

/** An operation as the PC hears of it: the debit happened, or it did not. */
export interface Decided {
  readonly operation: Operation;
  readonly outcome: 'paid' | 'not-paid';
  readonly notice: Jws | null;
}

export interface Deciding {
  /** A valid PCN is proof even from a superseded session: INTENT becomes DONE, EXPIRED becomes REFUND_DUE. Answers the ACN. */
  byNotice(intent: Intent, verdict: Verdict & { verdict: 'committed' }, evidence: { statement: Jws; consent: Jws | null }): Promise<Jws>;
  /** Decides what was unresolved when the reading's session started, by the operation id in the card's log. */
  byReading(session: { readonly sessionId: string; readonly unresolved: readonly Operation[] }, reading: CardReading): Promise<readonly Decided[]>;
  /** An issue or load that the security server has proved; it has no notice. */
  carriedOut(intent: Intent, evidence: Evidence): Promise<void>;
  /** Bills that were not paid in time: proved (ABORTED) become CLOSED, in doubt (INTENT) become EXPIRED; the shop hears "not paid". */
  byClock(operation: Operation, at: number): Promise<void>;
}

export function createDeciding(parts: ApplicationParts): Deciding {
  const { store, now, onNotice } = parts;

  const commit = async (decision: Decision): Promise<boolean> => {
    const done = await store.decide(decision);
    if (done && decision.notice !== null) onNotice();
    return done;
  };

  const decide = async (operation: Intent, to: Decision['to'], evidence: Evidence): Promise<boolean> => {
    const decidedAt = Math.floor(now());
    const jws = await noticeFor(operation, to, decidedAt, parts);
    const owed = jws === null || operation.bill === null ? null : { jws, shopId: operation.bill.shopId, billId: operation.bill.billId };
    return commit({ paymentId: operation.paymentId, to, evidence, decidedAt, transfer: transferFor(operation, to), notice: owed });
  };

  return {
    byNotice: async (intent, { transactionCounter, transactionMac }, { statement, consent }) => {
      const evidence: Evidence = { by: 'notice', transactionCounter, transactionMac, statement, consent };
      // The state now, not the one in memory, says what the proof makes of it; the store refuses any other transition.
      if (!(await decide(intent, 'DONE', evidence))) await decide(intent, 'REFUND_DUE', evidence);
      const settled = await store.find(intent.paymentId);
      if (settled?.state !== 'DONE' || settled.notice === null) throw new Failure('card/unresolved', { detail: `operation is ${settled?.state ?? 'gone'}` });
      return settled.notice;
    },

    byReading: async ({ sessionId, unresolved }, reading) => {
      const decided: Decided[] = [];
      for (const operation of unresolved) {
        const [newest] = reading.records;
        const { transactionCounter, transactionMac, balanceMinor } = reading;
        const debited = newest.operationId === operation.operationId;
        if (debited) await requireTransactionMac(operation, reading, parts);
        const evidence: Evidence = { by: 'reading', sessionId, newestOperationId: newest.operationId, transactionCounter, transactionMac, balanceMinor };
        const to = operation.state === 'EXPIRED' ? (debited ? 'REFUND_DUE' : 'CLOSED') : debited ? 'DONE' : 'ABORTED';
        await decide(operation, to, evidence);
        const settled = await store.find(operation.paymentId);
        if (settled === undefined || settled.state === 'INTENT') throw new Failure('internal/bug', { detail: 'a reading decided nothing' });
        decided.push({ operation: settled, outcome: settled.state === 'DONE' ? 'paid' : 'not-paid', notice: settled.state === 'DONE' ? settled.notice : null });
      }
      return decided;
    },

    carriedOut: async (intent, evidence) => {
      if (await decide(intent, 'DONE', evidence)) return;
      const settled = await store.find(intent.paymentId);
      if (settled?.state !== 'DONE') throw new Failure('card/unresolved', { detail: `operation is ${settled?.state ?? 'gone'}` });
    },

    byClock: async (operation, at) => {
      await decide(operation, operation.state === 'ABORTED' ? 'CLOSED' : 'EXPIRED', { by: 'clock', at });
    },
  };
}

/**
 * The log has decided (payment-rules 6); the transaction MAC is the cross-check: the card must have committed exactly what was ordered, or nothing is
 * decided. An issue has no expected TMI, and a card that was re-keyed since has another count and key.
 */
async function requireTransactionMac({ cardId, keyVersion, expectedTmi }: Intent, { transactionCounter, transactionMac, ...reading }: CardReading, { security }: ApplicationParts): Promise<void> {
  if (keyVersion === null || keyVersion !== reading.keyVersion) return;
  const isOurs = await security.checkTransaction({ cardId, keyVersion, transactionCounter, transactionMac, transactionMacInput: expectedTmi });
  if (!isOurs) throw new Failure('card/not-genuine', { detail: 'the log shows the operation, the transaction MAC another one' });
}

/** The shop hears "paid" from DONE, "not paid" from CLOSED or EXPIRED, nothing else (payment-rules 9). */
async function noticeFor(operation: Intent, to: Decision['to'], at: number, { signer }: ApplicationParts): Promise<Jws | null> {
  const { bill, paymentId, operationId, amountMinor, currency } = operation;
  if (bill === null || to === 'ABORTED' || to === 'REFUND_DUE') return null;
  const { billDigest, shopId, billId } = bill;
  return signMessage(notice, { paymentId, operationId, billDigest, shopId, billId, amountMinor, currency, outcome: to === 'DONE' ? 'paid' : 'not-paid', at }, signer, { introduce: true });
}

/** A load takes its value from what was paid in, or from the account of the lost card that it replaces (payment-rules 20). */
function transferFor({ kind, cardId, bill, source, amountMinor, currency }: Intent, to: Decision['to']): Transfer | null {
  if (to === 'DONE') {
    if (kind === 'pay' && bill !== null) return { debit: `card:${cardId}`, credit: `shop:${bill.shopId}`, amountMinor, currency };
    if (kind === 'load') return { debit: source === null ? 'cash' : `card:${source.cardId}`, credit: `card:${cardId}`, amountMinor, currency };
    if (kind === 'refund') return { debit: 'refunds', credit: `card:${cardId}`, amountMinor, currency };
  }
  if (to === 'REFUND_DUE') return { debit: `card:${cardId}`, credit: 'refunds', amountMinor, currency };
  return null;
}
