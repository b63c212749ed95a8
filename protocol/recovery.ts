/** What pay() does when a payment does not go straight: asks for the card again, or has a reading decide (payment-rules 5, 8, 9, 12). */
import type { CardContact } from './card-contact.ts';
import { asFailure, Failure, type FailureCode } from './failure.ts';
import type { Card, Outcome, PaymentPorts, Reader } from './parties.ts';
import { outcomeOf, resolve, type ReadingReport } from './resolve.ts';
import type { Offer } from './settling.ts';
import type { Bill } from './shopping.ts';

/** A card that is taken away this often is not meant to be paid with. */
const MAX_ATTEMPTS = 5;

/** Before the SPC has left for the card these end a session, not the payment: with the card back it goes on with a new session. */
const RETRIED_WITH_CARD: readonly FailureCode[] = ['card/removed', 'card/absent', 'card/changed', 'card/silent', 'settlement/session'];

export interface Recovery {
  awaitCard(reader: Reader): Promise<Card>;
  /** Throws `card/changed` unless this is the card that the payment began with, once an intent may name it. */
  sameCard(contact: CardContact): CardContact;
  /** From here on the settlement may hold an INTENT for this card. */
  readonly intentMayExist: () => void;
  /** From here on the card may have been debited. */
  debitMayHappen(offer: Offer): void;
  conclude(outcome: Outcome): Promise<Outcome>;
  /** The customer said no at ST16: a reading proves at once that nothing was debited. */
  settleDeclined(card: Card): Promise<Outcome>;
  /** The outcome after a failure; throws it while it is certain that nothing was taken and the card's return would not help. */
  afterFailure(failure: Failure, card: Card): Promise<Outcome | 'put-the-card-back'>;
}

export function createRecovery(ports: PaymentPorts, bill: Bill): Recovery {
  const { customer } = ports;
  let attempts = 0;
  let again: Failure | null = null;
  let intendedCardId: string | null = null;
  let openedCardId: string | null = null;
  let released: Offer | null = null;

  const conclude = async (outcome: Outcome): Promise<Outcome> => {
    await customer.showOutcome(outcome);
    return outcome;
  };

  const read = (card: Card): Promise<ReadingReport | Failure> => resolve(card, { about: released?.view.paymentId ?? null }, ports).catch(asFailure);

  return {
    awaitCard: (reader) => {
      attempts += 1;
      customer.askForCard(again);
      return reader.awaitCard();
    },
    sameCard: (contact) => {
      if (intendedCardId !== null && contact.cardId !== intendedCardId) throw new Failure('card/changed');
      openedCardId = contact.cardId;
      return contact;
    },
    intentMayExist: () => {
      intendedCardId = openedCardId;
    },
    debitMayHappen: (offer) => {
      released = offer;
    },
    conclude,
    settleDeclined: async (card) => {
      const report = await read(card);
      // The gate has let nothing of the SPC pass: not paid is certain here even where the reading must wait for the card's next contact.
      return conclude({ kind: 'not-paid', bill: bill.view, reason: 'debit-declined', balanceMinor: report instanceof Failure ? null : report.balanceMinor });
    },
    afterFailure: async (failure, card) => {
      if (released === null) {
        if (RETRIED_WITH_CARD.includes(failure.code) && attempts < MAX_ATTEMPTS) {
          again = failure;
          return 'put-the-card-back';
        }
        if (intendedCardId !== null) await read(card);
        throw failure;
      }
      const { paymentId, cardId } = released.view;
      const report = await read(card);
      return conclude((report instanceof Failure ? undefined : outcomeOf(report, paymentId, bill.view)) ?? { kind: 'unknown', bill: bill.view, paymentId, cardId, failure });
    },
  };
}
