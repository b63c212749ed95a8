/** ST14: SPC is made, the INTENT is durable, then the statement is signed; in this order (payment-rules 1). */
import { encodeHex } from '#protocol/bytes.ts';
import { Failure } from '#protocol/failure.ts';
import { statement, STATEMENT_LIFE_MS } from '#protocol/messages/statement.ts';
import { signMessage, type Jws } from '#protocol/signed.ts';
import type { CardReading } from '../shared/apis/security.ts';
import { MIN_BILL_REST_MS, type VerifiedPaymentRequest } from '../shared/payment-request.ts';
import type { ApplicationParts } from './parts.ts';
import type { ApplicationStore, Intent } from './store.ts';

interface Answer {
  readonly digest: string;
  readonly body: { readonly responses: string[] };
}

export interface Offering {
  /** `reading`: null where nothing was read; `answer` then carries the card's authentication answer. */
  makeOffer(session: { readonly paymentId: string; readonly sessionId: string }, request: VerifiedPaymentRequest, answer: Answer, reading: CardReading | null): Promise<{ intent: Intent; statement: Jws }>;
}

export function createOffering({ store, security, signer, now, random }: ApplicationParts): Offering {
  return {
    makeOffer: async ({ paymentId, sessionId }, request, answer, reading) => {
      const { bill, card } = request;
      const { shopId, billId, amountMinor, currency, expiresAt } = bill.body;
      const writtenAt = Math.floor(now());
      if (expiresAt - writtenAt < MIN_BILL_REST_MS) throw new Failure('bill/expired');
      const operationId = encodeHex(random(8));
      const prepared = await security.prepareDebit({
        sessionId,
        operationId,
        timeSeconds: Math.floor(writtenAt / 1000),
        responses: reading === null ? answer.body.responses : null,
        balance: request.request.body.readBalance,
      });
      const intent: Intent = {
        paymentId,
        kind: 'pay',
        cardId: card.cardId,
        operationId,
        amountMinor,
        currency,
        bill: { shopId, billId, billDigest: bill.digest, expiresAt },
        sessionId,
        transactionCounter: prepared.transactionCounter,
        keyVersion: prepared.keyVersion,
        expectedTmi: prepared.expectedTmi,
        source: null,
        request: request.request.jws,
        writtenAt,
      };
      const written = await store.writeIntent(intent);
      if (written === 'bill-taken') throw new Failure((await isPaid(store, shopId, billId)) ? 'bill/already-paid' : 'bill/in-progress');
      if (written !== 'written') throw new Failure(written === 'card-blocked' ? 'card/blocked' : 'card/unresolved');
      const body = {
        paymentId,
        previous: answer.digest,
        billDigest: bill.digest,
        shopId,
        billId,
        amountMinor,
        currency,
        cardId: card.cardId,
        paymentNonce: request.request.body.paymentNonce,
        balance: typeof reading?.balanceMinor === 'bigint' ? { beforeMinor: reading.balanceMinor, afterMinor: reading.balanceMinor - amountMinor } : null,
        spc: prepared.commands,
        expiresAt: writtenAt + STATEMENT_LIFE_MS,
      };
      return { intent, statement: await signMessage(statement, body, signer) };
    },
  };
}

/** Perhaps only since this very reading, which found an earlier attempt debited. */
async function isPaid(store: ApplicationStore, shopId: string, billId: string): Promise<boolean> {
  return (await store.attemptsFor(shopId, billId)).some(({ state }) => state === 'DONE');
}
