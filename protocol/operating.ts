/** What an operator's tool drives, with or without a card on a reader: orders that are signed, carried out by the settlement, and reported back. */
import { typeOf, verifyAnswer } from './answer.ts';
import type { CardCommand } from './apdu.ts';
import type { Bytes } from './bytes.ts';
import { Failure } from './failure.ts';
import { cardAnswer, cardDialog } from './messages/card-dialog.ts';
import { encodeResponses, parseCommands } from './messages/fields.ts';
import { MAX_ORDER_LIFE_MS, operatorOrder, operatorReport } from './messages/operator-order.ts';
import { randomNonce, type RandomBytes } from './nonce.ts';
import type { Identity } from './parties.ts';
import { byCertificate, byKnownSender, digestOf, signMessage, verifyMessage, type BodyOf, type Jws, type Sender } from './signed.ts';

/** The application server's side for operators; each call is one network round. */
export interface OperatingPort {
  /** An order of any kind. */
  requestOrder(order: Jws): Promise<Jws>;
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

type OrderBody = BodyOf<typeof operatorOrder>;
type Report = BodyOf<typeof operatorReport>;
export type OrderKind = OrderBody['kind'];
export type ReportOf<Kind extends OrderKind> = Report & { readonly kind: Kind };
/** What the operator wants; nonce and end are added when it is signed. */
export type OrderDetails<Kind extends OrderKind> = OrderBody extends infer Body ? (Body extends { kind: Kind } ? Omit<Body, 'orderNonce' | 'expiresAt'> : never) : never;

/** Issuing torn in any way, after a re-keying, takes fewer turns than this. */
const MAX_TURNS = 24;

/** Signs the order and relays the dialog with the card, if there is one, until the settlement reports. Throws Failure. */
export async function carryOut<Kind extends OrderKind>(details: OrderDetails<Kind> & { readonly kind: Kind }, card: OperatorCard | null, ports: OperatorPorts): Promise<ReportOf<Kind>> {
  const { operating, identity, now, random, onTurn } = ports;
  const orderNonce = randomNonce(random);
  // The union of what the kinds say, completed with what they share.
  const order = { ...details, orderNonce, expiresAt: Math.floor(now()) + MAX_ORDER_LIFE_MS - 60_000 } as unknown as OrderBody;
  let request = await signMessage(operatorOrder, order, identity.signer, { introduce: true });
  let answer = await operating.requestOrder(request);
  let sender: Sender | undefined;
  for (let turn = 1; typeOf(answer) === cardDialog.typ; turn++) {
    if (card === null || turn > MAX_TURNS) throw new Failure('settlement/mismatch', { detail: card === null ? 'a dialog without a card' : 'an endless dialog' });
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
  if (!isOf(details.kind, report) || report.previous !== (await digestOf(request)) || !isAbout(order, report)) throw new Failure('message/not-fresh', { detail: 'report of another order' });
  return report;
}

function isOf<Kind extends OrderKind>(kind: Kind, report: Report): report is ReportOf<Kind> {
  return report.kind === kind;
}

/** The report names the order's own card, customer or payment. */
function isAbout(order: OrderBody, report: Report): boolean {
  if (report.kind === 'receipt') return order.kind === 'receipt' && report.receipt.paymentId === order.paymentId;
  if (report.kind === 'enrolment-code') return order.kind === 'enrolment-code' && report.customerId === order.customerId;
  const cardId = 'account' in report ? report.account.cardId : report.cardId;
  return 'cardId' in order && cardId === order.cardId;
}
