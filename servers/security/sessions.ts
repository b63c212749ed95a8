/** The security server's sessions with cards, in memory only: one live session a card, one transfer a session, everything bounded in number and age. */
import { randomBytes, randomUUID } from 'node:crypto';
import type { CardCommand } from '#protocol/apdu.ts';
import { encodeHex, type Bytes } from '#protocol/bytes.ts';
import { Failure } from '#protocol/failure.ts';
import { PendingAuthentication } from './desfire/authentication.ts';
import { onlyAnswer } from './layout.ts';
import { unproven, type Transfer, type TransferOrder, type TransferVerdict, type WalletCard } from './transfer.ts';
import { WalletSession, type Reading, type ReadingKind } from './wallet.ts';

export interface CardSessionsOptions {
  /** Milliseconds; only differences count. */
  readonly now?: () => number;
  readonly random?: (length: number) => Bytes;
  readonly newSessionId?: () => string;
  /** A dialogue that has not come to its transfer by then is over. */
  readonly liveMs?: number;
  /** So long a late PCN can still be proved without a reading. */
  readonly transferMs?: number;
  readonly maxLive?: number;
  readonly maxTransfers?: number;
}

export interface AuthenticationKeys {
  /** K_C of the key number that the card was asked for. */
  readonly authenticationKey: Bytes;
  /** AppTMKey, and the version of both. */
  readonly transactionMacKey: Bytes;
  readonly keyVersion: number;
}

type Stage =
  | { readonly at: 'begun' }
  | { readonly at: 'authenticating'; readonly pending: PendingAuthentication; readonly card: WalletCard }
  | { readonly at: 'open'; readonly wallet: WalletSession };

/** One dialogue with one card. Every method throws `settlement/session` once a newer session, an unexpected answer, its age or its transfer has ended it. */
export class LiveSession<Context> {
  readonly id: string;
  readonly uid: Bytes;
  /** What the caller found when the session began; a reading may decide nothing else (payment-rules 4). */
  readonly context: Context;
  readonly #registry: Registry;
  #stage: Stage = { at: 'begun' };
  #isExclusive = false;
  /** TMC of the newest reading, kept over a second authentication in the same session. */
  #transactionCounter: number | undefined;

  constructor(id: string, uid: Bytes, context: Context, registry: Registry) {
    this.id = id;
    this.uid = uid;
    this.context = context;
    this.#registry = registry;
  }

  /** 14 hex digits, upper case. */
  get cardId(): string {
    return encodeHex(this.uid);
  }

  /** Throws `settlement/session` unless this is still the card's session: ask after every wait. */
  assertLive(): void {
    this.#registry.assertLive(this.id);
  }

  /** Our half of the mutual authentication: part 2. Again, with another key, in the same session: the earlier half is void, what was read is kept. */
  authenticate(challenge: Bytes, keys: AuthenticationKeys): CardCommand {
    this.assertLive();
    return this.#orEnd(() => {
      const { authenticationKey, transactionMacKey, keyVersion } = keys;
      const pending = new PendingAuthentication({ authenticationKey, challenge, hostRandom: this.#registry.random(16) });
      this.#dropWallet();
      this.#stage = { at: 'authenticating', pending, card: { uid: this.uid, transactionMacKey, keyVersion } };
      return pending.command;
    });
  }

  /** Checks the card's half. Throws as `PendingAuthentication.verify` does. */
  takeAuthentication(responses: readonly Bytes[]): void {
    this.assertLive();
    this.#orEnd(() => {
      const stage = this.#stage;
      if (stage.at !== 'authenticating') throw new Failure('settlement/session', { detail: `session is ${stage.at}, not authenticating` });
      const session = stage.pending.verify(onlyAnswer(responses));
      this.#stage = { at: 'open', wallet: new WalletSession(session, stage.card, this.#transactionCounter) };
    });
  }

  /** BRC. */
  requestReading(kind: ReadingKind): readonly CardCommand[] {
    return this.#inWallet((wallet) => wallet.requestReading(kind));
  }

  /** BI. */
  takeReading(responses: readonly Bytes[]): Reading {
    return this.#inWallet((wallet) => {
      const reading = wallet.parseReading(responses);
      this.#transactionCounter = reading.transactionCounter;
      return reading;
    });
  }

  /** SPC: once, and the session is over; its answers are judged by `CardSessions.verifyTransfer`. */
  prepareTransfer(order: TransferOrder): Transfer {
    return this.#inWallet((wallet) => {
      const transfer = wallet.prepareTransfer(order);
      this.#registry.spend(this.id, transfer);
      return transfer;
    });
  }

  /** While `act` is under way no other session of this card can begin. Throws `settlement/session` unless this is the card's session. */
  async exclusively<T>(act: () => Promise<T>): Promise<T> {
    this.assertLive();
    this.#isExclusive = true;
    try {
      return await act();
    } finally {
      this.#isExclusive = false;
    }
  }

  get isExclusive(): boolean {
    return this.#isExclusive;
  }

  /** For the registry: forgets every key. */
  forgetKeys(): void {
    this.#dropWallet();
    this.#stage = { at: 'begun' };
  }

  #inWallet<T>(act: (wallet: WalletSession) => T): T {
    this.assertLive();
    return this.#orEnd(() => {
      if (this.#stage.at !== 'open') throw new Failure('settlement/session', { detail: `session is ${this.#stage.at}, not open` });
      return act(this.#stage.wallet);
    });
  }

  #orEnd<T>(act: () => T): T {
    try {
      return act();
    } catch (cause) {
      this.#registry.end(this.id);
      throw cause;
    }
  }

  #dropWallet(): void {
    if (this.#stage.at === 'open') this.#stage.wallet.end();
  }
}

