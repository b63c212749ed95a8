/** What the application server and, for itself, the security server check of a payment request before a card is spoken to (payment-rules 13, 14, 16). */
import { parseBase64url } from '#protocol/bytes.ts';
import type { CertificateVerifier } from '#protocol/certificates.ts';
import { Failure } from '#protocol/failure.ts';
import { bill, MAX_BILL_LIFE_MS } from '#protocol/messages/bill.ts';
import { paymentRequest } from '#protocol/messages/payment-request.ts';
import { linkRequest, readingRequest } from '#protocol/messages/reading.ts';
import { byKnownSender, parseHeader, senderOf, verifyMessage, type BodyOf, type Jws, type Sender, type SenderCheck, type SignatureTally, type VerifiedMessage } from '#protocol/signed.ts';
import type { InformationService } from './apis/information.ts';

/** No INTENT with less time than this left of the bill (architecture.md, Time). */
export const MIN_BILL_REST_MS = 3 * 60_000;

/** Who may vouch: registered keys from the information server, never from the message. */
export interface Register {
  readonly information: Pick<InformationService, 'findShopByKey' | 'findCustomerByKey' | 'findCard' | 'checkActivationCode'>;
  readonly verifier: CertificateVerifier;
  readonly tally: SignatureTally;
  /** The application server's clock decides; epoch milliseconds. */
  readonly now: () => number;
}

export interface CustomerOfCard {
  readonly customerId: string;
  readonly payer: Sender;
  readonly card: RegisteredCard;
}

type RegisteredCard = NonNullable<Awaited<ReturnType<InformationService['findCard']>>>;

export interface VerifiedPaymentRequest extends CustomerOfCard {
  readonly request: VerifiedMessage<BodyOf<typeof paymentRequest>>;
  readonly bill: VerifiedMessage<BodyOf<typeof bill>>;
}

/** Throws `customer/…`, `shop/unknown`, `bill/…`, `card/…` or `message/…`. */
export async function verifyPaymentRequest(jws: Jws, register: Register): Promise<VerifiedPaymentRequest> {
  const { payer, customerId, check } = await customerSender(jws, register);
  const request = await verifyMessage(paymentRequest, jws, check, register.tally);
  const shop = shopSender(register);
  const claimed = await verifyMessage(bill, request.body.bill, shop.check, register.tally);
  const { body } = claimed;
  const registered = shop.found();
  // payment-rules 13: the registered key's own shop and origin, and a payer that is the signer of the request.
  if (registered.shopId !== body.shopId || registered.origin !== body.origin) throw new Failure('bill/origin');
  if (body.payer !== payer.thumbprint) throw new Failure('bill/payer');
  const restMs = body.expiresAt - register.now();
  if (restMs < MIN_BILL_REST_MS) throw new Failure('bill/expired');
  if (restMs > MAX_BILL_LIFE_MS) throw new Failure('bill/expired', { detail: 'a bill that lives too long' });
  const card = await linkedCard(request.body.cardId, customerId, register);
  if (card.blockedAt !== null) throw new Failure('card/blocked'); // payment-rules 20
  if (card.currency !== body.currency) throw new Failure('card/unsupported', { detail: 'another currency' });
  return { request, bill: claimed, payer, customerId, card };
}

/** The same for a reading: the card's own customer asks; a blocked card may be read, because only a reading settles what is open on it. */
export async function verifyReadingRequest(jws: Jws, register: Register): Promise<CustomerOfCard & { request: VerifiedMessage<BodyOf<typeof readingRequest>> }> {
  const { payer, customerId, check } = await customerSender(jws, register);
  const request = await verifyMessage(readingRequest, jws, check, register.tally);
  return { request, payer, customerId, card: await linkedCard(request.body.cardId, customerId, register) };
}

/** The same for a link: a customer asks for a card that is nobody's yet, with the code that came with it. The code is not used up here. */
export async function verifyLinkRequest(jws: Jws, register: Register): Promise<CustomerOfCard & { request: VerifiedMessage<BodyOf<typeof linkRequest>> }> {
  const { payer, customerId, check } = await customerSender(jws, register);
  const request = await verifyMessage(linkRequest, jws, check, register.tally);
  const { cardId, activationCode } = request.body;
  const card = await issuedCard(cardId, register);
  // Whoever has linked the card asks again because the answer was lost: the code is used up, and the card is read with a right of its own.
  const isMine = card.customerId === customerId;
  if (card.customerId !== null && !isMine) throw new Failure('customer/card-not-linked');
  if (card.blockedAt !== null) throw new Failure('card/blocked'); // payment-rules 20
  if (!isMine && !(await register.information.checkActivationCode({ cardId, activationCode }))) throw new Failure('customer/activation-code');
  return { request, payer, customerId, card };
}

async function customerSender(jws: Jws, { information, verifier }: Register): Promise<{ payer: Sender; customerId: string; check: SenderCheck }> {
  const { 'x5t#S256': thumbprint } = parseHeader(jws);
  const customer = await information.findCustomerByKey({ thumbprint });
  if (customer === null) throw new Failure('customer/unknown');
  const payer = senderOf(await verifier.verifyChain(customer.chain.map(parseBase64url), 'customer'));
  return { payer, customerId: customer.customerId, check: byKnownSender(payer) };
}

/** Looks the signing key up while the message is being verified, and keeps whose it is. */
function shopSender({ information, verifier }: Register) {
  let found: { shopId: string; origin: string } | null = null;
  const check: SenderCheck = async (header) => {
    const shop = await information.findShopByKey({ thumbprint: header['x5t#S256'] });
    if (shop === null) throw new Failure('shop/unknown');
    found = shop;
    return senderOf(await verifier.verifyChain(shop.chain.map(parseBase64url), 'shop'));
  };
  return {
    check,
    found: () => {
      if (found === null) throw new Failure('shop/unknown');
      return found;
    },
  };
}

async function linkedCard(cardId: string, customerId: string, register: Register): Promise<RegisteredCard> {
  const card = await issuedCard(cardId, register);
  // payment-rules 16: a card may be used only with a customer key that it is linked to; one without a customer with none.
  if (card.customerId !== customerId) throw new Failure('customer/card-not-linked');
  return card;
}

async function issuedCard(cardId: string, { information }: Register): Promise<RegisteredCard> {
  const card = await information.findCard({ cardId });
  if (card === null) throw new Failure('card/not-issued');
  return card;
}
