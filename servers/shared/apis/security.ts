/** What the security server does for the application server. It alone can speak to a card, and trusts nobody's word about a payment. */
import { amountSchema } from '#protocol/amount.ts';
import { cardIdSchema, commandsSchema, paymentIdSchema, responsesSchema } from '#protocol/messages/fields.ts';
import { jwsSchema } from '#protocol/signed.ts';
import * as v from 'valibot';
import { defineApi, type ServiceOf } from '../rpc.ts';

const sessionIdSchema = v.pipe(v.string(), v.uuid());
/** 8 bytes, hex: new for every attempt; it stands in the card's log. */
export const operationIdSchema = v.pipe(v.string(), v.regex(/^[0-9A-F]{16}$/));
const hexSchema = v.pipe(v.string(), v.regex(/^([0-9A-F]{2})*$/), v.maxLength(4096));
const counterSchema = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(0xffff_ffff));

const readingSchema = v.strictObject({
  cardId: cardIdSchema,
  /** Null where only the log was read. */
  balanceMinor: v.nullable(amountSchema),
  newestRecord: v.strictObject({ operationId: operationIdSchema, amountMinor: amountSchema, timeSeconds: counterSchema }),
  transactionCounter: counterSchema,
});
export type CardReading = v.InferOutput<typeof readingSchema>;

const answersSchema = v.strictObject({ sessionId: sessionIdSchema, responses: responsesSchema });
const openedSchema = v.strictObject({ sessionId: sessionIdSchema, cardId: cardIdSchema, commands: commandsSchema });
const batchSchema = v.strictObject({ commands: commandsSchema });

/** Commands with which value moves, and what the server will need to prove that it did. */
const preparedSchema = v.strictObject({
  commands: commandsSchema,
  /** The whole expected TMI of the transaction, hex. */
  expectedTmi: hexSchema,
  /** TMC before the transaction; null where it was not read. */
  transactionCounter: v.nullable(counterSchema),
});
export type PreparedTransaction = v.InferOutput<typeof preparedSchema>;

const verdictSchema = v.variant('verdict', [
  v.strictObject({ verdict: v.literal('committed'), transactionCounter: counterSchema, transactionMac: hexSchema, balanceAfterMinor: v.nullable(amountSchema) }),
  /** Neither proof nor disproof: only a reading decides now (payment-rules 5). */
  v.strictObject({ verdict: v.literal('unproven'), reason: v.string() }),
]);
export type Verdict = v.InferOutput<typeof verdictSchema>;

export const securityApi = defineApi({
  /** ST11: verifies BILL and request for itself, starts a session under key 1, answers the card's challenge. */
  openPayment: { request: v.strictObject({ paymentId: paymentIdSchema, request: jwsSchema }), response: openedSchema },
  /** The same for a reading that resolves what is open on a card. */
  openReading: { request: v.strictObject({ request: jwsSchema }), response: openedSchema },
  /** ST12: checks the card's authentication answer and makes BRC; `balance: false` reads the log only. */
  requestBalance: { request: v.strictObject({ sessionId: sessionIdSchema, responses: responsesSchema, balance: v.boolean() }), response: batchSchema },
  /** ST13: deciphers BI. */
  takeBalance: { request: answersSchema, response: readingSchema },
  /** ST14: SPC for the amount of the verified BILL; `responses` is the authentication answer where nothing was read (0064), else null. Once a session. */
  prepareDebit: {
    request: v.strictObject({ sessionId: sessionIdSchema, operationId: operationIdSchema, timeSeconds: counterSchema, responses: v.nullable(responsesSchema), balance: v.boolean() }),
    response: preparedSchema,
  },
  /** ST19: is the debit or credit proved by these answers? Also for a superseded session. */
  verifyNotice: { request: answersSchema, response: verdictSchema },
  /** Forgets a session that is not needed any more. */
  closeSession: { request: v.strictObject({ sessionId: sessionIdSchema }), response: v.null() },

  /** An operator's order to issue (messages/operator-order.ts): verified here, used once; answers the factory card's challenge under key 0. */
  openIssue: { request: v.strictObject({ order: jwsSchema, operationId: operationIdSchema, timeSeconds: counterSchema }), response: openedSchema },
  /** The next batch of issuing; null when the card is issued. */
  continueIssue: { request: answersSchema, response: v.strictObject({ commands: v.nullable(commandsSchema) }) },
  /** An operator's order to load, likewise: begins with a session under key 1 for a reading. */
  openLoad: { request: v.strictObject({ order: jwsSchema }), response: openedSchema },
  /** After the reading: asks the card for its challenge under key 3. */
  requestLoadChallenge: { request: v.strictObject({ sessionId: sessionIdSchema }), response: batchSchema },
  /** The server's half of the authentication under key 3. */
  authenticateLoad: { request: answersSchema, response: batchSchema },
  /** Checks the card's half; commands that credit the order's amount. Once a session. */
  prepareCredit: {
    request: v.strictObject({ sessionId: sessionIdSchema, responses: responsesSchema, operationId: operationIdSchema, timeSeconds: counterSchema }),
    response: preparedSchema,
  },
});

export type SecurityService = ServiceOf<typeof securityApi>;
