/** For tests: a customer's extension and the settlement, as far as the shop hears of them. */
import { verifyAnswer } from '#protocol/answer.ts';
import { bill } from '#protocol/messages/bill.ts';
import { billRequest } from '#protocol/messages/bill-request.ts';
import { decision, type Order } from '#protocol/messages/decision.ts';
import { estimate } from '#protocol/messages/estimate.ts';
import { notice } from '#protocol/messages/notice.ts';
import { shopStatement } from '#protocol/messages/shop-statement.ts';
import { platformRandom, randomNonce } from '#protocol/nonce.ts';
import { byCertificate, createOneTimeSigner, signMessage, verifyMessage, type BodyOf, type VerifiedMessage } from '#protocol/signed.ts';
import type { Answer, Call, PreparedShop } from './running-shop.fixture.ts';

export interface Buyer {
  /** ST2 and ST3: answers the order's number. */
  decide(lines: Order['lines']): Promise<VerifiedMessage<BodyOf<typeof estimate>>>;
  /** ST4 and ST5. */
  requestBill(offered: VerifiedMessage<BodyOf<typeof estimate>>): Promise<VerifiedMessage<BodyOf<typeof bill>>>;
  /** ST19: the settlement's word about a bill. */
  tell(claimed: VerifiedMessage<BodyOf<typeof bill>>, said: Pick<BodyOf<typeof notice>, 'outcome' | 'paymentId' | 'at'>): Promise<Answer>;
}

export async function createBuyer({ parties, config }: PreparedShop, call: Call): Promise<Buyer> {
  const { origin } = config.public;
  const sender = byCertificate(parties.verifier, 'shop');
  // ST1: the shop's chain travels in its statement only.
  await verifyMessage(shopStatement, (await call('/.well-known/kessai-shop')).text, sender);
  const [customer, settlement] = [await parties.issue('customer', { commonName: '4711' }), await parties.issue('settlement', { commonName: 'settlement.localhost' })];
  const post = (path: string, body: string): Promise<Answer> => call(path, { method: 'POST', body, headers: { 'Content-Type': 'application/jose' } });
  return {
    decide: async (lines) => {
      const request = await signMessage(decision, { origin, lines, nonce: randomNonce(platformRandom) }, await createOneTimeSigner());
      return verifyAnswer(estimate, { request, sender, answer: (await post('/kessai/decisions', request)).text });
    },
    requestBill: async ({ body: { orderId }, digest: estimateDigest }) => {
      const request = await signMessage(billRequest, { origin, orderId, estimateDigest, billNonce: randomNonce(platformRandom) }, customer.signer, { introduce: true });
      return verifyAnswer(bill, { request, sender, answer: (await post('/kessai/bill-requests', request)).text });
    },
    tell: async ({ body: { shopId, billId, amountMinor, currency }, digest: billDigest }, said) =>
      post('/kessai/notices', await signMessage(notice, { operationId: '0011223344556677', billDigest, shopId, billId, amountMinor, currency, ...said }, settlement.signer, { introduce: true })),
  };
}
