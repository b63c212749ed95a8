/** What the security server does for the application server. It alone can speak to a card, and trusts nobody's word about a payment. */
import { amountSchema } from '#protocol/amount.ts';
import { operationIdSchema } from '#protocol/messages/card-record.ts';
import { cardIdSchema, challengeSchema, commandsSchema, paymentIdSchema, responsesSchema } from '#protocol/messages/fields.ts';
import { jwsSchema } from '#protocol/signed.ts';
import * as v from 'valibot';
import { defineApi, type ServiceOf } from '../rpc.ts';

const sessionIdSchema = v.pipe(v.string(), v.uuid());
const hexSchema = v.pipe(v.string(), v.regex(/^([0-9A-F]{2})*$/), v.maxLength(4096));
const counterSchema = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(0xffff_ffff));

/** Versions of a card's keys: one byte, 0 is the factory's. */
const keyVersionSchema = v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(0xff));
const transactionMacSchema = v.pipe(v.string(), v.regex(/^[0-9A-F]{16}$/));
const recordSchema = v.strictObject({ operationId: operationIdSchema, amountMinor: amountSchema, timeSeconds: counterSchema });

const readingSchema = v.strictObject({
  cardId: cardIdSchema,
  /** Null where only the log was read. */
  balanceMinor: v.nullable(amountSchema),
  /** Newest first; the newest only, unless the history was asked for. */
  records: v.tupleWithRest([recordSchema], recordSchema),
  /** Of the last committed transaction: TMC, TMV, and the version of the AppTMKey that they belong to. */
  transactionCounter: counterSchema,
  transactionMac: transactionMacSchema,
  keyVersion: keyVersionSchema,
});
export type CardReading = v.InferOutput<typeof readingSchema>;

const answersSchema = v.strictObject({ sessionId: sessionIdSchema, responses: responsesSchema });
const openedSchema = v.strictObject({ sessionId: sessionIdSchema, cardId: cardIdSchema, commands: commandsSchema });
/** `rekey-first`: the card's keys are of an older version than the store's, or a re-keying of it was `torn`. */
const openedOrRekeySchema = v.variant('at', [v.strictObject({ at: v.literal('opened'), ...openedSchema.entries }), v.strictObject({ at: v.literal('rekey-first'), torn: v.boolean() })]);
export type OpenedOrRekey = v.InferOutput<typeof openedOrRekeySchema>;
const batchSchema = v.strictObject({ commands: commandsSchema });

/** Commands with which value moves, and what the server will need to prove that it did. */
const preparedSchema = v.strictObject({
  commands: commandsSchema,
  /** The whole expected TMI of the transaction, hex. */
  expectedTmi: hexSchema,
  /** TMC before the transaction; null where it was not read. */
  transactionCounter: v.nullable(counterSchema),
  /** Of the AppTMKey that will prove it: a re-keyed card counts from zero again. */
  keyVersion: keyVersionSchema,
});
export type PreparedTransaction = v.InferOutput<typeof preparedSchema>;

const verdictSchema = v.variant('verdict', [
  v.strictObject({ verdict: v.literal('committed'), transactionCounter: counterSchema, transactionMac: transactionMacSchema, balanceAfterMinor: v.nullable(amountSchema) }),
  /** Neither proof nor disproof: only a reading decides now (payment-rules 5). */
  v.strictObject({ verdict: v.literal('unproven'), reason: v.string() }),
]);
export type Verdict = v.InferOutput<typeof verdictSchema>;

/** Which part of the card is read: log only (0064), with the balance, or with every record too. */
const readingKindSchema = v.picklist(['log', 'balance', 'history']);
const openingSchema = {
  /** Instead of the challenge in the signed request: what the re-keying of this very contact ended with, once, and no other. Throws `settlement/session`. */
  cardChallenge: v.nullable(challengeSchema),
  /** True while an operation is unresolved: the card keeps its older keys until a reading has decided it. */
  keysMayWait: v.boolean(),
};

