/** ST8 to ST19 as the PC sees them: the rounds with the application server, and the card's side of each. */
import { typeOf, verifyAnswer } from './answer.ts';
import type { CardContact } from './card-contact.ts';
import { Failure, TransmitFailure } from './failure.ts';
import { cardAnswer, cardDialog } from './messages/card-dialog.ts';
import { completion, consent } from './messages/completion.ts';
import { encodeResponses, parseCommands } from './messages/fields.ts';
import { notice } from './messages/notice.ts';
import { paymentRequest } from './messages/payment-request.ts';
import { refusal, statement, STATEMENT_LIFE_MS } from './messages/statement.ts';
import { randomNonce, type RandomBytes } from './nonce.ts';
import type { CardPhase, Customer, DebitView, Identity, Settlement } from './parties.ts';
import type { Bill } from './shopping.ts';
import { byCertificate, byKnownSender, digestOf, encodeText, sha256, signMessage, type BodyOf, type Jws, type Sender, type SenderCheck, type VerifiedMessage } from './signed.ts';

/** One attempt to pay a bill with one card: what the PC itself knows, and so compares. */
export interface Attempt {
  readonly bill: Bill;
  readonly contact: CardContact;
  readonly paymentNonce: string;
  readonly readBalance: boolean;
}

/** The last message of the conversation, not yet answered. */
export interface Turn {
  readonly request: Jws;
  readonly answer: Jws;
}

/** Where a dialog has led: its last, unread answer, and with whom and under which number it was held. */
export interface Dialog extends Turn {
  readonly sender: Sender;
  readonly paymentId: string;
}

/** Whether the dialog is bound to a payment or to a reading; `nonce` is the PC's own. */
interface DialogBinding {
  readonly contact: CardContact;
  readonly nonce: string;
}

export interface Offer {
  readonly message: VerifiedMessage<BodyOf<typeof statement>>;
  readonly view: DebitView;
  /** Epoch milliseconds at which the PC received it; only a duration is measured from it. */
  readonly receivedAt: number;
}

/** Turns of re-keying before a dialog; then it authenticates once and reads once, and a server that goes on is refused. */
const MAX_REKEY_TURNS = 8;

/** ST8 (ST9 to ST11 at the settlement). */
export async function sendPaymentRequest(settlement: Settlement, attempt: Attempt, identity: Identity): Promise<Turn> {
  const { bill, contact, paymentNonce, readBalance } = attempt;
  const body = { bill: bill.message.jws, cardId: contact.cardId, paymentNonce, cardChallenge: contact.cardChallenge, readBalance };
  const request = await signMessage(paymentRequest, body, identity.signer, { introduce: true });
  return { request, answer: await settlement.requestPayment(request) };
}

export function newAttempt(bill: Bill, contact: CardContact, readBalance: boolean, random: RandomBytes): Attempt {
  return { bill, contact, readBalance, paymentNonce: randomNonce(random) };
}

/**
 * ST11 to ST13: carries the settlement's commands to the card and the card's answers back, each message verified first,
 * until the answer is no dialog any more. `beforeAnswer` is told of each answer before it leaves.
 */
export async function relayDialog(settlement: Settlement, first: Turn, binding: DialogBinding, identity: Identity, beforeAnswer: () => void): Promise<Dialog> {
  let turn = first;
  let held: Pick<Dialog, 'sender' | 'paymentId'> | undefined;
  const nextPhase = phasesInOrder();
  while (typeOf(turn.answer) === cardDialog.typ) {
    const message = await verifyAnswer(cardDialog, { ...turn, sender: settlementSender(identity, held?.sender), tally: identity.tally });
    const { body } = message;
    if (held !== undefined && body.paymentId !== held.paymentId) throw new Failure('settlement/mismatch', { detail: 'paymentId' });
    if (body.nonce !== binding.nonce || body.previous !== (await digestOf(turn.request))) throw new Failure('message/not-fresh', { detail: 'dialog of another request' });
    const phase = nextPhase(body.phase);
    held = { sender: message.sender, paymentId: body.paymentId };
    const responses = await binding.contact.card.transmit(phase, parseCommands(body.commands));
    const request = await signMessage(cardAnswer, { paymentId: body.paymentId, previous: message.digest, responses: encodeResponses(responses) }, identity.signer);
    beforeAnswer();
    turn = { request, answer: await settlement.answerCard(body.paymentId, request) };
  }
  if (held === undefined) {
    // The first answer was no dialog: a failure notice, or a message out of place.
    await verifyAnswer(cardDialog, { ...turn, sender: settlementSender(identity), tally: identity.tally });
    throw new Failure('message/wrong-type');
  }
  return { ...turn, ...held };
}

