/** ST8, PC to application server: pay this BILL with this card; carries the card's half of the mutual authentication. */
import * as v from 'valibot';
import { defineMessage, jwsSchema } from '../signed.ts';
import { cardIdSchema, challengeSchema, nonceSchema } from './fields.ts';

export const paymentRequest = defineMessage(
  'kessai-payment-request',
  v.strictObject({
    bill: jwsSchema,
    cardId: cardIdSchema,
    paymentNonce: nonceSchema,
    cardChallenge: challengeSchema,
    /** False: paragraph 0064, the balance is not read out. */
    readBalance: v.boolean(),
  }),
);