export const securityApi = defineApi({
  /** ST11: verifies BILL and request for itself, starts a session under key 1, answers the card's challenge. Throws `card/blocked` and as `verifyPaymentRequest` does. */
  openPayment: { request: v.strictObject({ paymentId: paymentIdSchema, request: jwsSchema, ...openingSchema }), response: openedOrRekeySchema },
  /** The same for a reading that resolves what is open on a card; a blocked card may be read. */
  openReading: { request: v.strictObject({ request: jwsSchema, ...openingSchema }), response: openedOrRekeySchema },
  /** The same for a card that has no customer yet, with its activation code. */
  openLink: { request: v.strictObject({ request: jwsSchema, ...openingSchema }), response: openedOrRekeySchema },
  /** The same for an operator's order to load, replace or show: begins with a reading under key 1. */
  openOrder: { request: v.strictObject({ order: jwsSchema, ...openingSchema }), response: openedOrRekeySchema },
  /** ST12: checks the card's authentication answer and makes BRC. */
  requestBalance: { request: v.strictObject({ sessionId: sessionIdSchema, responses: responsesSchema, reading: readingKindSchema }), response: batchSchema },
  /** ST13: deciphers BI. */
  takeBalance: { request: answersSchema, response: readingSchema },
  /** ST14: SPC for the amount of the verified BILL; `responses` is the authentication answer where nothing was read (0064), else null. Once a session. */
  prepareDebit: {
    request: v.strictObject({ sessionId: sessionIdSchema, operationId: operationIdSchema, timeSeconds: counterSchema, responses: v.nullable(responsesSchema), balance: v.boolean() }),
    response: preparedSchema,
  },
  /** ST19: is the debit or credit proved by these answers? Also for a superseded session. */
  verifyNotice: { request: answersSchema, response: verdictSchema },
  /** Is this the card's transaction MAC over exactly this TMI? Proof without a session. */
  checkTransaction: {
    request: v.strictObject({ cardId: cardIdSchema, keyVersion: keyVersionSchema, transactionCounter: counterSchema, transactionMac: transactionMacSchema, transactionMacInput: hexSchema }),
    response: v.boolean(),
  },
  /** Forgets a session that is not needed any more. */
  closeSession: { request: v.strictObject({ sessionId: sessionIdSchema }), response: v.null() },

  /** Begins re-keying; ends every session of the card. Durably remembered before the first key changes. */
  openRekey: { request: v.strictObject({ cardId: cardIdSchema }), response: openedSchema },
  /**
   * The next batch of re-keying. The first answers prove the card under key 0, which ends whatever session it was in; the second begin the change:
   * ask between them once more whether anything is unresolved, unless it goes on with one that was torn. `done`: `cardChallenge` is the card's new challenge under key 1.
   */
  continueRekey: {
    request: answersSchema,
    response: v.variant('at', [
      v.strictObject({ at: v.picklist(['asking', 'changing']), commands: commandsSchema }),
      v.strictObject({ at: v.literal('done'), cardChallenge: challengeSchema }),
    ]),
  },

  /** An operator's order to issue (messages/operator-order.ts): verified here, used once; answers the factory card's challenge under key 0, or begins with a blank card. */
  openIssue: { request: v.strictObject({ order: jwsSchema, operationId: operationIdSchema, timeSeconds: counterSchema }), response: openedSchema },
  /** The next batch of issuing; null when the card is issued. */
  continueIssue: { request: answersSchema, response: v.strictObject({ commands: v.nullable(commandsSchema) }) },
  /** After the reading of a load or replace: asks the card for its challenge under key 3. */
  requestLoadChallenge: { request: v.strictObject({ sessionId: sessionIdSchema }), response: batchSchema },
  /** The server's half of the authentication under key 3. */
  authenticateLoad: { request: answersSchema, response: batchSchema },
  /** Checks the card's half; commands that credit the order's amount. Once a session. Throws `operator/order-used`, `operator/limit`. */
  prepareCredit: {
    request: v.strictObject({ sessionId: sessionIdSchema, responses: responsesSchema, operationId: operationIdSchema, timeSeconds: counterSchema }),
    response: preparedSchema,
  },
});

export type SecurityService = ServiceOf<typeof securityApi>;
