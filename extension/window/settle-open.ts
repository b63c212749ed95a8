/** Settles a payment whose outcome is not known: asks for the card until a reading of it, signed by the settlement, decides. */
import { asFailure, Failure, type FailureCode } from '#protocol/failure.ts';
import type { Identity, Outcome, Settlement } from '#protocol/parties.ts';
import type { RandomBytes } from '#protocol/nonce.ts';
import { outcomeOf, resolve } from '#protocol/resolve.ts';
import type { CardWatch } from '../ports/card-watch.ts';
import type { Stage } from '../screens/stage.ts';
import type { OpenPayment } from '../store/bill-record.ts';
import type { Memory } from '../store/settings.ts';

export interface SettleParts {
  readonly stage: Stage;
  readonly watch: CardWatch;
  readonly memory: Memory;
  readonly settlement: Settlement;
  readonly identity: Identity;
  readonly random: RandomBytes;
  readonly openReaders: () => void;
}

/** Identify 5, authenticate 1, read 3. */
const READING_COMMANDS = 9;

/** The decided outcome, or undefined where the customer puts it off; a payment that is not decided stays remembered. `first`: why it is open. */
export async function settleOpenPayment(payment: OpenPayment, parts: SettleParts, first: FailureCode | null): Promise<Outcome | undefined> {
  const controller = new AbortController();
  let failure = first;
  for (;;) {
    showUnknown(payment, parts, failure, () => controller.abort(new Failure('payment/aborted')));
    try {
      return await readOnce(payment, parts, controller.signal);
    } catch (thrown) {
      if (controller.signal.aborted) return undefined;
      failure = asFailure(thrown).code;
      // The card may still lie there: the next try is the customer's, or the card's return. One that was taken away may be back already.
      if (!isCardGone(failure)) parts.watch.holdPresentCard();
    }
  }
}

/** What lies there now, if anything, is not what failed. */
function isCardGone(code: FailureCode): boolean {
  return code === 'card/removed' || code.startsWith('reader/') || code.startsWith('host/');
}

async function readOnce(payment: OpenPayment, parts: SettleParts, signal: AbortSignal): Promise<Outcome> {
  const { stage, watch, memory, settlement, identity, random } = parts;
  let done = 0;
  const show = (): void => stage.show({ kind: 'working', bill: payment.bill, phase: 'settling', done: Math.min(done, READING_COMMANDS), of: READING_COMMANDS, cancel: null });
  const card = await watch.awaitCard(signal, (count) => {
    done += count;
    show();
  });
  try {
    watch.onView = () => undefined;
    show();
    const report = await resolve(card, { about: payment.paymentId }, { settlement, identity, random });
    if (report.cardId !== payment.cardId) throw new Failure('card/changed');
    const outcome = outcomeOf(report, payment.paymentId, payment.bill);
    // The settlement has read the card and not decided this payment: nothing is known yet.
    if (outcome === undefined) throw new Failure('card/unresolved');
    await memory.removeOpenPayment(payment.paymentId);
    if (outcome.kind === 'paid') await memory.rememberShop(payment.bill.shop);
    return outcome;
  } finally {
    await card.close();
  }
}

function showUnknown(payment: OpenPayment, { stage, watch, memory, openReaders }: SettleParts, failure: FailureCode | null, later: () => void): void {
  const choose = (readerName: string | null): void => {
    watch.choose(readerName);
    void memory.saveReaderName(readerName);
  };
  const show = (): void => stage.show({ kind: 'unknown', payment, failure, reader: watch.view, choose, retry: () => watch.retry(), setUpReader: openReaders, later });
  watch.onView = show;
  show();
}
