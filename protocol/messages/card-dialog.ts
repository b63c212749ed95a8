/** ST11 to ST13 between application server and PC: commands for the card, and the card's answers, chained by digest. */
import * as v from 'valibot';
import { defineMessage, digestSchema } from '../signed.ts';
import { commandsSchema, nonceSchema, paymentIdSchema, responsesSchema } from './fields.ts';

/** What the commands of a turn are for; the gate in the PC lets each pass only what belongs to it. `rekey`: the card gets keys of a newer version. */
const DIALOG_PHASES = ['rekey', 'authenticate', 'read', 'issue', 'load'] as const;

/** Server to PC. `previous`: digest of the PC's message that this answers; `nonce`: the PC's own, of the request that began the exchange. */
export const cardDialog = defineMessage(
  'kessai-card-dialog',
  v.strictObject({ paymentId: paymentIdSchema, nonce: nonceSchema, previous: digestSchema, phase: v.picklist(DIALOG_PHASES), commands: commandsSchema }),
  'settlement/signature',
);

/** PC to server. `previous`: digest of the dialog message that this answers. */
export const cardAnswer = defineMessage(
  'kessai-card-answer',
  v.strictObject({ paymentId: paymentIdSchema, previous: digestSchema, responses: responsesSchema }),
);
