/** ST1 to ST5 as the PC sees them: from the shop's statement to a BILL that is this shop's, this order's and this payer's. */
import { verifyAnswer } from './answer.ts';
import { ROLES, type ValidatedCertificate } from './certificates.ts';
import { Failure } from './failure.ts';
import { bill } from './messages/bill.ts';
import { billRequest } from './messages/bill-request.ts';
import { decision, type Order } from './messages/decision.ts';
import { estimate } from './messages/estimate.ts';
import { shopStatement } from './messages/shop-statement.ts';
import { randomNonce, type RandomBytes } from './nonce.ts';
import type { BillView, EstimateView, Identity, Shop, ShopView } from './parties.ts';
import { byCertificate, byKnownSender, createOneTimeSigner, digestOf, signMessage, verifyMessage, type BodyOf, type Jws, type Sender, type VerifiedMessage } from './signed.ts';

/** A shop that has shown a statement under a valid certificate that names the page's origin. */
export interface Merchant {
  readonly view: ShopView;
  readonly sender: Sender;
}

export interface Estimate {
  readonly message: VerifiedMessage<BodyOf<typeof estimate>>;
  readonly view: EstimateView;
}

export interface Bill {
  readonly message: VerifiedMessage<BodyOf<typeof bill>>;
  readonly view: BillView;
}

/** ST1: verifies the shop's statement for this origin; nothing has been said to the shop before. */
export async function meetShop(shop: Shop, identity: Identity): Promise<Merchant> {
  return verifyShopStatement(await shop.introduce(), shop.origin, identity);
}

/** Also the background's check before it lets a page open a window: `origin` comes from the browser. */
export async function verifyShopStatement(statement: Jws, origin: string, identity: Omit<Identity, 'signer'>): Promise<Merchant> {
  const { body, sender } = await verifyMessage(shopStatement, statement, byCertificate(identity.verifier, 'shop'), identity.tally);
  const certificate = shopCertificate(sender);
  // payment-rules 13: the shop's certificate, its statement and the browser must name one origin.
  if (body.origin !== origin || !certificate.origins.includes(origin)) throw new Failure('shop/origin', { detail: `${body.origin} on ${origin}` });
  return { view: { shopId: body.shopId, legalName: certificate.organization ?? certificate.commonName, origin }, sender };
}

/** ST2 (ST3 at the shop): sends the decision under a one-time key, verifies that the estimate answers it. */
export async function sendDecision(shop: Shop, merchant: Merchant, order: Order, identity: Identity, random: RandomBytes): Promise<Estimate> {
  const request = await signMessage(decision, { origin: shop.origin, lines: order.lines, nonce: randomNonce(random) }, await createOneTimeSigner(identity.tally));
  const message = await verifyAnswer(estimate, { request, answer: await shop.decide(request), sender: byKnownSender(merchant.sender), tally: identity.tally });
  const { body } = message;
  if (body.decisionDigest !== (await digestOf(request))) throw new Failure('message/not-fresh', { detail: 'estimate of another decision' });
  if (body.shopId !== merchant.view.shopId || body.origin !== shop.origin) throw new Failure('shop/mismatch', { detail: 'estimate of another shop' });
  if (!namesOrder(body.lines, order.lines)) throw new Failure('shop/mismatch', { detail: 'estimate of other products' });
  return { message, view: { shop: merchant.view, lines: body.lines, totalMinor: body.totalMinor, currency: body.currency } };
}

/** ST4 (ST5 at the shop): asks for the bill in the customer's name and checks each field of BILL against what the PC knows. */
export async function requestBill(shop: Shop, merchant: Merchant, estimated: Estimate, identity: Identity, random: RandomBytes): Promise<Bill> {
  const { body: offer, digest: estimateDigest } = estimated.message;
  const billNonce = randomNonce(random);
  const request = await signMessage(billRequest, { origin: shop.origin, orderId: offer.orderId, estimateDigest, billNonce }, identity.signer, { introduce: true });
  const message = await verifyAnswer(bill, { request, answer: await shop.requestBill(request), sender: byKnownSender(merchant.sender), tally: identity.tally });
  const { body } = message;
  // payment-rules 13: shop = origin of the page, payer = ourselves, nonce = our own, amount = the estimate's.
  if (body.origin !== shop.origin || body.shopId !== merchant.view.shopId) throw new Failure('bill/origin');
  if (body.payer !== identity.signer.thumbprint) throw new Failure('bill/payer');
  if (body.billNonce !== billNonce) throw new Failure('message/not-fresh', { detail: 'BILL of another request' });
  if (body.estimateDigest !== estimateDigest || body.amountMinor !== offer.totalMinor || body.currency !== offer.currency) throw new Failure('shop/mismatch');
  const { amountMinor, billId, expiresAt } = body;
  return { message, view: { ...estimated.view, orderId: offer.orderId, billId, amountMinor, expiresAt, billDigest: message.digest } };
}

function shopCertificate(sender: Sender): ValidatedCertificate {
  if (sender.certificate?.role !== 'shop') throw new Failure('message/certificate', { detail: ROLES.shop });
  return sender.certificate;
}

/** The products and quantities of the decision, each once, in its order. */
function namesOrder(estimated: readonly { productId: string; quantity: number }[], ordered: Order['lines']): boolean {
  return estimated.length === ordered.length && ordered.every((line, i) => estimated[i]?.productId === line.productId && estimated[i].quantity === line.quantity);
}
