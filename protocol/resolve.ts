/** resolve(): an authenticated reading of the card decides what is open on it (payment-rules 3 to 6); no debit, no question. */
import { verifyAnswer } from './answer.ts';
import { openContact } from './card-contact.ts';
import { Failure } from './failure.ts';
import { readingReport, readingRequest } from './messages/reading.ts';
import { randomNonce, type RandomBytes } from './nonce.ts';
import type { BillView, Card, Identity, Outcome, Settlement } from './parties.ts';
import { relayDialog, settlementSender } from './settling.ts';
import { digestOf, signMessage, type BodyOf } from './signed.ts';

export type ReadingReport = BodyOf<typeof readingReport>;

/** Steps of a reading; ST1 to ST20 name payments only. */
export const RESOLVE_STEPS = [
  { id: 'RS1', from: 'extension', to: 'card', does: 'card identified; its half of the mutual authentication' },
  { id: 'RS2', from: 'extension', to: 'application', does: 'reading request' },
  { id: 'RS3', from: 'security', to: 'card', does: 'mutual authentication, then balance, newest log record and transaction counter' },
  { id: 'RS4', from: 'application', to: 'extension', does: 'what was open is decided; signed report' },
] as const;

/**
 * Reads the card (under key 1) and has the settlement decide everything that is open on it.
 * `about`: a payment whose outcome the report shall name even if it was decided before.
 * Throws when that cannot be done now; what was open then stays open.
 */
export async function resolve(card: Card, about: string | null, ports: { settlement: Settlement; identity: Identity; random: RandomBytes }): Promise<ReadingReport> {
  const { settlement, identity, random } = ports;
  const contact = await openContact(card, 1);
  const readingNonce = randomNonce(random);
  const request = await signMessage(readingRequest, { cardId: contact.cardId, readingNonce, cardChallenge: contact.cardChallenge, about }, identity.signer, { introduce: true });
  const first = { request, answer: await settlement.requestReading(request) };
  const turn = await relayDialog(settlement, first, { contact, nonce: readingNonce }, identity, () => undefined);
  const { body } = await verifyAnswer(readingReport, { ...turn, sender: settlementSender(identity, turn.sender), tally: identity.tally });
  if (body.readingNonce !== readingNonce || body.cardId !== contact.cardId || body.paymentId !== turn.paymentId || body.previous !== (await digestOf(turn.request))) throw new Failure('message/not-fresh', { detail: 'report of another reading' });
  return body;
}

/** What a report says about one payment; undefined where it says nothing about exactly this bill, which is no proof of anything. */
export function outcomeOf(report: Pick<ReadingReport, 'decided' | 'balanceMinor'>, paymentId: string, bill: BillView): Outcome | undefined {
  const decided = report.decided.find((payment) => payment.paymentId === paymentId && payment.billDigest === bill.billDigest);
  if (decided === undefined) return undefined;
  if (decided.outcome === 'not-paid') return { kind: 'not-paid', bill, reason: 'not-debited', balanceMinor: report.balanceMinor };
  return decided.notice === null ? undefined : { kind: 'paid', bill, paymentId, balanceAfterMinor: report.balanceMinor, notice: decided.notice };
}
