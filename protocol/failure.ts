/** Every way in which a payment can fail: one closed table of codes, grouped by who is at fault, and the error that carries them. */
import type { StepId } from './steps.ts';

/** `status`: what a server answers with this code. `text`: what a customer reads; it says what to do (the money sentence is the flow's). */
export const FAILURES = {
  'internal/bug': { status: 500, text: 'Something went wrong on our side. Try again; if it happens again, tell us the code below.' },
  'internal/busy': { status: 503, text: 'The server has too much to do. Wait a minute and try again.' },

  'message/address': { status: 404, text: 'There is nothing at this address. Start again from the shop.' },
  'message/malformed': { status: 400, text: 'A message arrived damaged. Start the payment again from the shop.' },
  'message/too-large': { status: 413, text: 'A message was larger than any real one. Start the payment again from the shop.' },
  'message/wrong-type': { status: 400, text: 'A message of the wrong kind arrived. Start the payment again from the shop.' },
  'message/signature': { status: 401, text: 'A message was changed on its way. Start the payment again; if it happens again, do not pay on this network.' },
  'message/certificate': { status: 401, text: 'The sender of a message could not prove who it is. Do not pay here until the shop has been told.' },
  'message/not-fresh': { status: 409, text: 'An old message was used again. Start the payment again from the shop.' },

  'shop/unknown': { status: 403, text: 'This shop is not registered with the settlement institution. Do not pay here.' },
  'shop/origin': { status: 403, text: 'This page does not belong to the shop that signed it. Close the page and open the shop by its own address.' },
  'shop/mismatch': { status: 409, text: 'The shop\'s bill does not match its estimate. Go back to the shop and order again.' },
  'shop/order-unknown': { status: 404, text: 'The shop does not know this order any more. Go back to the shop and order again.' },
  'shop/product-unknown': { status: 422, text: 'The shop does not sell one of these products. Go back to the shop and choose again.' },
  'shop/unreachable': { status: 502, text: 'The shop does not answer. Check your connection and try again.' },
  'shop/no-click': { status: 403, text: 'A payment starts only with your own click on the shop\'s button. Click it again.' },
  'shop/version': { status: 426, text: 'This shop needs a newer version of the payment extension. Update the extension and try again.' },

  'bill/signature': { status: 401, text: 'The bill is not what the shop signed. Do not pay it; go back to the shop and order again.' },
  'bill/origin': { status: 403, text: 'The bill belongs to another shop. Do not pay it.' },
  'bill/payer': { status: 403, text: 'The bill was made for somebody else. Go back to the shop and order again.' },
  'bill/expired': { status: 410, text: 'The bill is too old to be paid. Go back to the shop and order again.' },
  'bill/already-paid': { status: 409, text: 'This bill is paid already. Look at the shop\'s receipt page.' },
  'bill/in-progress': { status: 409, text: 'This bill is being paid already. Put the card that you used on the reader to settle it.' },

  'settlement/unreachable': { status: 502, text: 'The settlement institution does not answer. Check your connection and try again.' },
  'settlement/certificate': { status: 502, text: 'The settlement institution could not prove who it is. Do not pay on this network.' },
  'settlement/signature': { status: 502, text: 'A message of the settlement institution was changed on its way. Do not pay on this network.' },
  'settlement/mismatch': { status: 502, text: 'The settlement institution\'s statement is not about this payment. Do not pay on this network.' },
  'settlement/session': { status: 409, text: 'The conversation with your card was interrupted. Start again with the card on the reader.' },
  'settlement/busy': { status: 503, text: 'The settlement institution is busy. Wait a minute and try again.' },

  'customer/not-enrolled': { status: 401, text: 'This browser is not set up for payments yet. Open the extension\'s options and enter your one-time code.' },
  'customer/unknown': { status: 401, text: 'The settlement institution does not know this browser. Set it up again in the extension\'s options.' },
  'customer/enrolment-code': { status: 403, text: 'This one-time code is wrong, used or too old. Check it, or ask for a new one.' },
  'customer/card-not-linked': { status: 403, text: 'This card is not linked to you. Use your own card.' },
  'customer/activation-code': { status: 403, text: 'This activation code is wrong, used or too old, or it belongs to another card. Check it, or ask for a new one.' },

  'operator/unknown': { status: 403, text: 'This order is not signed by an operator of the settlement institution.' },
  'operator/order-used': { status: 409, text: 'This operator\'s order has been carried out already.' },
  'operator/limit': { status: 422, text: 'This order is above what operators may load, at once or in a day. Order less, or wait until tomorrow.' },
  'operator/balance': { status: 409, text: 'The lost card\'s account does not hold this amount any more. Look at its account and order less.' },

  'card/absent': { status: 409, text: 'There is no card on the reader. Put your card on the reader.' },
  'card/removed': { status: 409, text: 'The card was taken away too early. Put it back on the reader and leave it there.' },
  'card/silent': { status: 504, text: 'The card does not answer. Take it away, put it back flat on the reader, and try again.' },
  'card/unsupported': { status: 422, text: 'This is another kind of card. Use the payment card that you were given.' },
  'card/not-issued': { status: 404, text: 'This card was not issued by this settlement institution. Use the payment card that you were given.' },
  'card/not-genuine': { status: 403, text: 'This card could not prove that it is genuine. Use another card and tell us about this one.' },
  'card/several': { status: 409, text: 'More than one card lies on the reader. Leave only your payment card there.' },
  'card/changed': { status: 409, text: 'Another card lies on the reader. Put back the card that you started with.' },
  'card/answer': { status: 502, text: 'The card gave an answer that makes no sense. Take it away, put it back flat on the reader, and try again.' },
  'card/refused': { status: 409, text: 'The card refused. Take it away, put it back, and try again.' },
  'card/unresolved': { status: 409, text: 'An earlier payment with this card is not settled yet. Leave the card on the reader and try again.' },
  'card/already-issued': { status: 409, text: 'This card is issued already. Use a factory-fresh card.' },
  'card/blocked': { status: 403, text: 'This card was reported lost and is blocked for good. Use your other card.' },
  'card/not-blocked': { status: 409, text: 'This card is not blocked. Block it first, and try again.' },
  'card/full': { status: 422, text: 'The card has no room for the payment application. Use another blank card.' },
  'card/limit': { status: 422, text: 'The amount is more than this card may hold. Choose a smaller amount.' },

  'reader/none': { status: 503, text: 'No card reader was found. Connect your reader and try again.' },
  'reader/no-service': { status: 503, text: 'The computer\'s smart-card service is not running. Install or start it (on Debian: apt install pcscd), then try again.' },
  'reader/in-use': { status: 409, text: 'Another program, or another window of this browser, is using the card reader. Close it and try again.' },
  'reader/failed': { status: 503, text: 'The card reader stopped working. Unplug it, plug it in again, and try again.' },
  'reader/permission': { status: 403, text: 'This computer does not let the browser use the reader. Open the extension\'s page about readers: it says how to allow it.' },
  'reader/driver': { status: 409, text: 'Another driver on this computer has taken the reader. Open the extension\'s page about readers: it says how to free it.' },
  'reader/refused-command': { status: 403, text: 'A command that does not belong to this payment was kept from your card. Do not pay here; tell us the code below.' },

  'host/missing': { status: 503, text: 'The reader program (native host) is not installed. Install it and try again.' },
  'host/version': { status: 426, text: 'The reader program (native host) has another version than the extension. Install the version that came with the extension.' },
  'host/failed': { status: 503, text: 'The reader program (native host) stopped working. Close this window and start again.' },
  'host/malformed': { status: 400, text: 'The reader program (native host) and the extension did not understand each other. Install them again.' },

  'connector/missing': { status: 503, text: 'Google\'s Smart Card Connector is not installed. Install it from the Chrome Web Store and try again.' },
  'connector/refused': { status: 403, text: 'The Smart Card Connector does not let this extension use the readers. Remove it, install it again, allow this extension when it asks, and try again.' },
  'connector/failed': { status: 503, text: 'The Smart Card Connector stopped working. Try again; if it happens again, restart the browser.' },

  'payment/aborted': { status: 409, text: 'The payment was stopped. Start it again from the shop.' },
  'payment/unknown': { status: 404, text: 'There is no such payment. Start again from the shop.' },
  'payment/in-progress': { status: 409, text: 'Another payment is open in this tab. Finish or cancel it in its window first.' },

  'extension/missing': { status: 503, text: 'The payment extension is not in this browser. Install it and try again.' },
} as const satisfies Record<string, { status: number; text: string }>;

