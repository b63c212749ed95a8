/** Checks the settlement's own proof of one operation, long afterwards and without any server: every signature, every field, and the card's transaction MAC. */
import { encodeHex, parseBase64url, parseHex } from '#protocol/bytes.ts';
import type { CertificateVerifier } from '#protocol/certificates.ts';
import { Failure } from '#protocol/failure.ts';
import { bill, MAX_BILL_LIFE_MS } from '#protocol/messages/bill.ts';
import { consent } from '#protocol/messages/completion.ts';
import { notice } from '#protocol/messages/notice.ts';
import { MAX_ORDER_LIFE_MS, operatorOrder } from '#protocol/messages/operator-order.ts';
import { paymentRequest } from '#protocol/messages/payment-request.ts';
import type { Receipt } from '#protocol/messages/receipt.ts';
import { statement, STATEMENT_LIFE_MS } from '#protocol/messages/statement.ts';
import { byCertificate, byKnownSender, readKeptBody, senderOf, verifyMessage, type BodyOf, type Jws, type VerifiedMessage } from '#protocol/signed.ts';
import { MIN_BILL_REST_MS } from '../shared/payment-request.ts';
import { KeyStoreError, type CardKeyStore } from './key-store/key-store.ts';
import { isTransactionMac } from './transfer.ts';
import { parseTransactionInput } from './transaction-input.ts';

export const RECEIPT_CHECKS = ['request', 'bill', 'notice', 'statement', 'consent', 'transaction', 'transaction-mac'] as const;

export interface ReceiptCheck {
  readonly check: (typeof RECEIPT_CHECKS)[number];
  readonly ok: boolean;
  /** What is wrong; or, of a check that holds, what it says. */
  readonly why: string;
}

export interface ReceiptChecker {
  /** Judges certificates as of this time, epoch milliseconds. */
  readonly verifierAt: (at: number) => CertificateVerifier;
  readonly keyStore: Pick<CardKeyStore, 'deriveCardKey'>;
}

/** All checks, in the order of RECEIPT_CHECKS; the receipt is good if each is ok. A check that cannot be made because another one failed is not ok. */
export async function verifyReceipt(receipt: Receipt, { verifierAt, keyStore }: ReceiptChecker): Promise<readonly ReceiptCheck[]> {
  // A card may come back, and be decided about, when the certificates of those who signed have long run out: they had to be good when it was done.
  const verifier = verifierAt(timeOfRecord(receipt) ?? receipt.decidedAt);
  const settlement = verifierAt(timeOfNotice(receipt) ?? receipt.decidedAt);
  const findings = new Findings();
  const request = await findings.check('request', () => verifyRequest(receipt, verifier), ({ says }) => says);
  const billed = await findings.check('bill', () => verifyBill(receipt, needed(request, 'request'), verifier), (verified) => (verified === null ? 'none: an order has no bill' : 'signed by the shop, for this payer and amount'));
  await findings.check('notice', () => verifyNotice(receipt, settlement));
  const said = await findings.check('statement', () => (receipt.statement === null ? null : verifyStatement(receipt.statement, receipt, needed(request, 'request'), settlement)), (verified) => (verified === null ? ABSENT : 'signed by the settlement, about this payment'));
  await findings.check('consent', () => (receipt.consent === null ? ABSENT : verifyConsent(receipt.consent, receipt, needed(request, 'request'), needed(said, 'statement'))));
  await findings.check('transaction', () => verifyTransaction(receipt, said?.body ?? null, windowOf(request, billed ?? null)));
  await findings.check('transaction-mac', () => verifyTransactionMac(receipt, keyStore));
  return findings.all;
}

const ABSENT = 'none is kept';

/** One part of the receipt contradicts another. */
class Contradiction extends Error {}

class Findings {
  readonly all: ReceiptCheck[] = [];

  async check<T>(check: ReceiptCheck['check'], act: () => T | Promise<T>, says: (value: T) => string = String): Promise<T | undefined> {
    try {
      const value = await act();
      this.all.push({ check, ok: true, why: says(value) });
      return value;
    } catch (cause) {
      if (!(cause instanceof Failure || cause instanceof Contradiction || cause instanceof KeyStoreError)) throw cause;
      this.all.push({ check, ok: false, why: cause.message });
      return undefined;
    }
  }
}

function needed<T>(value: T | undefined, check: ReceiptCheck['check']): T {
  if (value === undefined) throw new Contradiction(`cannot be checked: the ${check} is not in order`);
  return value;
}

