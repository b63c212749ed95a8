/** What a reading has decided: taken off this browser's open payments, and told with the shops' names as far as this browser knows them. */
import { outcomeOf, type ReadingReport } from '#protocol/resolve.ts';
import type { Memory } from '../store/settings.ts';
import type { DecidedPayment } from './card-state.ts';

export async function concludeReport(report: ReadingReport, memory: Pick<Memory, 'openPayments' | 'removeOpenPayment' | 'rememberShop'>): Promise<DecidedPayment[]> {
  const remembered = await memory.openPayments();
  const decided: DecidedPayment[] = [];
  for (const { paymentId, amountMinor, outcome } of report.decided) {
    const payment = remembered.find((candidate) => candidate.paymentId === paymentId && candidate.cardId === report.cardId);
    const known = payment === undefined ? undefined : outcomeOf(report, paymentId, payment.bill);
    decided.push({ amountMinor, outcome, shopName: payment === undefined || known === undefined ? null : payment.bill.shop.legalName });
    if (payment === undefined || known === undefined) continue;
    await memory.removeOpenPayment(paymentId);
    if (known.kind === 'paid') await memory.rememberShop(payment.bill.shop);
  }
  return decided;
}
