/** The application store in memory, with the semantics of a crash: what is committed stays, nothing else does. For simulation and tests. */
/* eslint-disable @typescript-eslint/require-await -- async, so that a bug rejects as it does in PostgreSQL */
import { strict as assert } from 'node:assert';
import type { ApplicationStore, BillOfOperation, Decision, Intent, Operation, OperationState, OutstandingNotice, Transfer } from './store.ts';
import { TRANSITIONS } from './store.ts';

interface HeldNotice extends OutstandingNotice {
  nextAttemptAt: number;
  acknowledgedAt: number | null;
}

const HOLDS_BILL: readonly OperationState[] = ['INTENT', 'DONE', 'EXPIRED', 'CLOSED', 'REFUND_DUE'];
const HOLDS_CARD: readonly OperationState[] = ['INTENT', 'EXPIRED'];

export function createMemoryApplicationStore(): ApplicationStore {
  const operations = new Map<string, Operation>();
  const notices = new Map<string, HeldNotice>();
  const transfers: Transfer[] = [];
  const all = (): Operation[] => [...operations.values()];
  const isHeld = ({ shopId, billId }: BillOfOperation, except: string): boolean =>
    all().some(({ paymentId, bill, state }) => paymentId !== except && bill?.shopId === shopId && bill.billId === billId && HOLDS_BILL.includes(state));

  return {
    writeIntent: async (intent: Intent) => {
      const { paymentId, operationId, cardId, bill } = intent;
      assert(!all().some((other) => other.paymentId === paymentId || other.operationId === operationId), 'the number of an operation was used twice');
      if (bill !== null && isHeld(bill, paymentId)) return 'bill-taken';
      if (all().some((other) => other.cardId === cardId && HOLDS_CARD.includes(other.state))) return 'card-taken';
      operations.set(paymentId, { ...intent, state: 'INTENT', decidedAt: null, evidence: null, notice: null });
      return 'written';
    },
    decide: (decision: Decision) => {
      const operation = operations.get(decision.paymentId);
      if (operation === undefined || !TRANSITIONS[operation.state].includes(decision.to)) return Promise.resolve(false);
      if (operation.bill !== null && isHeld(operation.bill, operation.paymentId)) return Promise.resolve(false);
      const { to, evidence, decidedAt, transfer, notice } = decision;
      operations.set(operation.paymentId, { ...operation, state: to, evidence, decidedAt, notice: notice?.jws ?? operation.notice });
      if (transfer !== null) transfers.push(transfer);
      if (notice !== null) {
        const noticeId = `${decision.paymentId}/${to}`;
        const { shopId, billId, jws } = notice;
        notices.set(noticeId, { noticeId, shopId, billId, jws, attempts: 0, nextAttemptAt: decidedAt, acknowledgedAt: null });
      }
      return Promise.resolve(true);
    },
    find: (paymentId) => Promise.resolve(operations.get(paymentId)),
    unresolvedOf: (cardId) => Promise.resolve(all().filter((operation) => operation.cardId === cardId && HOLDS_CARD.includes(operation.state))),
    attemptsFor: (shopId, billId) => Promise.resolve(all().filter(({ bill }) => bill?.shopId === shopId && bill.billId === billId)),
    overdue: (before, limit) => Promise.resolve(all().filter((operation) => isOverdue(operation, before, all())).slice(0, limit)),
    dueNotices: (now, limit) => Promise.resolve([...notices.values()].filter((held) => held.acknowledgedAt === null && held.nextAttemptAt <= now).slice(0, limit).map(({ noticeId, shopId, billId, jws, attempts }) => ({ noticeId, shopId, billId, jws, attempts }))),
    markNotice: (noticeId, mark) => {
      const held = notices.get(noticeId);
      if (held === undefined || held.acknowledgedAt !== null) return Promise.resolve();
      const marked = 'acknowledgedAt' in mark ? { ...held, acknowledgedAt: mark.acknowledgedAt } : { ...held, nextAttemptAt: mark.nextAttemptAt, attempts: held.attempts + 1 };
      notices.set(noticeId, marked);
      return Promise.resolve();
    },
    balanceOf: (account, currency) =>
      Promise.resolve(
        transfers
          .filter((transfer) => transfer.currency === currency)
          .reduce((sum, { debit, credit, amountMinor }) => sum + (credit === account ? amountMinor : 0n) - (debit === account ? amountMinor : 0n), 0n),
      ),
  };
}

function isOverdue({ paymentId, bill, state }: Operation, before: number, all: readonly Operation[]): boolean {
  if (bill === null || bill.expiresAt >= before) return false;
  if (state === 'INTENT') return true;
  const attempts = all.filter((other) => other.bill?.shopId === bill.shopId && other.bill.billId === bill.billId);
  return attempts.every((attempt) => attempt.state === 'ABORTED') && attempts.at(-1)?.paymentId === paymentId;
}
