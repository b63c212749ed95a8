/** load() and replace(): value onto a card, by an operator's order; their own steps, since ST1 to ST20 name payments only. */
import type { CardContact } from './card-contact.ts';
import { carryOut, type OperatorCard, type OperatorPorts, type OrderDetails, type ReportOf } from './operating.ts';

export const LOAD_STEPS = [
  { id: 'LD1', from: 'operator', to: 'card', does: 'card identified; its challenge under key 1' },
  { id: 'LD2', from: 'operator', to: 'application', does: 'signed order to load' },
  { id: 'LD3', from: 'security', to: 'card', does: 'a reading under key 1; what is open is decided' },
  { id: 'LD4', from: 'security', to: 'card', does: 'mutual authentication under key 3' },
  { id: 'LD5', from: 'application', to: 'application', does: 'INTENT, before the credit leaves' },
  { id: 'LD6', from: 'security', to: 'card', does: 'log record, credit and commit in one batch' },
  { id: 'LD7', from: 'application', to: 'operator', does: 'commit proved, DONE with ledger; report' },
] as const;

/** The same for what a lost card is still worth: the books move it from there, and the new card is credited. */
export const REPLACE_STEPS = [
  { id: 'RP1', from: 'operator', to: 'card', does: 'new card identified; its challenge under key 1' },
  { id: 'RP2', from: 'operator', to: 'application', does: 'signed order to replace: both cards, the amount, what the operator counts as not debited' },
  { id: 'RP3', from: 'security', to: 'card', does: 'a reading under key 1; what is open on the new card is decided' },
  { id: 'RP4', from: 'security', to: 'card', does: 'mutual authentication under key 3' },
  { id: 'RP5', from: 'application', to: 'application', does: 'INTENT, which takes the amount from the blocked card once and for all' },
  { id: 'RP6', from: 'security', to: 'card', does: 'log record, credit and commit in one batch' },
  { id: 'RP7', from: 'application', to: 'operator', does: 'commit proved, DONE with ledger; report' },
] as const;

type Contact = Pick<CardContact, 'cardId' | 'cardChallenge'>;
type Wish<Kind extends 'load' | 'replace'> = Omit<OrderDetails<Kind>, 'kind' | 'cardId' | 'cardChallenge'>;

/** `contact`: opened with key 1. After a failure the next contact settles it; a new order is a new load. */
export function load(order: Wish<'load'>, { cardId, cardChallenge }: Contact, card: OperatorCard, ports: OperatorPorts): Promise<ReportOf<'load'>> {
  return carryOut({ kind: 'load', cardId, cardChallenge, ...order }, card, ports);
}

/** `contact`: of the new card. Throws `card/not-blocked`, `operator/balance`. */
export function replace(order: Wish<'replace'>, { cardId, cardChallenge }: Contact, card: OperatorCard, ports: OperatorPorts): Promise<ReportOf<'replace'>> {
  return carryOut({ kind: 'replace', cardId, cardChallenge, ...order }, card, ports);
}
