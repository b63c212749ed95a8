/** The steps and signatures of the present payment, also in the session's storage under `journal` and `tally`, where tests and support find them. */
import type { SignatureTally } from '#protocol/signed.ts';
import type { Journal, JournalEntry } from '#protocol/step.ts';
import type { Details } from '../screens/screen.ts';

export const JOURNAL_KEY = 'journal';
export const TALLY_KEY = 'tally';

interface SessionStorage {
  set(items: Record<string, unknown>): Promise<void>;
}

export interface PaymentJournal {
  readonly journal: Journal;
  readonly tally: SignatureTally;
  readonly details: () => Details;
  /** A new payment begins. */
  clear(): void;
}

export function createPaymentJournal(storage: SessionStorage): PaymentJournal {
  let steps: JournalEntry[] = [];
  let signatures: Parameters<SignatureTally>[0][] = [];
  // One write at a time, each of the whole: the last one always holds everything.
  let written: Promise<unknown> = Promise.resolve();
  const save = (): void => {
    const items = { [JOURNAL_KEY]: steps, [TALLY_KEY]: signatures };
    // A full storage is no reason to stop a payment.
    written = written.then(() => storage.set(items)).catch(() => undefined);
  };
  return {
    journal: (entry) => {
      steps = [...steps, entry];
      save();
    },
    tally: (event) => {
      signatures = [...signatures, event];
      save();
    },
    details: () => ({ steps, verified: signatures.flatMap(({ kind, typ }) => (kind === 'verified' ? [typ] : [])) }),
    clear: () => {
      steps = [];
      signatures = [];
      save();
    },
  };
}
