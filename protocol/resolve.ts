/** resolve() and link(): an authenticated reading of the card decides what is open on it (payment-rules 3 to 6); no debit, no question. */
import { verifyAnswer } from './answer.ts';
import { openContact, type CardContact } from './card-contact.ts';
import { Failure } from './failure.ts';
import { linkRequest, readingReport, readingRequest } from './messages/reading.ts';
import { randomNonce, type RandomBytes } from './nonce.ts';
import type { BillView, Card, Identity, Outcome, Settlement } from './parties.ts';
import { relayDialog, settlementSender, type Turn } from './settling.ts';
import { digestOf, signMessage, type BodyOf } from './signed.ts';

export type ReadingReport = BodyOf<typeof readingReport>;

/** Steps of a reading; ST1 to ST20 name payments only. */
export const RESOLVE_STEPS = [
  { id: 'RS1', from: 'extension', to: 'card', does: 'card identified; its half of the mutual authentication' },
  { id: 'RS2', from: 'extension', to: 'application', does: 'reading request' },
  { id: 'RS3', from: 'security', to: 'card', does: 'mutual authentication, then balance, newest log record and transaction counter' },
  { id: 'RS4', from: 'application', to: 'extension', does: 'what was open is decided; signed report' },
] as const;

/** Steps with which a customer makes a card theirs; they go on as a reading does. */
export const LINK_STEPS = [
  { id: 'LK1', from: 'extension', to: 'card', does: 'card identified; its half of the mutual authentication' },
  { id: 'LK2', from: 'extension', to: 'application', does: 'link request with the one-time activation code' },
  { id: 'LK3', from: 'security', to: 'card', does: 'mutual authentication, then balance, log and transaction counter' },
  { id: 'LK4', from: 'application', to: 'information', does: 'code used up, card linked to the customer' },
  { id: 'LK5', from: 'application', to: 'extension', does: 'signed report' },
] as const;

export interface ReadingPorts {
  readonly settlement: Settlement;
  readonly identity: Identity;
  readonly random: RandomBytes;
}

/**
 * Reads the card (under key 1) and has the settlement decide everything that is open on it.
 * `about`: a payment whose outcome the report shall name even if it was decided before. `history`: with all records of the log.
 * Throws when that cannot be done now; what was open then stays open.
 */
export async function resolve(card: Card, { about, history = false }: { about: string | null; history?: boolean }, ports: ReadingPorts): Promise<ReadingReport> {
  return read(card, ports, async ({ contact, readingNonce }) => {
    const { cardId, cardChallenge } = contact;
    const request = await signMessage(readingRequest, { cardId, readingNonce, cardChallenge, about, history }, ports.identity.signer, { introduce: true });
    return { request, answer: await ports.settlement.requestReading(request) };
  });
}

/** Makes the card on the reader this customer's, once for each activation code, and reads it. Throws `customer/activation-code`, `customer/card-not-linked`, `card/…`. */
export async function link(card: Card, activationCode: string, ports: ReadingPorts): Promise<ReadingReport> {
  return read(card, ports, async ({ contact, readingNonce }) => {
    const { cardId, cardChallenge } = contact;
    const request = await signMessage(linkRequest, { cardId, readingNonce, cardChallenge, activationCode }, ports.identity.signer, { introduce: true });
    return { request, answer: await ports.settlement.requestLink(request) };
  });
}

async function read(card: Card, { settlement, identity, random }: ReadingPorts, begin: (reading: { contact: CardContact; readingNonce: string }) => Promise<Turn>): Promise<ReadingReport> {
  const contact = await openContact(card, 1);
  const readingNonce = randomNonce(random);
  const first = await begin({ contact, readingNonce });
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
