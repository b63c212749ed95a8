/** pay(): the patent's figure, one step a line, as the PC drives it; ends in paid, not paid or unknown, never in a guess. */
import { openContact } from './card-contact.ts';
import { asFailure } from './failure.ts';
import type { Order } from './messages/decision.ts';
import type { Outcome, PaymentPorts } from './parties.ts';
import { createRecovery } from './recovery.ts';
import { agreeAndDebit, complete, newAttempt, relayDialog, sendPaymentRequest, verifyStatement } from './settling.ts';
import { meetShop, requestBill, sendDecision } from './shopping.ts';

export interface PaymentOptions {
  /** False: the variant of paragraph 0064, without ST12, ST13 and the balance in ST14 and ST15. */
  readonly readBalance: boolean;
}

/**
 * Pays one order. Throws a Failure only while it is certain that nothing was taken from the card; after the SPC has left
 * for the card every failure is resolved by a reading, or the outcome is `unknown`.
 */
export async function pay(order: Order, ports: PaymentPorts, options: PaymentOptions): Promise<Outcome> {
  const { shop, settlement, reader, customer, identity, step, now, random } = ports;

  const merchant = await step('ST1', () => meetShop(shop, identity));
  const estimate = await step('ST2', () => sendDecision(shop, merchant, order, identity, random)); // ST3 is the shop's
  const bill = await step('ST4', async () => ((await customer.agreeToEstimate(estimate.view)) ? requestBill(shop, merchant, estimate, identity, random) : null)); // ST5 is the shop's
  if (bill === null) return notPaid('estimate-declined');
  await step('ST6', () => customer.showBill(bill.view));
  const [agreed] = await step('ST7', () => Promise.all([customer.agreeToBill(bill.view), settlement.connect()]));
  if (!agreed) return notPaid('bill-declined');

  const recovery = createRecovery(ports, bill);
  for (;;) {
    const card = await recovery.awaitCard(reader);
    try {
      const attempt = newAttempt(bill, recovery.sameCard(await openContact(card, 1)), options.readBalance, random);
      const request = await step('ST8', () => sendPaymentRequest(settlement, attempt, identity)); // ST9 to ST11 are the settlement's
      const turn = await relayDialog(settlement, request, { contact: attempt.contact, nonce: attempt.paymentNonce }, identity, recovery.intentMayExist); // ST12 to ST14
      const offer = await step('ST15', () => verifyStatement(turn, attempt, identity, now));
      if ('refused' in offer) return await recovery.conclude({ kind: 'not-paid', bill: bill.view, reason: offer.refused, balanceMinor: offer.balanceMinor });
      const debit = await step('ST16', () => agreeAndDebit(customer, attempt, offer, identity, now, () => recovery.debitMayHappen(offer))); // ST17 is the card's
      if (!debit.agreed) return await recovery.settleDeclined(card);
      const notice = await complete(settlement, turn, offer, debit, identity); // ST18 is the card's, ST19 the settlement's
      return await step('ST20', () => recovery.conclude({ kind: 'paid', bill: bill.view, paymentId: offer.view.paymentId, balanceAfterMinor: offer.view.balance?.afterMinor ?? null, notice }));
    } catch (thrown) {
      const outcome = await recovery.afterFailure(asFailure(thrown), card);
      if (outcome !== 'put-the-card-back') return outcome;
    } finally {
      await card.close();
    }
  }
}

function notPaid(reason: 'estimate-declined' | 'bill-declined'): Outcome {
  return { kind: 'not-paid', bill: null, reason, balanceMinor: null };
}
