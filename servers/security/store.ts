/** What the security server must never forget: with which key version a card was issued, and which orders it has carried out. */

export interface IssuedCardRecord {
  /** UID, 14 hex digits. */
  readonly cardId: string;
  /** Version of the master keys that this card's keys come from. */
  readonly keyVersion: number;
  /** Epoch milliseconds. */
  readonly issuedAt: number;
}

export interface SecurityStore {
  findCard(cardId: string): Promise<IssuedCardRecord | undefined>;
  /** Durable before it resolves; the same card again changes nothing. */
  recordIssued(card: IssuedCardRecord): Promise<void>;
  /** Durable before it resolves; false if this order (digest of its signing input) was used before. */
  useOrder(orderDigest: string, usedAt: number): Promise<boolean>;
}
