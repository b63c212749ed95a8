/** The application store in memory, with the semantics of a crash: what is committed stays, nothing else does. For simulation and tests. */
/* eslint-disable @typescript-eslint/require-await -- async, so that a bug rejects as it does in PostgreSQL */
import { strict as assert } from 'node:assert';
import type { Currency } from '#protocol/amount.ts';
import type { Account, ApplicationStore, BillOfOperation, CardBlock, Decision, Intent, LoadSource, Operation, OperationState, OutstandingNotice, Transfer } from './store.ts';
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
  const blocks = new Map<string, CardBlock>();
  const all = (): Operation[] => [...operations.values()];
  const isHeld = ({ shopId, billId }: BillOfOperation, except: string): boolean =>
    all().some(({ paymentId, bill, state }) => paymentId !== except && bill?.shopId === shopId && bill.billId === billId && HOLDS_BILL.includes(state));
  const { balanceOf, movable, holds } = accountsOf({ operations, transfers });

  return {
    writeIntent: async (intent: Intent) => {
      const { paymentId, operationId, cardId, bill, kind, source } = intent;
      if (blocks.has(cardId)) return 'card-blocked';
      if (source !== null && !blocks.has(source.cardId)) return 'source-not-blocked';
      if (source !== null && !holds(source, intent)) return 'source-too-low';
      assert(source === null || kind === 'load', 'only a load takes from another card');
      assert((intent.keyVersion === null) === (kind === 'issue'), 'only an issue has no key version');
      assert(!all().some((other) => other.paymentId === paymentId || other.operationId === operationId), 'the number of an operation was used twice');
      if (bill !== null && isHeld(bill, paymentId)) return 'bill-taken';
      if (all().some((other) => other.cardId === cardId && HOLDS_CARD.includes(other.state))) return 'card-taken';
      operations.set(paymentId, { ...intent, state: 'INTENT', decidedAt: null, evidence: null, notice: null });
      return 'written';
    },
    decide: async (decision: Decision) => {
      const operation = operations.get(decision.paymentId);
      if (operation === undefined || !TRANSITIONS[operation.state].includes(decision.to)) return false;
      if (operation.bill !== null && isHeld(operation.bill, operation.paymentId)) return false;
      assertLawful(operation, decision);
      const { to, evidence, decidedAt, transfer, notice } = decision;
      operations.set(operation.paymentId, { ...operation, state: to, evidence, decidedAt, notice: notice?.jws ?? operation.notice });
      if (transfer !== null) transfers.push(transfer);
      if (notice !== null) {
        const noticeId = `${decision.paymentId}/${to}`;
        const { shopId, billId, jws } = notice;
        notices.set(noticeId, { noticeId, shopId, billId, jws, attempts: 0, nextAttemptAt: decidedAt, acknowledgedAt: null });
      }
      return true;
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
    balanceOf: async (account, currency) => balanceOf(account, currency),
    blockCard: async (block) => {
      const held = blocks.get(block.cardId) ?? block;
      blocks.set(block.cardId, held);
      return held;
    },
    bookedCard: async (cardId, currency) => {
      const movableMinor = movable(cardId, currency, []);
      return { block: blocks.get(cardId) ?? null, ledgerMinor: balanceOf(`card:${cardId}`, currency), movableMinor: movableMinor > 0n ? movableMinor : 0n };
    },
    findByOperationIds: async (cardId, operationIds) => all().filter((operation) => operation.cardId === cardId && operationIds.includes(operation.operationId)),
  };
}

/** What the accounts of cards hold, and what of it may be moved. */
function accountsOf({ operations, transfers }: { readonly operations: ReadonlyMap<string, Operation>; readonly transfers: readonly Transfer[] }) {
  const balanceOf = (account: Account, currency: Currency): bigint =>
    transfers
      .filter((transfer) => transfer.currency === currency)
      .reduce((sum, { debit, credit, amountMinor }) => sum + (credit === account ? amountMinor : 0n) - (debit === account ? amountMinor : 0n), 0n);
  const all = (): Operation[] => [...operations.values()];
  const isOpen = ({ state }: Operation): boolean => HOLDS_CARD.includes(state);
  /** What the account holds, less everything unresolved that lowers it; payments that are `counted` as not debited are left out. */
  const movable = (cardId: string, currency: Currency, counted: readonly string[]): bigint =>
    all()
      .filter((operation) => operation.currency === currency && isOpen(operation))
      .filter(({ paymentId, kind, source, ...of }) => source?.cardId === cardId || (of.cardId === cardId && kind === 'pay' && !counted.includes(paymentId)))
      .reduce((sum, { amountMinor }) => sum - amountMinor, balanceOf(`card:${cardId}`, currency));
  const mayCount = (paymentId: string, sourceId: string, currency: Currency): boolean => {
    const paid = operations.get(paymentId);
    const isOpenPayment = paid !== undefined && paid.kind === 'pay' && paid.cardId === sourceId && paid.currency === currency && isOpen(paid);
    return isOpenPayment && !all().some(({ source, state }) => (state === 'INTENT' || state === 'DONE') && source?.countedAsNotDebited.includes(paymentId));
  };
  const holds = ({ cardId, countedAsNotDebited: counted }: LoadSource, { amountMinor, currency }: Intent): boolean =>
    amountMinor <= movable(cardId, currency, counted) && new Set(counted).size === counted.length && counted.every((paymentId) => mayCount(paymentId, cardId, currency));
  return { balanceOf, movable, holds };
}

function isOverdue({ paymentId, bill, state }: Operation, before: number, all: readonly Operation[]): boolean {
  if (bill === null || bill.expiresAt >= before) return false;
  if (state === 'INTENT') return true;
  const attempts = all.filter((other) => other.bill?.shopId === bill.shopId && other.bill.billId === bill.billId);
  return attempts.every((attempt) => attempt.state === 'ABORTED') && attempts.at(-1)?.paymentId === paymentId;
}

/** The law that the database keeps by itself elsewhere: what a decision moves, and who hears of it. */
function assertLawful(operation: Operation, { to, transfer, notice }: Decision): void {
  const { kind, bill, amountMinor, currency } = operation;
  assert(kind === 'pay' || to !== 'EXPIRED', 'only a payment expires');
  const accounts = accountsMovedBy(operation, to);
  assert.deepEqual(transfer, accounts === null ? null : { debit: accounts[0], credit: accounts[1], amountMinor, currency }, 'the ledger does not fit the operation');
  assert.equal(notice !== null, kind === 'pay' && (to === 'DONE' || to === 'EXPIRED' || to === 'CLOSED'), 'the shop hears outcomes');
  assert(notice === null || (notice.shopId === bill?.shopId && notice.billId === bill.billId), 'a notice of another bill');
}

function accountsMovedBy({ kind, cardId, bill, source }: Operation, to: OperationState): [Account, Account] | null {
  if (kind === 'issue' || (to !== 'DONE' && to !== 'REFUND_DUE')) return null;
  const card: Account = `card:${cardId}`;
  if (kind === 'pay') return [card, to === 'REFUND_DUE' || bill === null ? 'refunds' : `shop:${bill.shopId}`];
  if (kind === 'refund') return ['refunds', card];
  return [source === null ? 'cash' : `card:${source.cardId}`, card];
}
