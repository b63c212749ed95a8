/** What the information server answers the settlement's other servers: who a key, a card or a shop is. */
import { currencySchema, amountSchema } from '#protocol/amount.ts';
import { oneTimeCodeSchema, cardIdSchema, originSchema, shopIdSchema, timeSchema } from '#protocol/messages/fields.ts';
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
    response: v.nullable(v.strictObject({ shopId: shopIdSchema, origin: originSchema, legalName: v.string() })),
  },
  /** The customer whose registered, unrevoked key this is, by an opaque number. */
  findCustomerByKey: {
    request: keySchema,
    response: v.nullable(v.strictObject({ customerId: customerIdSchema, chain: chainSchema })),
  },
  /** An issued card, and the customer that it is linked to, if any; `blockedAt`: when it was reported lost. */
  findCard: {
    request: v.strictObject({ cardId: cardIdSchema }),
    response: v.nullable(v.strictObject({ cardId: cardIdSchema, customerId: v.nullable(customerIdSchema), currency: currencySchema, limitMinor: amountSchema, blockedAt: v.nullable(timeSchema) })),
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
  /** A card that was issued, with its customer or without; false if it is registered with another customer. The same again is true. */
  registerCard: {
    request: v.strictObject({ cardId: cardIdSchema, customerId: v.nullable(customerIdSchema), currency: currencySchema, limitMinor: amountSchema }),
    response: v.boolean(),
  },
  /** Another one-time code with which a customer links this card; valid for some days. Throws `card/not-issued`, `customer/card-not-linked` if it has a customer. */
  newActivationCode: {
    request: v.strictObject({ cardId: cardIdSchema }),
    response: v.strictObject({ activationCode: oneTimeCodeSchema }),
  },
  /** Whether this code would link this card now; uses nothing up. */
  checkActivationCode: {
    request: v.strictObject({ cardId: cardIdSchema, activationCode: oneTimeCodeSchema }),
    response: v.boolean(),
  },
  /** Uses the code up and links the card, in one commit; false if the code is wrong, used or too old for this card. The same customer again with the same code is true. */
  linkCard: {
    request: v.strictObject({ cardId: cardIdSchema, customerId: customerIdSchema, activationCode: oneTimeCodeSchema }),
    response: v.boolean(),
  },
  /** Reported lost: for good; the first time counts. Throws `card/not-issued`. */
  blockCard: { request: v.strictObject({ cardId: cardIdSchema, blockedAt: timeSchema }), response: v.null() },
});

export type InformationService = ServiceOf<typeof informationApi>;
