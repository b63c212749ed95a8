/** What the application server must never forget: operations, what they moved, and the notices that it owes. Its two commits a payment are here. */
import type { Currency } from '#protocol/amount.ts';
import type { OperationKind } from '#protocol/messages/card-record.ts';
import type { Jws } from '#protocol/signed.ts';

/** Transitions: INTENT to DONE, ABORTED or EXPIRED; ABORTED to CLOSED; EXPIRED to CLOSED or REFUND_DUE. Nothing else. Only a payment expires. */
export type OperationState = 'INTENT' | 'DONE' | 'ABORTED' | 'EXPIRED' | 'CLOSED' | 'REFUND_DUE';

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

/** The blocked card that a load takes its value from, by the books. */
export interface LoadSource {
  readonly cardId: string;
  /** Its unresolved payments that the operator counts as not debited: the institution bears it if they were. */
  readonly countedAsNotDebited: readonly string[];
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
  /** Of the AppTMKey that TMC and TMV belong to; null for an issue. */
  readonly keyVersion: number | null;
  /** Hex. */
  readonly expectedTmi: string;
  /** A load that replaces a lost card: whose value it moves (payment-rules 20). */
  readonly source: LoadSource | null;
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
  | { readonly by: 'reading'; readonly sessionId: string; readonly newestOperationId: string; readonly transactionCounter: number; readonly transactionMac: string; readonly balanceMinor: bigint | null }
  /** `customerId`: null where the card waits for whoever has its activation code. */
  | { readonly by: 'issuing'; readonly customerId: string | null }
  | { readonly by: 'clock'; readonly at: number };

/** One transfer between two accounts: double entry by its shape. */
export interface Transfer {
  readonly debit: Account;
  readonly credit: Account;
  readonly amountMinor: bigint;
  readonly currency: Currency;
}

/** `card:ID`: what a card holds, owed to its holder. `shop:ID`: owed to a shop. `refunds`: owed back to holders. `cash`: what was paid in. */
export type Account = `card:${string}` | 'cash' | 'refunds' | `shop:${string}`;

/** A card that was reported lost. */
export interface CardBlock {
  readonly cardId: string;
  readonly blockedAt: number;
  /** The operator's order. */
  readonly order: Jws;
}

/** What the books say of a card. */
export interface BookedCard {
  readonly block: CardBlock | null;
  readonly ledgerMinor: bigint;
  /**
   * The ledger's balance less every unresolved operation that would lower it, and less every unresolved load that takes from this card;
   * a load or refund onto it that is unresolved adds nothing. Never below zero.
   */
  readonly movableMinor: bigint;
}

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
   * A blocked card takes nothing of any kind (rule 20); a source must be blocked and hold the amount, by the books and less everything
   * unresolved but what is counted as not debited: open payments of that card, each once only (a load that was aborted has not counted it).
   * Rejects if the payment id or the operation id was used before.
   */
  writeIntent(intent: Intent): Promise<'written' | 'bill-taken' | 'card-taken' | 'card-blocked' | 'source-not-blocked' | 'source-too-low'>;
  /** Durable before it resolves; final; the first order counts. Answers the block that holds. After it no INTENT on this card is written. */
  blockCard(block: CardBlock): Promise<CardBlock>;
  bookedCard(cardId: string, currency: Currency): Promise<BookedCard>;
  /** What is known of the records in a card's log, oldest first; operations of other cards are not found. */
  findByOperationIds(cardId: string, operationIds: readonly string[]): Promise<readonly Operation[]>;
  /**
   * Durable before it resolves: state, evidence, transfer and notice in one commit. Rejects if transfer or notice do not fit the operation.
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
