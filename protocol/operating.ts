/** What an operator's tool drives with a card on a reader: orders that are signed, carried out by the settlement, and reported back. */
import { typeOf, verifyAnswer } from './answer.ts';
import type { Currency } from './amount.ts';
import type { CardCommand } from './apdu.ts';
import type { Bytes } from './bytes.ts';
import type { CardContact } from './card-contact.ts';
import { Failure } from './failure.ts';
import { cardAnswer, cardDialog } from './messages/card-dialog.ts';
import { encodeResponses, parseCommands } from './messages/fields.ts';
import { MAX_ORDER_LIFE_MS, operatorOrder, operatorReport } from './messages/operator-order.ts';
import { randomNonce, type RandomBytes } from './nonce.ts';
import type { Identity } from './parties.ts';
import { byCertificate, byKnownSender, digestOf, signMessage, verifyMessage, type BodyOf, type Jws, type Sender } from './signed.ts';

/** The application server's side for operators; each call is one network round. */
export interface OperatingPort {
  requestIssue(order: Jws): Promise<Jws>;
  requestLoad(order: Jws): Promise<Jws>;
  answerCard(paymentId: string, answer: Jws): Promise<Jws>;
}

/** A card at an operator's own desk: the gate's operator policy. */
export interface OperatorCard {
  transmit(commands: readonly CardCommand[]): Promise<Bytes[]>;
}

export interface OperatorPorts {
  readonly operating: OperatingPort;
  /** Role operator. */
  readonly identity: Identity;
  /** Epoch milliseconds: an order names its own end. */
  readonly now: () => number;
  readonly random: RandomBytes;
  /** Told of each turn, for progress. */
  readonly onTurn?: (turn: number) => void;
}

export type Report = BodyOf<typeof operatorReport>;

/** Issuing torn in any way takes fewer turns than this. */
const MAX_TURNS = 16;

type OrderDetails =
  | { readonly kind: 'issue'; readonly currency: Currency; readonly limitMinor: bigint; readonly customerName: string | null }
  | { readonly kind: 'load'; readonly currency: Currency; readonly amountMinor: bigint };

/** Signs the order for the card of this contact and relays its dialog until the settlement reports. Throws Failure. */
export async function carryOut(details: OrderDetails, contact: Pick<CardContact, 'cardId' | 'cardChallenge'>, card: OperatorCard, ports: OperatorPorts): Promise<Report> {
  const { operating, identity, now, random, onTurn } = ports;
  const orderNonce = randomNonce(random);
  const order = { ...details, cardId: contact.cardId, cardChallenge: contact.cardChallenge, orderNonce, expiresAt: Math.floor(now()) + MAX_ORDER_LIFE_MS - 60_000 };
  let request = await signMessage(operatorOrder, order, identity.signer, { introduce: true });
  let answer = await (details.kind === 'issue' ? operating.requestIssue(request) : operating.requestLoad(request));
  let sender: Sender | undefined;
  for (let turn = 1; typeOf(answer) === cardDialog.typ; turn++) {
    if (turn > MAX_TURNS) throw new Failure('settlement/mismatch', { detail: 'an endless dialog' });
    onTurn?.(turn);
    const message = await verifyMessage(cardDialog, answer, sender === undefined ? byCertificate(identity.verifier, 'settlement') : byKnownSender(sender), identity.tally);
    const { body } = message;
    if (body.nonce !== orderNonce || body.previous !== (await digestOf(request))) throw new Failure('message/not-fresh', { detail: 'dialog of another order' });
    sender = message.sender;
    const responses = await card.transmit(parseCommands(body.commands));
    request = await signMessage(cardAnswer, { paymentId: body.paymentId, previous: message.digest, responses: encodeResponses(responses) }, identity.signer);
    answer = await operating.answerCard(body.paymentId, request);
  }
  const check = sender === undefined ? byCertificate(identity.verifier, 'settlement') : byKnownSender(sender);
  const { body: report } = await verifyAnswer(operatorReport, { request, answer, sender: check, tally: identity.tally });
  if (report.kind !== details.kind || report.cardId !== contact.cardId || report.previous !== (await digestOf(request))) throw new Failure('message/not-fresh', { detail: 'report of another order' });
  return report;
}
