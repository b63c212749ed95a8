/** What an operator orders without a card: an account looked at, a lost card blocked, the proof of one operation, a one-time code given anew. */
import { Failure } from '#protocol/failure.ts';
import type { CardAccount } from '#protocol/messages/card-account.ts';
import { paymentRequest } from '#protocol/messages/payment-request.ts';
import type { Receipt } from '#protocol/messages/receipt.ts';
import { parseHeader, readKeptBody, type Jws } from '#protocol/signed.ts';
import type { OrderKind, VerifiedOrder } from '../shared/operator-order.ts';
import { isOrderOf, type Begun, type Turn } from './order-turn.ts';
import type { ApplicationParts } from './parts.ts';
import type { Operation } from './store.ts';

export function createBookkeeping(parts: ApplicationParts): { begin(order: VerifiedOrder<OrderKind>): Promise<Begun> } {
  const turnOf = async (order: VerifiedOrder<OrderKind>): Promise<Turn> => {
    if (isOrderOf('account', order)) return { report: { kind: 'account', account: await accountOf(order.body.cardId, parts) } };
    if (isOrderOf('block', order)) return { report: { kind: 'block', account: await block(order, parts) } };
    if (isOrderOf('receipt', order)) return { report: { kind: 'receipt', receipt: await receiptOf(order.body.paymentId, parts) } };
    if (isOrderOf('enrolment-code', order)) return { report: { kind: 'enrolment-code', ...(await enrolmentCodeFor(order.body.customerId, parts)) } };
    if (isOrderOf('activation-code', order)) return { report: { kind: 'activation-code', ...(await activationCodeFor(order.body.cardId, parts)) } };
    throw new Failure('message/wrong-type', { detail: `no card lies on the reader for an order to ${order.body.kind}` });
  };
  return { begin: async (order) => ({ paymentId: parts.newId(), first: await turnOf(order) }) };
}

/** Throws `card/not-issued`. */
export async function accountOf(cardId: string, { store, information }: Pick<ApplicationParts, 'store' | 'information'>): Promise<CardAccount> {
  const card = await information.findCard({ cardId });
  if (card === null) throw new Failure('card/not-issued');
  const { customerId, currency, limitMinor } = card;
  const [{ block, ledgerMinor, movableMinor }, unresolved] = await Promise.all([store.bookedCard(cardId, currency), store.unresolvedOf(cardId)]);
  const open = unresolved.map(({ paymentId, kind, amountMinor, bill, writtenAt, state }) => ({ paymentId, kind, amountMinor, shopId: bill?.shopId ?? null, writtenAt, expired: state === 'EXPIRED' }));
  return { cardId, state: block === null ? 'active' : 'blocked', blockedAt: block?.blockedAt ?? null, currency, limitMinor, customerId, ledgerMinor, movableMinor, open };
}

/** The books first, which no INTENT passes (payment-rules 20); then the register, which stands before every session. Ordered again, it ends what was torn. */
async function block({ body: { cardId }, jws }: VerifiedOrder<'block'>, parts: ApplicationParts): Promise<CardAccount> {
  const { store, information, now } = parts;
  if ((await information.findCard({ cardId })) === null) throw new Failure('card/not-issued');
  const { blockedAt } = await store.blockCard({ cardId, blockedAt: Math.floor(now()), order: jws });
  await information.blockCard({ cardId, blockedAt });
  return accountOf(cardId, parts);
}

/** Throws `customer/unknown`. */
async function enrolmentCodeFor(customerId: string, { information }: Pick<ApplicationParts, 'information'>): Promise<{ customerId: string; enrolmentCode: string }> {
  return { customerId, enrolmentCode: (await information.newEnrolmentCode({ customerId })).enrolmentCode };
}

/** Throws `card/not-issued`, `card/blocked`, `customer/card-not-linked` if it has a customer. */
async function activationCodeFor(cardId: string, { information }: Pick<ApplicationParts, 'information'>): Promise<{ cardId: string; activationCode: string }> {
  const card = await information.findCard({ cardId });
  if (card !== null && card.blockedAt !== null) throw new Failure('card/blocked');
  return { cardId, activationCode: (await information.newActivationCode({ cardId })).activationCode };
}

/** Throws `payment/unknown` for an operation that is not proved by a transaction MAC. */
async function receiptOf(paymentId: string, { store, information }: Pick<ApplicationParts, 'store' | 'information'>): Promise<Receipt> {
  const operation = await store.find(paymentId);
  const proof = operation === undefined ? null : proofOf(operation);
  if (operation === undefined || proof === null || operation.decidedAt === null) throw new Failure('payment/unknown');
  const { kind, cardId, operationId, amountMinor, currency, bill, decidedAt, request, notice, evidence } = operation;
  const said = evidence?.by === 'notice' ? evidence : { statement: null, consent: null };
  const billed = bill === null ? null : { shopId: bill.shopId, billId: bill.billId, billDigest: bill.billDigest, shopChain: await shopChainOf(request, information) };
  return { format: 'kessai-receipt-1', paymentId, kind, cardId, operationId, amountMinor, currency, bill: billed, decidedAt, request, statement: said.statement, consent: said.consent, notice, proof };
}

/** The certificates that the shop's key was registered with; none if it is registered no more. */
async function shopChainOf(request: Jws, information: ApplicationParts['information']): Promise<string[]> {
  const { bill } = readKeptBody(paymentRequest, request);
  return (await information.findShopByKey({ thumbprint: parseHeader(bill)['x5t#S256'] }))?.chain ?? [];
}

/** Only of what the card has committed: a reading that found nothing shows the proof of another operation. */
function proofOf({ state, evidence, keyVersion, expectedTmi }: Operation): Receipt['proof'] | null {
  if ((state !== 'DONE' && state !== 'REFUND_DUE') || keyVersion === null || (evidence?.by !== 'notice' && evidence?.by !== 'reading')) return null;
  const { transactionCounter, transactionMac } = evidence;
  // Read after a re-keying, which makes the file of the transaction MAC anew: the log has decided, and the MAC is gone.
  if (transactionCounter === 0) return null;
  return { keyVersion, transactionCounter, transactionMac, transactionMacInput: expectedTmi };
}
