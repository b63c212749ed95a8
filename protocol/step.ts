/** One step of a flow: journals its id, stamps it on a failure, checks the abort signal, and nothing else. */
import { asFailure, Failure } from './failure.ts';
import type { Party, StepId } from './steps.ts';

/** A line of a party's journal. `at`: start, epoch milliseconds with fraction; `ms`: how long it took, with what it waited for. */
export interface JournalEntry {
  readonly step: StepId;
  readonly party: Party;
  readonly at: number;
  readonly ms: number;
  /** The payment, once it has a number. */
  readonly payment?: string;
  /** The code of the failure that ended the step. */
  readonly failed?: string;
}

export type Journal = (entry: JournalEntry) => void;

export type Step = <T>(id: StepId, act: () => T | Promise<T>, payment?: string) => Promise<T>;

/** `now`: epoch milliseconds with fraction. `signal`: checked before each step; an aborted flow fails with `payment/aborted`. */
export function createStep(options: { party: Party; journal: Journal; now: () => number; signal?: AbortSignal }): Step {
  const { party, journal, now, signal } = options;
  return async (id, act, payment) => {
    const at = now();
    const entry = (failed?: string): JournalEntry => ({
      step: id,
      party,
      at,
      ms: now() - at,
      ...(payment === undefined ? {} : { payment }),
      ...(failed === undefined ? {} : { failed }),
    });
    try {
      if (signal?.aborted === true) throw new Failure('payment/aborted', { cause: signal.reason });
      const result = await act();
      journal(entry());
      return result;
    } catch (thrown) {
      const failure = asFailure(thrown);
      failure.step ??= id;
      journal(entry(failure.code));
      throw failure;
    }
  };
}
