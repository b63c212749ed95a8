import { describe, expect, it } from 'vitest';
import { ISSUE_STEPS } from './issue.ts';
import { LOAD_STEPS, REPLACE_STEPS } from './load.ts';
import { LINK_STEPS, RESOLVE_STEPS } from './resolve.ts';
import { STEPS } from './steps.ts';

describe.each([
  ['IS', ISSUE_STEPS],
  ['LD', LOAD_STEPS],
  ['RP', REPLACE_STEPS],
  ['RS', RESOLVE_STEPS],
  ['LK', LINK_STEPS],
] as const)('the steps %s of a flow that is no payment', (prefix, steps) => {
  it('are numbered from one and never take a name of a payment', () => {
    expect(steps.map((step) => step.id)).toEqual(steps.map((_step, i) => `${prefix}${i + 1}`));
    expect(steps.some((step) => STEPS.some(({ id }) => (id as string) === step.id))).toBe(false);
  });
});
