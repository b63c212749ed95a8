/** What the application server must never forget: operations, what they moved, and the notices that it owes. Its two commits a payment are here. */
import type { Currency } from '#protocol/amount.ts';
import type { Jws } from '#protocol/signed.ts';

/** Transitions: INTENT to DONE, ABORTED or EXPIRED; ABORTED to CLOSED; EXPIRED to CLOSED or REFUND_DUE. Nothing else. */
export type OperationState = 'INTENT' | 'DONE' | 'ABORTED' | 'EXPIRED' | 'CLOSED' | 'REFUND_DUE';
export type OperationKind = 'pay' | 'load' | 'refund' | 'issue';

export const TRANSITIONS: Readonly<Record<OperationState, readonly OperationState[]>> = {
  INTENT: ['DONE', 'ABORTED', 'EXPIRED'],
  ABORTED: ['CLOSED'],
  EXPIRED: ['CLOSED', 'REFUND_DUE'],
  DONE: [],
  CLOSED: [],
  REFUND_DUE: [],
};

/** The bill that a payment is for; a load or issue has none. */
export interface BillOfOperation {
  readonly shopId: string;
  readonly billId: string;
  readonly billDigest: string;
  /** Epoch milliseconds. */
  readonly expiresAt: number;
}

export interface Intent {
  /** UUID of this attempt. */
  readonly paymentId: string;
  readonly kind: OperationKind;
  readonly cardId: string;
  /** 16 hex digits: what the card's log record says. */
  readonly operationId: string;
  readonly amountMinor: bigint;
  readonly currency: Currency;
  readonly bill: BillOfOperation | null;
  readonly sessionId: string;
  /** TMC before the transaction; null where it was not read. */
  readonly transactionCounter: number | null;
  /** Hex. */
  readonly expectedTmi: string;
  /** The signed request (payment request or operator's order) that this carries out. */
  readonly request: Jws;
  readonly writtenAt: number;
}

export interface Operation extends Intent {
  readonly state: OperationState;
  readonly decidedAt: number | null;
  /** What justified the decision. */
  readonly evidence: Evidence | null;
  /** The ACN, once there is one. */
  readonly notice: Jws | null;
}

export type Evidence =
  | { readonly by: 'notice'; readonly transactionCounter: number; readonly transactionMac: string; readonly statement: Jws | null; readonly consent: Jws | null }
  | { readonly by: 'reading'; readonly sessionId: string; readonly newestOperationId: string; readonly transactionCounter: number; readonly balanceMinor: bigint | null }
  | { readonly by: 'issuing'; readonly customerId: string }
  | { readonly by: 'clock'; readonly at: number };

/** One transfer between two accounts: double entry by its shape. */
export interface Transfer {
  readonly debit: Account;
  readonly credit: Account;
  readonly amountMinor: bigint;
  readonly currency: Currency;
}

/** `cards`: what the cards hold, owed to their holders. `shop:ID`: owed to a shop. `refunds`: owed back to holders. `cash`: what was paid in. */
export type Account = 'cards' | 'cash' | 'refunds' | `shop:${string}`;

export interface Decision {
  readonly paymentId: string;
  readonly to: Exclude<OperationState, 'INTENT'>;
  readonly evidence: Evidence;
  readonly decidedAt: number;
  readonly transfer: Transfer | null;
  /** Stored in the same commit, sent afterwards until the shop acknowledges it. */
  readonly notice: { readonly jws: Jws; readonly shopId: string; readonly billId: string } | null;
}

export interface OutstandingNotice {
  readonly noticeId: string;
  readonly shopId: string;
  readonly billId: string;
  readonly jws: Jws;
  readonly attempts: number;
}

export interface ApplicationStore {
  /**
   * Durable before it resolves (payment-rules 1). Writes nothing and answers which constraint forbids it: an attempt for the same
   * bill that is not proved to have failed, or has ended it (rules 2, 9), or else an unresolved operation on the same card (rule 3).
   * Rejects if the payment id or the operation id was used before.
   */
  writeIntent(intent: Intent): Promise<'written' | 'bill-taken' | 'card-taken'>;
  /**
   * Durable before it resolves: state, evidence, transfer and notice in one commit.
   * Answers false, and changes nothing, if the operation is not in a state from which `to` may be reached, or if it is an aborted
   * attempt for a bill that another attempt holds by now (the shop must not hear "not paid" of that bill).
   */
  decide(decision: Decision): Promise<boolean>;
  find(paymentId: string): Promise<Operation | undefined>;
  /** INTENT or EXPIRED, of any kind; at most one. */
  unresolvedOf(cardId: string): Promise<readonly Operation[]>;
  /** Every attempt for a bill, oldest first. */
  attemptsFor(shopId: string, billId: string): Promise<readonly Operation[]>;
  /**
   * Payments whose bill expired before `billExpiredBefore`: those in INTENT, and the newest attempt of a bill whose attempts
   * were all ABORTED (so that the shop hears of it once); oldest attempts first, at most `limit`.
   */
  overdue(billExpiredBefore: number, limit: number): Promise<readonly Operation[]>;
  /** Notices that are not acknowledged and due at `now`, oldest first; at most `limit`. */
  dueNotices(now: number, limit: number): Promise<readonly OutstandingNotice[]>;
  /** Not durable by itself: a lost mark only means that a notice is sent again. */
  markNotice(noticeId: string, mark: { readonly acknowledgedAt: number } | { readonly nextAttemptAt: number }): Promise<void>;
  /** Sum of an account: credits less debits. */
  balanceOf(account: Account, currency: Currency): Promise<bigint>;
}
