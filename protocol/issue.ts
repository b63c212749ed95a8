/** issue(): a factory card becomes one of ours; its own steps, since ST1 to ST20 name payments only. */
import type { BlankContact } from './card-contact.ts';
import { carryOut, type OperatorCard, type OperatorPorts, type OrderDetails, type ReportOf } from './operating.ts';

export const ISSUE_STEPS = [
  { id: 'IS1', from: 'operator', to: 'card', does: 'card identified; its challenge under factory key 0, if it has an application already' },
  { id: 'IS2', from: 'operator', to: 'application', does: 'signed order to issue' },
  { id: 'IS3', from: 'security', to: 'card', does: 'mutual authentication under the factory key; state of the card read; on a blank card the application is made first' },
  { id: 'IS4', from: 'application', to: 'application', does: 'INTENT, before the card is changed' },
  { id: 'IS5', from: 'security', to: 'card', does: 'value limits, file rights, transaction-MAC file, keys 1 to 4, key 0 last' },
  { id: 'IS6', from: 'security', to: 'card', does: 'new key 0 proved, settings verified, first log record under key 1' },
  { id: 'IS7', from: 'application', to: 'information', does: 'card registered, DONE; linked to a new customer with an enrolment code, or left to whoever has its activation code' },
] as const;

/** `contact`: opened with key 0, or blank. Torn anywhere, call it again with the card back on the reader. */
export function issue(order: Omit<OrderDetails<'issue'>, 'kind' | 'cardId' | 'cardChallenge'>, { cardId, cardChallenge }: BlankContact, card: OperatorCard, ports: OperatorPorts): Promise<ReportOf<'issue'>> {
  return carryOut({ kind: 'issue', cardId, cardChallenge, ...order }, card, ports);
}
