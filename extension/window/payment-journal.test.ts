import { expect, test, vi } from 'vitest';
import { createPaymentJournal } from './payment-journal.ts';

const step = { step: 'ST1', party: 'extension', at: 1, ms: 2 } as const;

test('steps and signatures are kept in order, and a new payment begins with none', async () => {
  const stored: Record<string, unknown> = {};
  const journal = createPaymentJournal({
    set: (items) => {
      Object.assign(stored, items);
      return Promise.resolve();
    },
  });
  journal.journal(step);
  journal.tally({ kind: 'verified', typ: 'kessai-bill' });
  journal.tally({ kind: 'made', typ: 'kessai-consent' });
  await vi.waitFor(() => expect(stored).toEqual({ journal: [step], tally: [{ kind: 'verified', typ: 'kessai-bill' }, { kind: 'made', typ: 'kessai-consent' }] }));
  expect(journal.details()).toEqual({ steps: [step], verified: ['kessai-bill'] });
  journal.clear();
  await vi.waitFor(() => expect(stored).toEqual({ journal: [], tally: [] }));
});

test('a storage that fails stops nothing, and the next write holds everything', async () => {
  const set = vi.fn<(items: Record<string, unknown>) => Promise<void>>().mockRejectedValueOnce(new Error('full')).mockResolvedValue();
  const journal = createPaymentJournal({ set });
  journal.journal(step);
  journal.journal(step);
  await vi.waitFor(() => expect(set).toHaveBeenLastCalledWith({ journal: [step, step], tally: [] }));
});
