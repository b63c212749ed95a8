/** The shop: estimates what a customer decided on, bills it, and believes only the settlement's signed notice that it is paid. */
import type { Currency } from '#protocol/amount.ts';
import { encodeBase64url } from '#protocol/bytes.ts';
import type { CertificateVerifier } from '#protocol/certificates.ts';
import { Failure } from '#protocol/failure.ts';
import { bill, MAX_BILL_LIFE_MS } from '#protocol/messages/bill.ts';
import { billRequest } from '#protocol/messages/bill-request.ts';
import { decision } from '#protocol/messages/decision.ts';
import { estimate } from '#protocol/messages/estimate.ts';
import { acknowledgement, notice } from '#protocol/messages/notice.ts';
import { shopStatement } from '#protocol/messages/shop-statement.ts';
import type { RandomBytes } from '#protocol/nonce.ts';
import { byCertificate, byOneTimeKey, digestOf, signMessage, verifyMessage, type Jws, type SignatureTally, type Signer } from '#protocol/signed.ts';
import { createStep, type Journal } from '#protocol/step.ts';
import type { BillStatus, OrderLine, ShopOrder, ShopStore } from './store.ts';

export interface Product {
  readonly productId: string;
  readonly name: string;
  readonly unitMinor: bigint;
}

export interface ShopParts {
  readonly shopId: string;
  /** Where the shop's pages live: `https://host[:port]`. */
  readonly origin: string;
  readonly currency: Currency;
  readonly products: readonly Product[];
  /** The oldest extension that the shop works with. */
  readonly minimumVersion: string;
  readonly store: ShopStore;
  /** K_SHOP,S. */
  readonly signer: Signer;
  readonly verifier: CertificateVerifier;
  readonly journal: Journal;
  readonly tally: SignatureTally;
  readonly now: () => number;
  readonly random: RandomBytes;
}

export interface ShopService {
  /** ST1: who the shop is. */
  introduce(): Promise<Jws>;
  /** ST3: decision in, estimate out. */
  decide(decision: Jws): Promise<Jws>;
  /** ST5: bill request in, BILL out. */
  requestBill(billRequest: Jws): Promise<Jws>;
  /** ACN in, acknowledgement out; the same for a notice that comes again, from the settlement or through the PC. */
  receiveNotice(notice: Jws): Promise<Jws>;
  /** For the receipt page. */
  findOrder(orderId: string): Promise<{ readonly order: ShopOrder; readonly bill: BillStatus | undefined } | undefined>;
}

/** A bill lives as long as it may, less a margin for clocks that differ. */
const BILL_LIFE_MS = MAX_BILL_LIFE_MS - 60_000;

export function createShopService(parts: ShopParts): ShopService {
  const { shopId, origin, currency, products, minimumVersion, store, signer, verifier, tally, now, random } = parts;
  const step = createStep({ party: 'shop', journal: parts.journal, now });
  const newNumber = (): string => encodeBase64url(random(12));

  const priced = ({ productId, quantity }: { productId: string; quantity: number }): OrderLine => {
    const product = products.find((candidate) => candidate.productId === productId);
    if (product === undefined) throw new Failure('shop/product-unknown');
    return { productId, quantity, name: product.name, unitMinor: product.unitMinor, lineMinor: product.unitMinor * BigInt(quantity) };
  };

  // It has no nonce and never changes: signed once, however many pages ask.
  let statement: Promise<Jws> | undefined;

  return {
    introduce: () => (statement ??= signMessage(shopStatement, { shopId, origin, minimumVersion }, signer, { introduce: true })),

    decide: (jws) =>
      step('ST3', async () => {
        const { body, digest: decisionDigest } = await verifyMessage(decision, jws, byOneTimeKey(), tally);
        if (body.origin !== origin) throw new Failure('shop/origin');
        const lines = body.lines.map(priced);
        const totalMinor = lines.reduce((sum, line) => sum + line.lineMinor, 0n);
        const orderId = newNumber();
        const offer = await signMessage(estimate, { shopId, origin, orderId, decisionDigest, lines, totalMinor, currency }, signer);
        const order = { orderId, decisionDigest, estimateDigest: await digestOf(offer), lines, totalMinor, currency, createdAt: Math.floor(now()) };
        if (!(await store.addOrder(order))) throw new Failure('message/not-fresh', { detail: 'a decision that came before' });
        return offer;
      }),

    requestBill: (jws) =>
      step('ST5', async () => {
        const { body, sender } = await verifyMessage(billRequest, jws, byCertificate(verifier, 'customer'), tally);
        if (body.origin !== origin) throw new Failure('shop/origin');
        const order = await store.findOrder(body.orderId);
        if (order === undefined) throw new Failure('shop/order-unknown');
        if (order.estimateDigest !== body.estimateDigest) throw new Failure('shop/mismatch');
        const { totalMinor: amountMinor, estimateDigest } = order;
        const billId = newNumber();
        const expiresAt = Math.floor(now()) + BILL_LIFE_MS;
        const claim = { shopId, origin, billId, estimateDigest, amountMinor, currency, expiresAt, payer: sender.thumbprint, billNonce: body.billNonce };
        const claimed = await signMessage(bill, claim, signer);
        const added = await store.addBill({ billId, orderId: order.orderId, billDigest: await digestOf(claimed), amountMinor, currency, payer: sender.thumbprint, expiresAt, jws: claimed });
        // One order, one bill: a second one could be paid as well.
        if (!added) throw new Failure('bill/in-progress');
        return claimed;
      }),

    receiveNotice: async (jws) => {
      const { body, digest: noticeDigest } = await verifyMessage(notice, jws, byCertificate(verifier, 'settlement'), tally);
      const { billId, outcome, paymentId, at: decidedAt } = body;
      const billed = await store.findBill(billId);
      // payment-rules 17: a notice is good for exactly the bill that it names.
      if (billed === undefined || body.shopId !== shopId) throw new Failure('shop/order-unknown');
      if (billed.billDigest !== body.billDigest || billed.amountMinor !== body.amountMinor || billed.currency !== body.currency) throw new Failure('shop/mismatch');
      const recorded = await store.recordOutcome(billId, { outcome, paymentId, decidedAt, notice: jws, recordedAt: Math.floor(now()) });
      if (recorded !== 'recorded') throw new Failure('shop/mismatch', { detail: `outcome ${outcome}: ${recorded}` });
      return signMessage(acknowledgement, { noticeDigest, shopId, billId }, signer, { introduce: true });
    },

    findOrder: async (orderId) => {
      const order = await store.findOrder(orderId);
      return order === undefined ? undefined : { order, bill: await store.billOf(orderId) };
    },
  };
}
