import { describe, expect, it } from 'vitest';
import { Failure } from './failure.ts';
import { createStep, type JournalEntry } from './step.ts';

function recorder(signal?: AbortSignal) {
  const journal: JournalEntry[] = [];
  let time = 100;
  const step = createStep({ party: 'shop', journal: (entry) => void journal.push(entry), now: () => (time += 10), ...(signal === undefined ? {} : { signal }) });
  return { journal, step };
}

describe('a step', () => {
  it('gives on what its act gives, and journals itself once', async () => {
    const { journal, step } = recorder();
    expect(await step('ST3', () => 'estimate')).toBe('estimate');
    expect(await step('ST5', () => Promise.resolve('bill'), 'payment-1')).toBe('bill');
    expect(journal).toEqual([{ step: 'ST3', party: 'shop', at: 110, ms: 10 }, { step: 'ST5', party: 'shop', at: 130, ms: 10, payment: 'payment-1' }]);
  });

  it('stamps its id on a failure, and only the innermost does', async () => {
    const { journal, step } = recorder();
    const failure = new Failure('bill/expired');
    await expect(step('ST8', () => step('ST9', () => Promise.reject(failure)))).rejects.toBe(failure);
    expect(failure.step).toBe('ST9');
    expect(journal.map(({ step: id, failed }) => [id, failed])).toEqual([['ST9', 'bill/expired'], ['ST8', 'bill/expired']]);
  });

  it('makes a bug of an error that nobody understands, and keeps its cause', async () => {
    const { step } = recorder();
    const cause = new TypeError('x is not a function');
    await expect(step('ST15', () => { throw cause; })).rejects.toMatchObject({ code: 'internal/bug', step: 'ST15', cause });
  });

  it('does not act once the flow is stopped', async () => {
    const controller = new AbortController();
    const { journal, step } = recorder(controller.signal);
    controller.abort(new Error('window closed'));
    let acted = false;
    await expect(step('ST16', () => void (acted = true))).rejects.toMatchObject({ code: 'payment/aborted', step: 'ST16' });
    expect(acted).toBe(false);
    expect(journal).toMatchObject([{ step: 'ST16', failed: 'payment/aborted' }]);
  });
});