/** Judges the phase of each turn; issuing and loading are an operator's. Throws `settlement/mismatch`. */
function phasesInOrder(): (phase: BodyOf<typeof cardDialog>['phase']) => Exclude<CardPhase, 'identify'> {
  let last: Exclude<CardPhase, 'identify'> | null = null;
  let rekeyTurns = 0;
  return (phase) => {
    const isNext = phase === 'rekey' ? (last === null || last === 'rekey') && ++rekeyTurns <= MAX_REKEY_TURNS : phase === 'authenticate' ? last === null || last === 'rekey' : phase === 'read' && last === 'authenticate';
    if (!isNext || phase === 'issue' || phase === 'load') throw new Failure('settlement/mismatch', { detail: `phase ${phase} after ${last ?? 'nothing'}` });
    last = phase;
    return phase;
  };
}

/** ST15: verifies SIG_APL, then compares every field with what the PC knows (payment-rules 15). A refusal is a value. */
export async function verifyStatement(turn: Dialog, attempt: Attempt, identity: Identity, now: () => number): Promise<Offer | Refused> {
  const exchange = { request: turn.request, answer: turn.answer, sender: settlementSender(identity, turn.sender), tally: identity.tally };
  const previous = await digestOf(turn.request);
  if (typeOf(turn.answer) === refusal.typ) {
    const { body } = await verifyAnswer(refusal, exchange);
    compareWithAttempt(body, { paymentId: turn.paymentId, previous }, attempt);
    return { refused: body.reason, balanceMinor: body.balanceMinor };
  }
  const message = await verifyAnswer(statement, exchange);
  const { body } = message;
  compareWithAttempt(body, { paymentId: turn.paymentId, previous }, attempt);
  if ((body.balance === null) === attempt.readBalance) throw new Failure('settlement/mismatch', { detail: 'balance' });
  if (body.balance !== null && body.balance.beforeMinor - body.amountMinor !== body.balance.afterMinor) throw new Failure('settlement/mismatch', { detail: 'balance does not subtract' });
  const { paymentId, cardId, balance } = body;
  return { message, receivedAt: now(), view: { bill: attempt.bill.view, paymentId, cardId, balance, statementDigest: message.digest } };
}

export interface Refused {
  readonly refused: 'balance-too-low';
  readonly balanceMinor: bigint;
}

function compareWithAttempt(body: Omit<BodyOf<typeof refusal>, 'reason' | 'balanceMinor'>, dialog: { readonly paymentId: string; readonly previous: string }, { bill, contact, paymentNonce }: Attempt): void {
  const known = {
    ...dialog,
    billDigest: bill.message.digest,
    shopId: bill.message.body.shopId,
    billId: bill.message.body.billId,
    amountMinor: bill.message.body.amountMinor,
    currency: bill.message.body.currency,
    cardId: contact.cardId,
    paymentNonce,
  };
  for (const field of Object.keys(known) as (keyof typeof known)[]) {
    if (body[field] !== known[field]) throw new Failure('settlement/mismatch', { detail: field });
  }
}

export type Debit = { readonly agreed: false } | { readonly agreed: true; readonly consent: Jws; readonly responses: readonly Uint8Array[]; readonly lost: Failure | null };

