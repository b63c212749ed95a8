/** issue(): a factory card becomes a customer's card; its own steps, since ST1 to ST20 name payments only. */
import type { Currency } from './amount.ts';
import type { CardContact } from './card-contact.ts';
import { Failure } from './failure.ts';
import { carryOut, type OperatorCard, type OperatorPorts, type Report } from './operating.ts';

export const ISSUE_STEPS = [
  { id: 'IS1', from: 'operator', to: 'card', does: 'card identified; its challenge under factory key 0' },
  { id: 'IS2', from: 'operator', to: 'application', does: 'signed order to issue' },
  { id: 'IS3', from: 'security', to: 'card', does: 'mutual authentication under the factory key; state of the card read' },
  { id: 'IS4', from: 'application', to: 'application', does: 'INTENT, before the card is changed' },
  { id: 'IS5', from: 'security', to: 'card', does: 'value limits, file rights, transaction-MAC file, keys 1 to 4, key 0 last' },
  { id: 'IS6', from: 'security', to: 'card', does: 'new key 0 proved, settings verified, first log record under key 1' },
  { id: 'IS7', from: 'application', to: 'information', does: 'customer made, card linked, DONE; one-time enrolment code' },
] as const;

export type IssueReport = Report & { readonly kind: 'issue' };

/** `contact`: opened with key 0. Torn anywhere, call it again with the card back on the reader. */
export async function issue(order: { readonly currency: Currency; readonly limitMinor: bigint; readonly customerName: string | null }, contact: Pick<CardContact, 'cardId' | 'cardChallenge'>, card: OperatorCard, ports: OperatorPorts): Promise<IssueReport> {
  const report = await carryOut({ kind: 'issue', ...order }, contact, card, ports);
  if (report.kind !== 'issue') throw new Failure('internal/bug');
  return report;
}