export type FailureCode = keyof typeof FAILURES;

export function isFailureCode(code: unknown): code is FailureCode {
  return typeof code === 'string' && Object.hasOwn(FAILURES, code);
}

/** What crosses a border: never a cause, a stack or anything secret. */
export interface PublicFailure {
  readonly code: FailureCode;
  readonly text: string;
  readonly step?: StepId;
}

/** An error with a code of the table. `cause` is for our own log only. */
export class Failure extends Error {
  override readonly name: string = 'Failure';
  readonly code: FailureCode;
  /** The step that failed; stamped once by `step()`. */
  step: StepId | undefined;

  constructor(code: FailureCode, options?: { cause?: unknown; detail?: string; step?: StepId | undefined }) {
    super(options?.detail === undefined ? code : `${code}: ${options.detail}`, options?.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.step = options?.step;
  }

  toPublic(): PublicFailure {
    return publicFailure(this.code, this.step);
  }
}

export function publicFailure(code: FailureCode, step?: StepId): PublicFailure {
  const text = FAILURES[code].text;
  return step === undefined ? { code, text } : { code, text, step };
}

/** Any thrown value as a Failure: what we do not understand becomes `internal/bug`, with the cause kept for our log. */
export function asFailure(thrown: unknown): Failure {
  return thrown instanceof Failure ? thrown : new Failure('internal/bug', { cause: thrown });
}

/** The card or reader was lost inside a batch: `responses` are those that arrived before, and they may prove a debit. */
export class TransmitFailure extends Failure {
  override readonly name = 'TransmitFailure';
  readonly responses: readonly Uint8Array[];

  constructor(code: FailureCode, responses: readonly Uint8Array[], options?: { cause?: unknown; detail?: string }) {
    super(code, options);
    this.responses = responses;
  }
}