/** Every field of `given` that has another value than in `expected` is a contradiction. */
function requireSame<Fields extends object>(what: string, given: { readonly [Field in keyof Fields]: unknown }, expected: Fields): void {
  for (const field of Object.keys(expected) as (keyof Fields & string)[]) {
    if (given[field] !== expected[field]) throw new Contradiction(`${what} has another ${field} than the receipt`);
  }
}

type Request =
  | { readonly is: 'payment'; readonly message: VerifiedMessage<BodyOf<typeof paymentRequest>>; readonly says: string }
  | { readonly is: 'order'; readonly message: VerifiedMessage<BodyOf<typeof operatorOrder>>; readonly says: string };

async function verifyRequest({ kind, request, cardId, amountMinor, currency }: Receipt, verifier: CertificateVerifier): Promise<Request> {
  if (kind === 'pay') {
    const message = await verifyMessage(paymentRequest, request, byCertificate(verifier, 'customer'));
    requireSame('the payment request', message.body, { cardId });
    return { is: 'payment', message, says: 'signed by a customer, for this card' };
  }
  const message = await verifyMessage(operatorOrder, request, byCertificate(verifier, 'operator'));
  const { body } = message;
  if (kind !== 'load' || (body.kind !== 'load' && body.kind !== 'replace')) throw new Contradiction(`an order to ${body.kind} does not ${kind}`);
  requireSame('the order', body, { cardId, amountMinor, currency });
  return { is: 'order', message, says: `signed by an operator, for this card and amount` };
}

/** By the settlement's clock when the operation was ordered; the transaction MAC vouches for it. */
function timeOfRecord({ proof }: Receipt): number | undefined {
  try {
    return parseTransactionInput(parseHex(proof.transactionMacInput)).record.timeSeconds * 1000;
  } catch (cause) {
    if (cause instanceof Failure) return undefined;
    throw cause;
  }
}

/** Not verified yet: only the settlement can have signed it, and the key must have been good at that time. */
function timeOfNotice({ notice: jws }: Receipt): number | undefined {
  try {
    return jws === null ? undefined : readKeptBody(notice, jws).at;
  } catch (cause) {
    if (cause instanceof Failure) return undefined;
    throw cause;
  }
}

async function verifyBill({ bill: billed, amountMinor, currency }: Receipt, request: Request, verifier: CertificateVerifier): Promise<BodyOf<typeof bill> | null> {
  if (request.is === 'order') {
    if (billed !== null) throw new Contradiction('an order has no bill');
    return null;
  }
  if (billed === null) throw new Contradiction('a payment without a bill');
  const { shopId, billId, billDigest, shopChain } = billed;
  const shop = senderOf(await verifier.verifyChain(shopChain.map(parseBase64url), 'shop'));
  const { body, digest } = await verifyMessage(bill, request.message.body.bill, byKnownSender(shop));
  requireSame('the bill', { ...body, billDigest: digest }, { shopId, billId, billDigest, amountMinor, currency });
  // payment-rules 13: a bill of the shop's own origin, for the signer of the request.
  if (shop.certificate?.origins.includes(body.origin) !== true) throw new Contradiction('the bill names another origin than the shop\'s certificate');
  if (body.payer !== request.message.sender.thumbprint) throw new Contradiction('the bill names another payer than signed the request');
  return body;
}

async function verifyNotice(receipt: Receipt, verifier: CertificateVerifier): Promise<string> {
  const { notice: jws, kind, paymentId, operationId, bill: billed, amountMinor, currency, decidedAt } = receipt;
  // Every payment that moved the amount was told of; a bill that nobody paid has no such notice.
  if (jws === null && kind === 'pay') throw new Contradiction('a payment that no shop was told of');
  if (jws === null) return ABSENT;
  if (billed === null) throw new Contradiction('a notice, though no shop was to hear of this');
  const { body } = await verifyMessage(notice, jws, byCertificate(verifier, 'settlement'));
  const { shopId, billId, billDigest } = billed;
  requireSame('the notice', body, { paymentId, operationId, shopId, billId, billDigest, amountMinor, currency });
  // Told "not paid" after it had expired, and found debited later: the amount is owed to the card's holder (payment-rules 10).
  if (body.outcome === 'not-paid' ? body.at > decidedAt : body.at !== decidedAt) throw new Contradiction('the notice is of another time');
  return body.outcome === 'paid' ? 'the shop was told that it is paid' : 'the shop was told that it is not paid: the amount is owed to the card\'s holder';
}

