/** Server to PC: why a request was not carried out; signed like every other message, bound to the request by its digest. */
import * as v from 'valibot';
import { isFailureCode, type FailureCode } from '../failure.ts';
import { STEPS, type StepId } from '../steps.ts';
import { defineMessage, digestSchema } from '../signed.ts';

export const failureNotice = defineMessage(
  'kessai-failure',
  v.strictObject({
    /** Digest of the request's signing input. */
    request: digestSchema,
    code: v.custom<FailureCode>(isFailureCode, 'not a failure code'),
    step: v.nullable(v.custom<StepId>((id) => STEPS.some((step) => step.id === id), 'not a step')),
  }),
);
