/** Every screen of the payment window as data: what it says and what its buttons do. How it looks is decided elsewhere. */
import type { FailureCode } from '#protocol/failure.ts';
import type { BillView, DebitView, EstimateView, NotPaidReason, ShopView } from '#protocol/parties.ts';
import type { JournalEntry } from '#protocol/step.ts';
import type { StepId } from '#protocol/steps.ts';
import type { ReaderView } from '../ports/card-watch.ts';
import type { OpenPayment } from '../store/bill-record.ts';
import type { Money } from './money.ts';

type Act = () => void;

/** What the window knows beyond the screen itself, behind a disclosure. */
export interface Details {
  readonly steps: readonly JournalEntry[];
  /** Types of the messages whose signatures were verified. */
  readonly verified: readonly string[];
}

export interface WaitingForCard {
  readonly reader: ReaderView;
  readonly choose: (readerName: string | null) => void;
  readonly retry: Act;
  /** Opens the page where readers are paired and examined. */
  readonly setUpReader: Act;
}

export type Screen =
  | { readonly kind: 'opening'; readonly origin: string; readonly cancel: Act }
  | { readonly kind: 'estimate'; readonly view: EstimateView; readonly agree: Act; readonly cancel: Act }
  | { readonly kind: 'bill'; readonly view: BillView; readonly firstPayment: boolean; readonly minutesLeft: number | null; readonly agree: Act; readonly cancel: Act }
  | ({ readonly kind: 'card'; readonly bill: BillView; readonly again: FailureCode | null; readonly cancel: Act } & WaitingForCard)
  | { readonly kind: 'working'; readonly bill: BillView; readonly phase: 'reading' | 'paying' | 'settling'; readonly done: number; readonly of: number; readonly cancel: Act | null }
  | { readonly kind: 'balance'; readonly view: DebitView; readonly agree: Act; readonly cancel: Act }
  | { readonly kind: 'paid'; readonly bill: BillView; readonly paymentId: string; readonly balanceAfterMinor: bigint | null; readonly at: number; readonly showReceipt: Act; readonly showCard: Act | null; readonly close: Act }
  | { readonly kind: 'receipt'; readonly bill: BillView; readonly paymentId: string; readonly balanceAfterMinor: bigint | null; readonly at: number; readonly print: Act; readonly back: Act }
  | { readonly kind: 'not-paid'; readonly bill: BillView | null; readonly reason: NotPaidReason | 'stopped'; readonly balanceMinor: bigint | null; readonly close: Act }
  | ({ readonly kind: 'unknown'; readonly payment: OpenPayment; readonly failure: FailureCode | null; readonly later: Act } & WaitingForCard)
  | { readonly kind: 'earlier'; readonly payment: OpenPayment; readonly settle: Act; readonly later: Act }
  | { readonly kind: 'error'; readonly shop: ShopView | null; readonly code: FailureCode; readonly step: StepId | null; readonly money: Money; readonly retry: Act | null; readonly setUp: Act | null; readonly showCard: Act | null; readonly close: Act };

export type ScreenKind = Screen['kind'];
