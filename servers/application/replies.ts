/** The messages that the application server answers with, each bound to the message that it answers. */
import { Failure } from '#protocol/failure.ts';
import { cardDialog } from '#protocol/messages/card-dialog.ts';
import { consent } from '#protocol/messages/completion.ts';
import type { WireCommands } from '#protocol/messages/fields.ts';
import { readingReport } from '#protocol/messages/reading.ts';
import { refusal } from '#protocol/messages/statement.ts';
import { byKnownSender, digestOf, signMessage, verifyMessage, type Jws, type SignatureTally } from '#protocol/signed.ts';
import type { CardReading } from '../shared/apis/security.ts';
import type { VerifiedPaymentRequest } from '../shared/payment-request.ts';
import type { Decided } from './deciding.ts';
import type { Exchange } from './exchange.ts';
import { describeRecords } from './history.ts';
import type { ApplicationParts } from './parts.ts';
import type { Operation } from './store.ts';

export interface Replies {
  /** `introduce`: with the server's certificate chain, in its first message of an exchange. */
  dialog(exchange: Exchange, previous: string, phase: 'rekey' | 'authenticate' | 'read', commands: WireCommands, introduce: boolean): Promise<Jws>;
  balanceTooLow(exchange: Exchange, request: VerifiedPaymentRequest, previous: string, balanceMinor: bigint): Promise<Jws>;
  report(exchange: Exchange, previous: string, reading: CardReading, decided: readonly Decided[]): Promise<Jws>;
}

export function createReplies(parts: ApplicationParts): Replies {
  const { signer, store } = parts;
  return {
    dialog: ({ paymentId, nonce }, previous, phase, commands, introduce) => signMessage(cardDialog, { paymentId, nonce, previous, phase, commands }, signer, { introduce }),

    balanceTooLow: ({ paymentId, customer, nonce }, { bill }, previous, balanceMinor) => {
      const { shopId, billId, amountMinor, currency } = bill.body;
      const subject = { paymentId, previous, billDigest: bill.digest, shopId, billId, amountMinor, currency, cardId: customer.card.cardId, paymentNonce: nonce };
      return signMessage(refusal, { ...subject, reason: 'balance-too-low', balanceMinor }, signer);
    },

    report: async ({ paymentId, customer, nonce, purpose }, previous, reading, decided) => {
      if (reading.balanceMinor === null) throw new Failure('internal/bug', { detail: 'a reading without balance' });
      const asked = purpose.kind === 'reading' && purpose.about !== null && !decided.some(({ operation }) => operation.paymentId === purpose.about) ? await store.find(purpose.about) : undefined;
      const told = asked === undefined ? decided : [...decided, ...decidedBefore(asked, customer.card.cardId)];
      const entries = told.flatMap(({ operation, outcome, notice }) => {
        if (operation.bill === null) return [];
        const { billDigest, shopId, billId } = operation.bill;
        return [{ paymentId: operation.paymentId, billDigest, shopId, billId, amountMinor: operation.amountMinor, outcome, notice }];
      });
      const { cardId, currency, limitMinor, blockedAt } = customer.card;
      const records = purpose.kind === 'link' || (purpose.kind === 'reading' && purpose.history) ? await describeRecords(reading, parts) : [];
      const card = { state: blockedAt === null ? ('active' as const) : ('blocked' as const), currency, limitMinor };
      const body = { paymentId, previous, readingNonce: nonce, cardId, balanceMinor: reading.balanceMinor, decided: entries, card, records };
      return signMessage(readingReport, body, signer);
    },
  };
}

/** Only a payment of the very card that was read, and only one that is decided. */
function decidedBefore(operation: Operation, cardId: string): Decided[] {
  if (operation.cardId !== cardId || operation.state === 'INTENT' || operation.state === 'EXPIRED') return [];
  const paid = operation.state === 'DONE';
  return [{ operation, outcome: paid ? 'paid' : 'not-paid', notice: paid ? operation.notice : null }];
}

/** Consent is evidence, not a gate: one that does not fit is left out, and the debit stays proved. */
export async function consentOrNull(jws: Jws, exchange: Exchange, said: Jws, tally: SignatureTally): Promise<Jws | null> {
  try {
    const { body } = await verifyMessage(consent, jws, byKnownSender(exchange.customer.payer), tally);
    return body.paymentId === exchange.paymentId && body.statementDigest === (await digestOf(said)) ? jws : null;
  } catch (thrown) {
    if (thrown instanceof Failure) return null;
    throw thrown;
  }
}
