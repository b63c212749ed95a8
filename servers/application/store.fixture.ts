/** Operations and lawful decisions for tests of the application store: every number is new, every field is set. */
import { randomBytes } from 'node:crypto';
import type { CardBlock, Decision, Evidence, Intent, Operation, OperationState, Transfer } from './store.ts';

export const BILL_EXPIRES_AT = 1_763_800_900_000;
const DECIDED_AT = 1_763_800_100_000;

let count = 0;

/** A number that no other test, and no other run on the same database, has. */
export function newNumber(): string {
  count += 1;
  return `${randomBytes(6).toString('hex')}-${count}`;
}

export function newHex(bytes: number): string {
  return randomBytes(bytes).toString('hex').toUpperCase();
}

export function newPayment(otherwise: Partial<Intent> = {}): Intent & { readonly bill: NonNullable<Intent['bill']> } {
  const bill = { shopId: 'shop', billId: `bill-${newNumber()}`, billDigest: `digest-${newNumber()}`, expiresAt: BILL_EXPIRES_AT };
  const intent = { ...newLoad(), kind: 'pay', bill, sessionId: 'session "お茶"', transactionCounter: 4_294_967_295, ...otherwise } as const;
  return { ...intent, bill: intent.bill ?? bill };
}

export function newLoad(otherwise: Partial<Intent> = {}): Intent {
  return {
    paymentId: newNumber(),
    kind: 'load',
    cardId: `04${newHex(6)}`,
    operationId: newHex(8),
    amountMinor: 2_147_483_647n,
    currency: 'JPY',
    bill: null,
    sessionId: newNumber(),
    transactionCounter: 0,
    keyVersion: 255,
    expectedTmi: newHex(32),
    source: null,
    request: `request.${newNumber()}.signature`,
    writtenAt: 1_763_800_000_000,
    ...otherwise,
  };
}

export function newIssue(otherwise: Partial<Intent> = {}): Intent {
  return newLoad({ kind: 'issue', amountMinor: 0n, transactionCounter: null, keyVersion: null, expectedTmi: '', ...otherwise });
}

export function newBlock(cardId: string, otherwise: Partial<CardBlock> = {}): CardBlock {
  return { cardId, blockedAt: 1_763_800_050_001, order: `order.${newNumber()}.signature`, ...otherwise };
}

const READING: Evidence = { by: 'reading', sessionId: 'later', newestOperationId: '00112233AABBCCDD', transactionCounter: 8, transactionMac: '8899AABBCCDDEEFF', balanceMinor: 9_007_199_254_740_993n };
const PCN: Evidence = { by: 'notice', transactionCounter: 8, transactionMac: '0011223344556677', statement: 'statement.jws.sig', consent: 'consent.jws.sig' };
const EVIDENCE: Readonly<Record<Decision['to'], Evidence>> = { DONE: PCN, ABORTED: READING, EXPIRED: { by: 'clock', at: DECIDED_AT }, CLOSED: { by: 'clock', at: DECIDED_AT }, REFUND_DUE: READING };

/** What the services would decide, with the transfer and the notice that belong to it. */
export function newDecision(intent: Intent, to: Decision['to'], otherwise: Partial<Decision> = {}): Decision {
  const { paymentId, kind, bill } = intent;
  const isHeard = bill !== null && to !== 'ABORTED' && to !== 'REFUND_DUE';
  return {
    paymentId,
    to,
    evidence: kind === 'issue' && to === 'DONE' ? { by: 'issuing', customerId: 'customer' } : EVIDENCE[to],
    decidedAt: DECIDED_AT,
    transfer: transferOf(intent, to),
    notice: isHeard ? { jws: `acn.${to}.${newNumber()}`, shopId: bill.shopId, billId: bill.billId } : null,
    ...otherwise,
  };
}

function transferOf({ kind, cardId, bill, source, amountMinor, currency }: Intent, to: Decision['to']): Transfer | null {
  const card = `card:${cardId}` as const;
  if (kind === 'pay' && bill !== null && to === 'DONE') return { debit: card, credit: `shop:${bill.shopId}`, amountMinor, currency };
  if (kind === 'pay' && to === 'REFUND_DUE') return { debit: card, credit: 'refunds', amountMinor, currency };
  if (kind === 'refund' && to === 'DONE') return { debit: 'refunds', credit: card, amountMinor, currency };
  if (kind === 'load' && to === 'DONE') return { debit: source === null ? 'cash' : `card:${source.cardId}`, credit: card, amountMinor, currency };
  return null;
}

export function asIntent(intent: Intent): Operation {
  return { ...intent, state: 'INTENT', decidedAt: null, evidence: null, notice: null };
}

export function asDecided(before: Intent & { readonly notice?: Operation['notice'] }, { to, evidence, decidedAt, notice }: Decision): Operation {
  return { ...before, state: to, evidence, decidedAt, notice: notice?.jws ?? before.notice ?? null };
}

/** How an operation comes into each state. */
export const PATH_TO: Readonly<Record<OperationState, readonly Decision['to'][]>> = {
  INTENT: [],
  DONE: ['DONE'],
  ABORTED: ['ABORTED'],
  EXPIRED: ['EXPIRED'],
  CLOSED: ['ABORTED', 'CLOSED'],
  REFUND_DUE: ['EXPIRED', 'REFUND_DUE'],
};