/** What a session asks of those who keep it. */
interface Registry {
  random(length: number): Bytes;
  assertLive(sessionId: string): void;
  spend(sessionId: string, transfer: Transfer): void;
  end(sessionId: string): void;
}

interface Aged {
  readonly sinceMs: number;
}

export class CardSessions<Context> {
  readonly #now: () => number;
  readonly #newSessionId: () => string;
  readonly #limits: { readonly liveMs: number; readonly transferMs: number; readonly maxLive: number; readonly maxTransfers: number };
  /** Both maps are in order of age, so the oldest is always the first. */
  readonly #live = new Map<string, Aged & { readonly session: LiveSession<Context> }>();
  readonly #liveByCard = new Map<string, string>();
  readonly #transfers = new Map<string, Aged & { readonly transfer: Transfer }>();
  readonly #registry: Registry;

  constructor(options: CardSessionsOptions = {}) {
    const { now = () => performance.now(), random = (length: number) => new Uint8Array(randomBytes(length)), newSessionId = randomUUID } = options;
    const { liveMs = 5 * 60_000, transferMs = 30 * 60_000, maxLive = 20_000, maxTransfers = 100_000 } = options;
    this.#now = now;
    this.#newSessionId = newSessionId;
    this.#limits = { liveMs, transferMs, maxLive, maxTransfers };
    this.#registry = {
      random,
      assertLive: (sessionId) => void this.get(sessionId),
      spend: (sessionId, transfer) => this.#spend(sessionId, transfer),
      end: (sessionId) => this.#end(sessionId),
    };
  }

  get liveCount(): number {
    return this.#live.size;
  }

  /**
   * Starts a session and at once ends the card's earlier one (payment-rules 4): its readings are void, its transfer, if made, can still be proved.
   * Throws `settlement/busy` when too many dialogues are under way, or the card's earlier session cannot be ended at this moment.
   */
  begin(uid: Bytes, context: Context): LiveSession<Context> {
    this.#dropExpired();
    const earlier = this.#liveByCard.get(encodeHex(uid));
    if (earlier !== undefined && this.#live.get(earlier)?.session.isExclusive === true) throw new Failure('settlement/busy', { detail: 'the card is being changed' });
    if (earlier !== undefined) this.#end(earlier);
    if (this.#live.size >= this.#limits.maxLive) throw new Failure('settlement/busy', { detail: 'too many sessions with cards' });
    const session = new LiveSession(this.#newSessionId(), uid, context, this.#registry);
    this.#live.set(session.id, { sinceMs: this.#now(), session });
    this.#liveByCard.set(session.cardId, session.id);
    return session;
  }

  /** Throws `settlement/session`: never begun, superseded, dead, too old, or its transfer is made. */
  get(sessionId: string): LiveSession<Context> {
    this.#dropExpired();
    const entry = this.#live.get(sessionId);
    if (entry === undefined) throw new Failure('settlement/session', { detail: 'no live session of this id' });
    return entry.session;
  }

  /** The card's one live session, if there is one. */
  liveOf(uid: Bytes): LiveSession<Context> | undefined {
    this.#dropExpired();
    return this.#live.get(this.#liveByCard.get(encodeHex(uid)) ?? '')?.session;
  }

  /** Judges a PCN, also of a superseded session and more than once. A transfer that is kept no longer is unproven: only a reading decides. */
  verifyTransfer(sessionId: string, responses: readonly Bytes[]): TransferVerdict {
    this.#dropExpired();
    const entry = this.#transfers.get(sessionId);
    return entry === undefined ? unproven('session-forgotten', 'no transfer of this session is kept') : entry.transfer.verify(responses);
  }

  /** Ends a session that is not needed any more and forgets its transfer too. */
  forget(sessionId: string): void {
    this.#end(sessionId);
    this.#transfers.delete(sessionId);
  }

  #spend(sessionId: string, transfer: Transfer): void {
    this.#end(sessionId);
    const oldest = this.#transfers.keys().next().value;
    // The oldest gives way: losing it costs one reading of that card, refusing would cost a payment.
    if (oldest !== undefined && this.#transfers.size >= this.#limits.maxTransfers) this.#transfers.delete(oldest);
    this.#transfers.set(sessionId, { sinceMs: this.#now(), transfer });
  }

  #end(sessionId: string): void {
    const entry = this.#live.get(sessionId);
    if (entry === undefined) return;
    entry.session.forgetKeys();
    this.#live.delete(sessionId);
    this.#liveByCard.delete(entry.session.cardId);
  }

  #dropExpired(): void {
    const now = this.#now();
    for (const [sessionId, { sinceMs }] of this.#live) {
      if (now - sinceMs < this.#limits.liveMs) break;
      this.#end(sessionId);
    }
    for (const [sessionId, { sinceMs }] of this.#transfers) {
      if (now - sinceMs < this.#limits.transferMs) break;
      this.#transfers.delete(sessionId);
    }
  }
}