/** ST16 (ST17 in the card): asks the customer; then the SPC to the card, once. `beforeDebit` is told before the first byte leaves. */
export async function agreeAndDebit(customer: Customer, attempt: Attempt, offer: Offer, identity: Identity, now: () => number, beforeDebit: () => void): Promise<Debit> {
  const { card } = attempt.contact;
  const { agreed, shown } = await whileCardStays(card, customer.agreeToDebit(offer.view));
  if (!agreed) return { agreed: false };
  if (now() - offer.receivedAt > STATEMENT_LIFE_MS) throw new Failure('settlement/session', { detail: 'the statement is too old' });
  const { paymentId, statementDigest } = offer.view;
  const agreement = await signMessage(consent, { paymentId, statementDigest, shownDigest: await sha256(encodeText(shown)) }, identity.signer);
  customer.showProgress();
  beforeDebit();
  try {
    return { agreed: true, consent: agreement, responses: await card.debit(parseCommands(offer.message.body.spc)), lost: null };
  } catch (thrown) {
    // payment-rules 5: a batch that stopped in the middle means unknown; what the card has answered so far may prove the debit.
    if (!(thrown instanceof TransmitFailure)) throw thrown;
    return { agreed: true, consent: agreement, responses: thrown.responses, lost: thrown };
  }
}

type AgreedDebit = Debit & { readonly agreed: true };

/** ST18 (ST19 at the settlement): PCN up, ACN down. Where a card that was lost proves nothing, throws what happened to the card: that is what the customer can mend. */
export async function complete(settlement: Settlement, turn: { sender: Sender }, offer: Offer, debit: AgreedDebit, identity: Identity): Promise<Jws> {
  try {
    return await exchangeNotices(settlement, turn, offer, debit, identity);
  } catch (thrown) {
    throw debit.lost !== null && thrown instanceof Failure && thrown.code === 'card/unresolved' ? debit.lost : thrown;
  }
}

/** The notice is compared with the payment (payment-rules 17). */
async function exchangeNotices(settlement: Settlement, turn: { sender: Sender }, offer: Offer, debit: AgreedDebit, identity: Identity): Promise<Jws> {
  const { paymentId, statementDigest } = offer.view;
  const body = { paymentId, previous: statementDigest, consent: debit.consent, responses: encodeResponses(debit.responses) };
  const request = await signMessage(completion, body, identity.signer);
  const answer = await settlement.complete(paymentId, request);
  const message = await verifyAnswer(notice, { request, answer, sender: settlementSender(identity, turn.sender), tally: identity.tally });
  const said = offer.message.body;
  const { billDigest, shopId, billId, amountMinor, currency, outcome } = message.body;
  if (message.body.paymentId !== paymentId || billDigest !== said.billDigest || shopId !== said.shopId || billId !== said.billId || amountMinor !== said.amountMinor || currency !== said.currency) {
    throw new Failure('settlement/mismatch', { detail: 'notice of another payment' });
  }
  if (outcome !== 'paid') throw new Failure('settlement/mismatch', { detail: 'a completed payment is paid' });
  return message.jws;
}

/** The settlement institution: by its certificate, or exactly the sender that began the conversation. Anyone else is `settlement/certificate`. */
export function settlementSender(identity: Identity, known?: Sender): SenderCheck {
  const check = known === undefined ? byCertificate(identity.verifier, 'settlement') : byKnownSender(known);
  return (header) =>
    check(header).catch((cause: unknown) => {
      throw cause instanceof Failure && cause.code === 'message/certificate' ? new Failure('settlement/certificate', { cause }) : cause;
    });
}

/** The customer's answer, or the failure with which the card was lost meanwhile. */
async function whileCardStays<T>(card: CardContact['card'], answer: Promise<T>): Promise<T> {
  return Promise.race([answer, new Promise<never>((_, reject) => card.onLost(reject))]);
}
