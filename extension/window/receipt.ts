/** What the page is told of an outcome: numbers that the shop knows already, and the settlement's signed notice. */
import type { Outcome } from '#protocol/parties.ts';
import type { Receipt } from '../page/page-messages.ts';
import type { OpenPayment } from '../store/bill-record.ts';

export function receiptOf(outcome: Outcome): Receipt {
  switch (outcome.kind) {
    case 'paid':
      return { outcome: 'paid', orderId: outcome.bill.orderId, billId: outcome.bill.billId, paymentId: outcome.paymentId, notice: outcome.notice };
    case 'not-paid':
      return { outcome: 'not-paid', ...(outcome.bill === null ? {} : { orderId: outcome.bill.orderId, billId: outcome.bill.billId }) };
    case 'unknown':
      return unknownReceipt(outcome);
  }
}

/** Told when the window goes away while the debit is on its way. */
export function unknownReceipt({ bill, paymentId }: Pick<OpenPayment, 'bill' | 'paymentId'>): Receipt {
  return { outcome: 'unknown', orderId: bill.orderId, billId: bill.billId, paymentId };
}