async function verifyStatement(jws: Jws, receipt: Receipt, request: Request, verifier: CertificateVerifier): Promise<VerifiedMessage<BodyOf<typeof statement>>> {
  const { paymentId, bill: billed, amountMinor, currency, cardId } = receipt;
  if (request.is === 'order' || billed === null) throw new Contradiction('a statement, though no customer was asked');
  const message = await verifyMessage(statement, jws, byCertificate(verifier, 'settlement'));
  const { paymentNonce } = request.message.body;
  const { shopId, billId, billDigest } = billed;
  requireSame('the statement', message.body, { paymentId, shopId, billId, billDigest, amountMinor, currency, cardId, paymentNonce });
  const { balance } = message.body;
  if (balance !== null && balance.beforeMinor - amountMinor !== balance.afterMinor) throw new Contradiction('the statement\'s balances do not differ by the amount');
  return message;
}

async function verifyConsent(jws: Jws, { paymentId }: Receipt, request: Request, said: VerifiedMessage<BodyOf<typeof statement>> | null): Promise<string> {
  if (said === null) throw new Contradiction('consent to a statement that is not there');
  const { body } = await verifyMessage(consent, jws, byKnownSender(request.message.sender));
  requireSame('the consent', body, { paymentId, statementDigest: said.digest });
  return 'signed by the customer, to exactly this statement';
}

interface Window {
  readonly fromMs: number;
  readonly untilMs: number;
}

/** When the settlement may have carried out what was signed; its own writing takes as long as a conversation with the card. */
function windowOf(request: Request | undefined, billed: BodyOf<typeof bill> | null): Window | null {
  if (billed !== null) return { fromMs: billed.expiresAt - MAX_BILL_LIFE_MS, untilMs: billed.expiresAt - MIN_BILL_REST_MS };
  if (request?.is !== 'order') return null;
  const { expiresAt } = request.message.body;
  return { fromMs: expiresAt - MAX_ORDER_LIFE_MS, untilMs: expiresAt + 2 * MAX_ORDER_LIFE_MS };
}

function verifyTransaction({ kind, operationId, amountMinor, decidedAt, proof }: Receipt, said: BodyOf<typeof statement> | null, window: Window | null): string {
  const { record, change, amountMinor: changedMinor, balanceBeforeMinor } = parseTransactionInput(parseHex(proof.transactionMacInput));
  const ordered = kind === 'pay' ? 'debit' : 'credit';
  if (change !== ordered) throw new Contradiction(`the card committed a ${change}, not a ${ordered}`);
  requireSame('the card\'s transaction', { amountMinor: changedMinor }, { amountMinor });
  requireSame('the card\'s log record', { operationId: encodeHex(record.operationId), amountMinor: record.amountMinor }, { operationId, amountMinor });
  const { timeSeconds } = record;
  if (timeSeconds * 1000 > decidedAt) throw new Contradiction('the card\'s log record is younger than the decision');
  // The notice names the card's record; a load has none, and there the time alone tells it from another one of this card and amount.
  if (said !== null && timeSeconds !== Math.floor((said.expiresAt - STATEMENT_LIFE_MS) / 1000)) throw new Contradiction('the card\'s log record is of another time than the statement');
  if (window !== null && (timeSeconds * 1000 + 999 < window.fromMs || timeSeconds * 1000 > window.untilMs)) throw new Contradiction('the card\'s log record is of another time than what was signed');
  if (said !== null && said.balance?.beforeMinor !== balanceBeforeMinor) throw new Contradiction('the card\'s transaction begins with another balance than the statement');
  return `one log record and one ${change} of the amount`;
}

async function verifyTransactionMac({ cardId, proof }: Receipt, keyStore: ReceiptChecker['keyStore']): Promise<string> {
  const { keyVersion, transactionCounter, transactionMac, transactionMacInput } = proof;
  const uid = parseHex(cardId);
  const transactionMacKey = await keyStore.deriveCardKey(uid, 'transaction-mac', keyVersion);
  const isOurs = isTransactionMac({ uid, transactionMacKey }, parseHex(transactionMacInput), { transactionCounter, transactionMac: parseHex(transactionMac) });
  if (!isOurs) throw new Contradiction('not the MAC that this card makes of this transaction at this count');
  return `made by this card, count ${transactionCounter}`;
}
