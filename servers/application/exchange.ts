/** The conversations under way between PCs and the application server: in memory, bounded in number and age; an unfinished one dies with the process. */
import { Failure } from '#protocol/failure.ts';
import type { Jws } from '#protocol/signed.ts';
import type { CustomerOfCard, VerifiedPaymentRequest } from '../shared/payment-request.ts';
import type { Opening } from './opening.ts';
import type { Intent, Operation } from './store.ts';

/** Longer than a statement lives and a person reads. */
const MAX_AGE_MS = 10 * 60_000;
/** Under way at one time: a person reads for seconds, so this is some hundred payments a second. */
const MAX_UNDER_WAY = 10_000;
/** Ended ones answer a message that comes again; the oldest gives way, its PC then asks for a reading. */
const MAX_FINISHED = 10_000;
/** One nonce a payment, kept for longer than a bill lives. */
const MAX_NONCES = 500_000;

export type Purpose =
  | { readonly kind: 'payment'; readonly request: VerifiedPaymentRequest }
  | { readonly kind: 'reading'; readonly about: string | null; readonly history: boolean }
  /** A reading with its history that makes the card this customer's. */
  | { readonly kind: 'link'; readonly activationCode: string };

export interface Exchange {
  readonly paymentId: string;
  readonly purpose: Purpose;
  readonly customer: CustomerOfCard;
  /** The PC's own nonce, echoed in every dialog. */
  readonly nonce: string;
  /** Loaded before the session started: its reading may decide these and no others (payment-rules 4). */
  readonly unresolved: readonly Operation[];
  readonly startedAt: number;
}

/** What the server waits for, and the digest of the message that it sent last. */
export type Awaiting =
  | { readonly what: 'rekey'; readonly previous: string; readonly next: (responses: string[]) => Promise<Opening> }
  | { readonly what: 'authentication'; readonly previous: string; readonly sessionId: string }
  | { readonly what: 'reading'; readonly previous: string; readonly sessionId: string }
  | { readonly what: 'completion'; readonly previous: string; readonly sessionId: string; readonly intent: Intent; readonly statement: Jws };

interface Held<E, A> {
  readonly exchange: E;
  awaiting: A | null;
}

export interface Exchanges<E, A> {
  open(exchange: E, awaiting: A): void;
  /** Throws `settlement/session` if there is none. */
  find(paymentId: string): E;
  /**
   * The exchange, taken by the message that was awaited: nobody else can go on with it until `await` is called. Throws `settlement/session`,
   * or `message/not-fresh` for a message from another place; an old one that somebody repeats takes nothing away.
   */
  take(paymentId: string, message: { readonly paymentId: string; readonly previous: string }): { readonly exchange: E; readonly awaiting: A };
  await(paymentId: string, awaiting: A): void;
  /** The last message was answered for good: it may come again, but the exchange is not under way any more. */
  finish(paymentId: string): void;
  close(paymentId: string): void;
  /** True once for each nonce while it is remembered. */
  isFresh(nonce: string): boolean;
}

export function createExchanges<E extends { readonly paymentId: string; readonly startedAt: number }, A extends { readonly previous: string }>(now: () => number): Exchanges<E, A> {
  const underWay = new Map<string, Held<E, A>>();
  const finished = new Map<string, Held<E, A>>();
  const nonces = new Map<string, number>();

  const forgetOld = (): void => {
    for (const held of [underWay, finished]) {
      for (const [paymentId, { exchange }] of held) {
        if (now() - exchange.startedAt <= MAX_AGE_MS) break; // insertion order is age order, or nearly
        held.delete(paymentId);
      }
    }
    for (const [nonce, seenAt] of nonces) {
      if (now() - seenAt <= 2 * MAX_AGE_MS) break;
      nonces.delete(nonce);
    }
  };

  const found = (paymentId: string): Held<E, A> => {
    forgetOld();
    const exchange = underWay.get(paymentId) ?? finished.get(paymentId);
    if (exchange === undefined) throw new Failure('settlement/session', { detail: 'no such exchange' });
    return exchange;
  };

  return {
    open: (exchange, awaiting) => {
      forgetOld();
      if (underWay.size >= MAX_UNDER_WAY) throw new Failure('settlement/busy');
      underWay.set(exchange.paymentId, { exchange, awaiting });
    },
    find: (paymentId) => found(paymentId).exchange,
    take: (paymentId, message) => {
      const taken = found(paymentId);
      const { exchange, awaiting } = taken;
      if (awaiting === null) throw new Failure('settlement/session', { detail: 'the exchange is being answered' });
      if (message.paymentId !== paymentId || message.previous !== awaiting.previous) throw new Failure('message/not-fresh');
      taken.awaiting = null;
      return { exchange, awaiting };
    },
    await: (paymentId, awaiting) => {
      const taken = underWay.get(paymentId) ?? finished.get(paymentId);
      if (taken !== undefined) taken.awaiting = awaiting;
    },
    finish: (paymentId) => {
      const ended = underWay.get(paymentId);
      if (ended === undefined) return;
      underWay.delete(paymentId);
      const [oldest] = finished.keys();
      if (oldest !== undefined && finished.size >= MAX_FINISHED) finished.delete(oldest);
      finished.set(paymentId, ended);
    },
    close: (paymentId) => {
      underWay.delete(paymentId);
      finished.delete(paymentId);
    },
    isFresh: (nonce) => {
      forgetOld();
      if (nonces.size >= MAX_NONCES) throw new Failure('settlement/busy');
      if (nonces.has(nonce)) return false;
      nonces.set(nonce, now());
      return true;
    },
  };
}
