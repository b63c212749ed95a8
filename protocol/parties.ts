/** The ports that the flows talk to: each party as the PC sees it. Messages are JWS texts; the flow signs and verifies, a port only carries. */
import type { CardCommand } from './apdu.ts';
import type { Currency } from './amount.ts';
import type { Bytes } from './bytes.ts';
import type { CertificateVerifier } from './certificates.ts';
import type { Failure } from './failure.ts';
import type { RandomBytes } from './nonce.ts';
import type { Jws, SignatureTally, Signer } from './signed.ts';
import type { Step } from './step.ts';

/** The shop behind the page: the page carries the messages and is not trusted with them. */
export interface Shop {
  /** Origin of the page's top-level frame, from the browser, never from the page. */
  readonly origin: string;
  /** The shop's statement (messages/shop-statement.ts). */
  introduce(): Promise<Jws>;
  /** Decision in, estimate out. */
  decide(decision: Jws): Promise<Jws>;
  /** Bill request in, BILL out. */
  requestBill(billRequest: Jws): Promise<Jws>;
}

/** The application server. Each call but connect() is one network round; all throw `settlement/unreachable` when there is no answer in time. */
export interface Settlement {
  /** Opens the mutually authenticated channel, so that no round pays for the handshake. */
  connect(): Promise<void>;
  requestPayment(request: Jws): Promise<Jws>;
  requestReading(request: Jws): Promise<Jws>;
  requestLink(request: Jws): Promise<Jws>;
  answerCard(paymentId: string, answer: Jws): Promise<Jws>;
  complete(paymentId: string, completion: Jws): Promise<Jws>;
}

/** What the gate lets pass: the PC's own opening, newer keys, the server's authentication, reading, and nothing of the debit before consent. */
export type CardPhase = 'identify' | 'rekey' | 'authenticate' | 'read';

/** One card on one reader, behind the gate (bridge/apdu-gate.ts). */
export interface Card {
  readonly readerName: string;
  /** Calls back once, when the card or reader is lost. */
  onLost(callback: (failure: Failure) => void): void;
  /** Sends a batch; throws TransmitFailure with the responses so far, or `reader/refused-command`. */
  transmit(phase: CardPhase, commands: readonly CardCommand[]): Promise<Bytes[]>;
  /** Sends exactly this SPC, once in the life of this card channel; call it only after the customer's consent. */
  debit(spc: readonly CardCommand[]): Promise<Bytes[]>;
  close(): Promise<void>;
}

export interface Reader {
  /** Waits until a card lies on a reader and opens it exclusively; throws `reader/…`, `host/…`, or `payment/aborted` when the customer gives up. */
  awaitCard(): Promise<Card>;
}

export interface EstimateView {
  readonly shop: ShopView;
  readonly lines: readonly { readonly name: string; readonly quantity: number; readonly lineMinor: bigint }[];
  readonly totalMinor: bigint;
  readonly currency: Currency;
}

export interface ShopView {
  readonly shopId: string;
  /** From the shop's certificate. */
  readonly legalName: string;
  readonly origin: string;
}

export interface BillView extends EstimateView {
  readonly orderId: string;
  readonly billId: string;
  readonly amountMinor: bigint;
  readonly expiresAt: number;
  readonly billDigest: string;
}

export interface DebitView {
  readonly bill: BillView;
  readonly paymentId: string;
  readonly cardId: string;
  /** Null where the balance is not read out. */
  readonly balance: { readonly beforeMinor: bigint; readonly afterMinor: bigint } | null;
  readonly statementDigest: string;
}

/** The trusted screen. Every question resolves to false when the customer says no. */
export interface Customer {
  /** Asked for a new shop only; a shop that was paid before answers true at once. */
  agreeToEstimate(view: EstimateView): Promise<boolean>;
  showBill(view: BillView): void;
  agreeToBill(view: BillView): Promise<boolean>;
  /** `again`: why the card is needed once more. */
  askForCard(again: Failure | null): void;
  showProgress(): void;
  /** `shown`: the words and figures that the customer agreed to, as they stood on the screen. */
  agreeToDebit(view: DebitView): Promise<{ readonly agreed: boolean; readonly shown: string }>;
  /** Resolves when it is shown; what must be remembered of it is remembered before. */
  showOutcome(outcome: Outcome): Promise<void>;
}

export type NotPaidReason = 'estimate-declined' | 'bill-declined' | 'debit-declined' | 'balance-too-low' | 'not-debited';

/** Paid, not paid, or unknown; never a guess. */
export type Outcome =
  | { readonly kind: 'paid'; readonly bill: BillView; readonly paymentId: string; readonly balanceAfterMinor: bigint | null; readonly notice: Jws }
  | { readonly kind: 'not-paid'; readonly bill: BillView | null; readonly reason: NotPaidReason; readonly balanceMinor: bigint | null }
  | { readonly kind: 'unknown'; readonly bill: BillView; readonly paymentId: string; readonly cardId: string; readonly failure: Failure };

/** The customer's own keys and trust. */
export interface Identity {
  readonly signer: Signer;
  readonly verifier: CertificateVerifier;
  readonly tally?: SignatureTally;
}

/** Everything that pay() talks to and takes from its surroundings. */
export interface PaymentPorts {
  readonly shop: Shop;
  readonly settlement: Settlement;
  readonly reader: Reader;
  readonly customer: Customer;
  readonly identity: Identity;
  readonly step: Step;
  /** Epoch milliseconds; only durations are taken from it. */
  readonly now: () => number;
  readonly random: RandomBytes;
}
