/** What the information server answers the settlement's other servers: who a key, a card or a shop is. */
import { currencySchema, amountSchema } from '#protocol/amount.ts';
import { cardIdSchema, originSchema, shopIdSchema } from '#protocol/messages/fields.ts';
import { digestSchema } from '#protocol/signed.ts';
import * as v from 'valibot';
import { defineApi, type ServiceOf } from '../rpc.ts';

/** DER certificates in base64url, leaf first, without the root. */
const chainSchema = v.pipe(v.array(v.pipe(v.string(), v.regex(/^[\w-]+$/), v.maxLength(8192))), v.minLength(1), v.maxLength(3));
const customerIdSchema = v.pipe(v.string(), v.uuid());
const keySchema = v.strictObject({ thumbprint: digestSchema });

export const informationApi = defineApi({
  /** The shop that this registered, unrevoked key signs for; null if there is none. */
  findShopByKey: {
    request: keySchema,
    response: v.nullable(v.strictObject({ shopId: shopIdSchema, origin: originSchema, chain: chainSchema })),
  },
  /** The shop itself, for notices. */
  findShop: {
    request: v.strictObject({ shopId: shopIdSchema }),
    response: v.nullable(v.strictObject({ shopId: shopIdSchema, origin: originSchema })),
  },
  /** The customer whose registered, unrevoked key this is, by an opaque number. */
  findCustomerByKey: {
    request: keySchema,
    response: v.nullable(v.strictObject({ customerId: customerIdSchema, chain: chainSchema })),
  },
  /** An issued card, and the customer that it is linked to. */
  findCard: {
    request: v.strictObject({ cardId: cardIdSchema }),
    response: v.nullable(v.strictObject({ cardId: cardIdSchema, customerId: customerIdSchema, currency: currencySchema, limitMinor: amountSchema })),
  },
  createCustomer: {
    request: v.strictObject({ name: v.nullable(v.pipe(v.string(), v.minLength(1), v.maxLength(120))) }),
    response: v.strictObject({ customerId: customerIdSchema }),
  },
  /** Another one-time code with which a browser of this customer enrols; valid for some days. */
  newEnrolmentCode: {
    request: v.strictObject({ customerId: customerIdSchema }),
    response: v.strictObject({ enrolmentCode: v.string() }),
  },
  /** Links an issued card to a customer; false if the card is linked already. */
  linkCard: {
    request: v.strictObject({ cardId: cardIdSchema, customerId: customerIdSchema, currency: currencySchema, limitMinor: amountSchema }),
    response: v.boolean(),
  },
});

export type InformationService = ServiceOf<typeof informationApi>;
