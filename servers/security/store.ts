/** What the security server must never forget: which keys a card has, and which orders it has carried out. */

export interface IssuedCardRecord {
  /** UID, 14 hex digits. */
  readonly cardId: string;
  /** Version of the master keys that this card's keys come from. */
  readonly keyVersion: number;
  /** While a re-keying is not proved to be finished: the version that it leads to. The card then has keys of both. */
  readonly rekeyingTo: number | null;
  /** Epoch milliseconds. */
  readonly issuedAt: number;
}

/** An operator's order that makes money on a card. */
export interface LoadOrder {
  readonly orderDigest: string;
  readonly amountMinor: bigint;
  /** Epoch milliseconds. */
  readonly usedAt: number;
}

/** Loads are counted over this long. */
export const LOAD_DAY_MS = 24 * 60 * 60_000;

export interface SecurityStore {
  findCard(cardId: string): Promise<IssuedCardRecord | undefined>;
  /** Durable before it resolves; the same card again changes nothing. */
  recordIssued(card: Omit<IssuedCardRecord, 'rekeyingTo'>): Promise<void>;
  /**
   * Durable before it resolves: from now on any of the card's keys may be of version `toVersion`, greater than the card's. Answers false, and changes
   * nothing, unless the card's keys are all of an older version or exactly this re-keying has begun before.
   */
  beginRekey(cardId: string, toVersion: number): Promise<boolean>;
  /** Durable before it resolves: every key is of the version that `beginRekey` named. Answers false, and changes nothing, if no such re-keying has begun. */
  finishRekey(cardId: string, toVersion: number): Promise<boolean>;
  /** Durable before it resolves; false if this order (digest of its signing input) was used before. */
  useOrder(orderDigest: string, usedAt: number): Promise<boolean>;
  /**
   * Durable before it resolves; uses the order unless it was used before or the loads of the LOAD_DAY_MS before it would come above `dayLimitMinor`
   * with it. Check and use are one: however many orders come at once, together they stay within the limit.
   */
  useLoadOrder(order: LoadOrder, dayLimitMinor: bigint): Promise<'used' | 'used-before' | 'above-limit'>;
}
