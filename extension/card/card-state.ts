/** Everything that the page "My card" shows, as one value. */
import type { FailureCode } from '#protocol/failure.ts';
import type { ReadingReport } from '#protocol/resolve.ts';
import type { ReaderView } from '../ports/card-watch.ts';

/** A payment that was open until this reading decided it. */
export interface DecidedPayment {
  readonly amountMinor: bigint;
  readonly outcome: 'paid' | 'not-paid';
  /** Null: this browser does not remember the payment. */
  readonly shopName: string | null;
}

/** What a card has shown of itself, under the settlement's signature. */
export interface ShownCard extends Pick<ReadingReport, 'cardId' | 'balanceMinor' | 'card' | 'records'> {
  readonly decided: readonly DecidedPayment[];
  /** Epoch milliseconds. */
  readonly readAt: number;
  /** It has become this customer's with this very reading. */
  readonly isNew: boolean;
}

export type CardPageState =
  | { readonly kind: 'starting' }
  | { readonly kind: 'not-enrolled' }
  /** `failure`: what the last reading ran into. `isHidden`: what a card had shown has gone from the screen. */
  | { readonly kind: 'waiting'; readonly reader: ReaderView; readonly failure: FailureCode | null; readonly isHidden: boolean }
  /** `done`: commands that the card has carried out. */
  | { readonly kind: 'reading'; readonly done: number }
  | { readonly kind: 'shown'; readonly shown: ShownCard; readonly isLifted: boolean }
  /** Of such a card nothing is known here but that it is not linked. `failure`: of the last attempt to link it, or to read it once more. */
  | { readonly kind: 'not-linked'; readonly reader: ReaderView; readonly failure: FailureCode | null; readonly work: LinkWork };

/** What is being done while the form stays: nothing, waiting for the card with a code at hand, reading the card once more, linking it. */
export type LinkWork = 'none' | 'waiting' | 'reading' | 'linking';
