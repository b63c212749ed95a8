/** Turns the chip's events into the two steps of a payment that happen inside the card; loads are not payments and leave no step. */
import type { ChipEvent } from './chip-event.ts';

export interface CardStep {
  /** ST17: log and new balance became permanent in one commit. ST18: the answer of that commit, the processing-completed notice, left the chip. */
  readonly step: 'ST17' | 'ST18';
  readonly party: 'card';
  /** When the step began: epoch milliseconds with fraction. */
  readonly at: number;
  /** How long it took, in milliseconds. */
  readonly ms: number;
}

/** An observer for a Chip that calls `write` for each step. */
export function journalPayments(write: (step: CardStep) => void): (event: ChipEvent) => void {
  let committedAt: number | undefined;
  return (event) => {
    if (event.kind === 'committed' && event.debit && event.record) {
      write({ step: 'ST17', party: 'card', at: event.receivedAt, ms: event.at - event.receivedAt });
      committedAt = event.at;
    }
    if (event.kind === 'answered' && committedAt !== undefined) {
      write({ step: 'ST18', party: 'card', at: committedAt, ms: event.at - committedAt });
      committedAt = undefined;
    }
  };
}
