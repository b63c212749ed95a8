/** The customer as a port of the flow: each question is a screen, each answer a button; knows at every moment where the money is. */
import { Failure, type FailureCode } from '#protocol/failure.ts';
import type { BillView, Customer, DebitView, Outcome } from '#protocol/parties.ts';
import { formatAmount, t } from '../language.ts';
import type { CardWatch } from '../ports/card-watch.ts';
import { shownText } from '../screens/card-screens.ts';
import type { Money } from '../screens/money.ts';
import type { Screen } from '../screens/screen.ts';
import type { Stage } from '../screens/stage.ts';
import type { OpenPayment } from '../store/bill-record.ts';
import type { Memory } from '../store/settings.ts';
import type { Speech } from './speech.ts';

/** Identify 5, authenticate 1, read 3, debit 4 commands (architecture.md, "The card"). */
const COMMANDS = { withBalance: 13, withoutBalance: 10 };
/** Below this much time the customer is told how long the bill can still be paid. */
const LITTLE_TIME_MS = 3 * 60_000;
/** After these the same card, lying there unchanged, would only fail again. */
const NEEDS_ANOTHER_TRY: readonly FailureCode[] = ['card/silent', 'card/changed', 'card/answer'];

export interface PaymentScreens {
  readonly customer: Customer;
  /** Aborted when the customer stops the payment. */
  readonly signal: AbortSignal;
  readonly stop: () => void;
  /** The card is open: from here on it is read. */
  cardOpened(): void;
  commandsDone(count: number): void;
  /** Once the shop has billed. */
  bill(): BillView | null;
  /** What is true of the money now. */
  money(): Money;
  /** The payment may have been taken and is remembered; undefined before that. */
  openPayment(): OpenPayment | undefined;
}

export interface CustomerParts {
  readonly stage: Stage;
  readonly watch: CardWatch;
  readonly memory: Memory;
  readonly speech: Speech;
  readonly readBalance: boolean;
  readonly openReaders: () => void;
  readonly now: () => number;
  /** Remembers how it ended, then shows it. `open`: remembered until now as not known. */
  readonly showOutcome: (outcome: Outcome, open: OpenPayment | undefined) => Promise<void>;
  /** The debit is about to leave: from here on the page must not be told "not paid" by silence. Undefined: it has not left after all. */
  readonly onOpenPayment: (payment: OpenPayment | undefined) => Promise<void>;
}

export function createCustomer(parts: CustomerParts): PaymentScreens {
  const { stage, watch, memory, speech, now } = parts;
  const controller = new AbortController();
  const stop = () => controller.abort(new Failure('payment/aborted'));
  const of = parts.readBalance ? COMMANDS.withBalance : COMMANDS.withoutBalance;
  let isNewShop = false;
  let current: BillView | undefined;
  let open: OpenPayment | undefined;
  let money: Money = { kind: 'untouched' };
  let done = 0;

  const showWorking = (): void => {
    if (current === undefined) return;
    const phase = open === undefined ? 'reading' : 'paying';
    stage.show({ kind: 'working', bill: current, phase, done: Math.min(done, of), of, cancel: phase === 'reading' ? stop : null });
  };

  const customer: Customer = {
    agreeToEstimate: async (view) => {
      isNewShop = !(await memory.isKnownShop(view.shop));
      if (!isNewShop) return true;
      return ask(stage, (answer) => ({ kind: 'estimate', view, agree: () => answer(true), cancel: () => answer(false) }));
    },
    showBill: (view) => {
      current = view;
      speech.say(t('speechBill', formatAmount(view.amountMinor, view.currency), view.shop.legalName));
    },
    agreeToBill: (view) =>
      ask(stage, (answer) => ({ kind: 'bill', view, firstPayment: isNewShop, minutesLeft: minutesLeft(view, now()), agree: () => answer(true), cancel: () => answer(false) })),
    askForCard: (again) => {
      // The flow asks again only while nothing of the debit has left for the card.
      if (open !== undefined) void memory.removeOpenPayment(open.paymentId);
      open = undefined;
      money = { kind: 'untouched' };
      void parts.onOpenPayment(undefined);
      showCard(parts, current, again?.code ?? null, stop);
    },
    showProgress: () => {
      if (open !== undefined) money = { kind: 'under-way', amountMinor: open.bill.amountMinor, currency: open.bill.currency };
      showWorking();
    },
    agreeToDebit: async (view) => {
      const agreed = await ask(stage, (answer) => ({ kind: 'balance', view, agree: () => answer(true), cancel: () => answer(false) }));
      if (agreed) {
        open = openPaymentOf(view, now());
        // On disk before the debit leaves: a window that dies here is found again.
        await memory.addOpenPayment(open);
        await parts.onOpenPayment(open);
      }
      return { agreed, shown: shownText({ view }) };
    },
    showOutcome: async (outcome) => {
      money = moneyAfter(outcome);
      await parts.showOutcome(outcome, open);
    },
  };

  return {
    customer,
    signal: controller.signal,
    stop,
    cardOpened: () => {
      watch.onView = () => undefined;
      done = 0;
      showWorking();
    },
    bill: () => current ?? null,
    commandsDone: (count) => {
      done += count;
      showWorking();
    },
    // Once the flow has ended nothing is under way any more.
    money: () => (money.kind === 'under-way' ? { ...money, kind: 'unknown' } : money),
    openPayment: () => open,
  };
}

/** One question, one answer; a screen that takes its place leaves it unanswered. */
function ask(stage: Stage, screenFor: (answer: (agreed: boolean) => void) => Screen): Promise<boolean> {
  return new Promise((resolve) => stage.show(screenFor(resolve)));
}

function showCard({ stage, watch, memory, openReaders }: CustomerParts, bill: BillView | undefined, again: FailureCode | null, stop: () => void): void {
  if (again !== null && NEEDS_ANOTHER_TRY.includes(again)) watch.holdPresentCard();
  if (bill === undefined) throw new Failure('internal/bug', { detail: 'a card is asked for before the bill' });
  const choose = (readerName: string | null): void => {
    watch.choose(readerName);
    void memory.saveReaderName(readerName);
  };
  const show = (): void => stage.show({ kind: 'card', bill, again, reader: watch.view, choose, retry: () => watch.retry(), setUpReader: openReaders, cancel: stop });
  watch.onView = show;
  show();
}

function openPaymentOf({ paymentId, cardId, bill }: DebitView, at: number): OpenPayment {
  return { paymentId, cardId, at, bill };
}

export function moneyAfter(outcome: Outcome): Money {
  switch (outcome.kind) {
    case 'paid':
      return { kind: 'taken', shopTold: true, amountMinor: outcome.bill.amountMinor, currency: outcome.bill.currency };
    case 'not-paid':
      return { kind: 'not-taken' };
    case 'unknown':
      return { kind: 'unknown', amountMinor: outcome.bill.amountMinor, currency: outcome.bill.currency };
  }
}

/** Null unless there is little time left. The shop's clock and this one may differ: it is a hint, never a reason to refuse. */
export function minutesLeft({ expiresAt }: Pick<BillView, 'expiresAt'>, now: number): number | null {
  const leftMs = expiresAt - now;
  return leftMs > 0 && leftMs < LITTLE_TIME_MS ? Math.ceil(leftMs / 60_000) : null;
}
