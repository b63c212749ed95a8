/** load(): value onto a card, by an operator's order; its own steps, since ST1 to ST20 name payments only. */
import type { Currency } from './amount.ts';
import type { CardContact } from './card-contact.ts';
import { Failure } from './failure.ts';
import { carryOut, type OperatorCard, type OperatorPorts, type Report } from './operating.ts';

export const LOAD_STEPS = [
  { id: 'LD1', from: 'operator', to: 'card', does: 'card identified; its challenge under key 1' },
  { id: 'LD2', from: 'operator', to: 'application', does: 'signed order to load' },
  { id: 'LD3', from: 'security', to: 'card', does: 'a reading under key 1; what is open is decided' },
  { id: 'LD4', from: 'security', to: 'card', does: 'mutual authentication under key 3' },
  { id: 'LD5', from: 'application', to: 'application', does: 'INTENT, before the credit leaves' },
  { id: 'LD6', from: 'security', to: 'card', does: 'log record, credit and commit in one batch' },
  { id: 'LD7', from: 'application', to: 'operator', does: 'commit proved, DONE with ledger; report' },
] as const;

export type LoadReport = Report & { readonly kind: 'load' };

/** `contact`: opened with key 1. After a failure the next contact settles it; a new order is a new load. */
export async function load(order: { readonly currency: Currency; readonly amountMinor: bigint }, contact: Pick<CardContact, 'cardId' | 'cardChallenge'>, card: OperatorCard, ports: OperatorPorts): Promise<LoadReport> {
  const report = await carryOut({ kind: 'load', ...order }, contact, card, ports);
  if (report.kind !== 'load') throw new Failure('internal/bug');
  return report;
}
