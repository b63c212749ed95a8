/** ST18, PC to application server: PCN, the card's answers to the SPC, with the customer's consent as evidence. */
import * as v from 'valibot';
import { defineMessage, digestSchema, jwsSchema } from '../signed.ts';
import { paymentIdSchema, responsesSchema } from './fields.ts';

/** The customer agreed at ST16 to this statement, having been shown these texts. */
export const consent = defineMessage(
  'kessai-consent',
  v.strictObject({ paymentId: paymentIdSchema, statementDigest: digestSchema, shownDigest: digestSchema }),
);

export const completion = defineMessage(
  'kessai-completion',
  v.strictObject({ paymentId: paymentIdSchema, previous: digestSchema, consent: jwsSchema, responses: responsesSchema }),
);
