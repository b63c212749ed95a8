/** A payment window's way from its opening to its end: what is open from before, the payment, and how it ended. */
import { asFailure, Failure, type FailureCode } from '#protocol/failure.ts';
import type { BillView, Identity, Outcome, Settlement, ShopView } from '#protocol/parties.ts';
import { pay } from '#protocol/payment.ts';
import type { RandomBytes } from '#protocol/nonce.ts';
import { createStep } from '#protocol/step.ts';
import type { StepId } from '#protocol/steps.ts';
import type { PaymentRecord } from '../background/payment-record.ts';
import { failureText, formatAmount, t } from '../language.ts';
import type { CardWatch } from '../ports/card-watch.ts';
import { createShop, type PageLink } from '../ports/shop.ts';
import type { Money } from '../screens/money.ts';
import type { Stage } from '../screens/stage.ts';
import type { OpenPayment } from '../store/bill-record.ts';
import type { Memory, Settings } from '../store/settings.ts';
import type { PaymentJournal } from './payment-journal.ts';
import { receiptOf, unknownReceipt } from './receipt.ts';
import { createCustomer, type PaymentScreens } from './screens-customer.ts';
import { settleOpenPayment, type SettleParts } from './settle-open.ts';
import type { Speech } from './speech.ts';

export interface WindowParts {
  readonly record: PaymentRecord;
  readonly stage: Stage;
  readonly memory: Memory;
  readonly settings: Settings;
  readonly journal: PaymentJournal;
  readonly link: PageLink;
  readonly watch: CardWatch;
  readonly settlement: Settlement;
  /** Undefined: this browser is not enrolled. */
  readonly identity: Identity | undefined;
  readonly speech: Speech;
  readonly now: () => number;
  readonly random: RandomBytes;
  /** The window shows an end. */
  readonly finished: () => Promise<void>;
  /** True before the debit may leave; false should it not have left after all. */
  readonly debitAgreed: (agreed: boolean) => Promise<void>;
  readonly openSetUp: () => void;
  readonly openReaders: () => void;
  /** Opens the page that shows what a card holds. */
  readonly openCard: () => Promise<void>;
  readonly close: () => void;
}

/** Failures after which the same order can be paid without going back to the shop: something outside may be better in a moment. */
const WORTH_RETRYING: readonly FailureCode[] = [
  'internal/bug',
  'internal/busy',
  'settlement/unreachable',
  'settlement/busy',
  'settlement/session',
  'shop/unreachable',
  'customer/card-not-linked',
  'card/absent',
  'card/removed',
  'card/silent',
  'card/unsupported',
  'card/not-issued',
  'card/not-genuine',
  'card/changed',
  'card/answer',
  'card/refused',
  'card/unresolved',
  'reader/in-use',
  'reader/failed',
  'host/failed',
];

export async function walk(parts: WindowParts): Promise<void> {
  const { identity, stage } = parts;
  if (identity === undefined) {
    const notEnrolled = new Failure('customer/not-enrolled');
    parts.link.fail(publicFailureOf(notEnrolled));
    await parts.finished();
    showFailure(stage, notEnrolled, { close: parts.close, setUp: parts.openSetUp });
    return;
  }
  await settleEarlier(parts, identity);
  // Reloaded after the customer had agreed, or at the end: begun again, the same order would be billed a second time.
  if (parts.record.over || parts.record.agreed === true) parts.close();
  else await payUntilDone(parts, identity);
}

/** Payments of earlier windows whose outcome is not known yet, oldest first; the customer may put them off. */
async function settleEarlier(parts: WindowParts, identity: Identity): Promise<void> {
  const { memory, stage } = parts;
  for (const payment of await memory.openPayments()) {
    const settleNow = await new Promise<boolean>((resolve) => stage.show({ kind: 'earlier', payment, settle: () => resolve(true), later: () => resolve(false) }));
    if (!settleNow) return;
    const outcome = await settleOpenPayment(payment, settleParts(parts, identity), null);
    if (outcome === undefined) return;
    await new Promise<void>((resolve) => showEnd(parts, outcome, resolve));
  }
}

async function payUntilDone(parts: WindowParts, identity: Identity): Promise<void> {
  for (;;) {
    const end = await payOnce(parts, identity);
    if (end !== 'again') return;
  }
}

async function payOnce(parts: WindowParts, identity: Identity): Promise<'again' | 'over'> {
  const { record, journal, link, stage, watch, memory, settings, settlement, now, random } = parts;
  journal.clear();
  const screens = createCustomer({
    stage,
    watch,
    memory,
    speech: parts.speech,
    readBalance: settings.readBalance,
    openReaders: parts.openReaders,
    now,
    showOutcome: async (outcome, open) => {
      if (outcome.kind === 'unknown') return;
      // A window that is closed or reloaded as soon as its outcome stands there has nothing left to settle.
      await remember(parts, outcome, open).catch((problem: unknown) => console.error(problem));
      showEnd(parts, outcome, parts.close);
    },
    onOpenPayment: async (payment) => {
      link.setProvisional(payment === undefined ? null : unknownReceipt(payment));
      if (payment === undefined) window.removeEventListener('beforeunload', askBeforeLeaving);
      else window.addEventListener('beforeunload', askBeforeLeaving);
      await parts.debitAgreed(payment !== undefined);
    },
  });
  stage.show({ kind: 'opening', origin: record.origin, cancel: screens.stop });
  const reader = {
    awaitCard: async () => {
      const card = await watch.awaitCard(screens.signal, (count) => screens.commandsDone(count));
      screens.cardOpened();
      return card;
    },
  };
  const step = createStep({ party: 'extension', journal: journal.journal, now, signal: screens.signal });
  try {
    const outcome = await pay(record.order, { shop: createShop(record, link), settlement, reader, customer: screens.customer, identity, step, now, random }, settings);
    await concludeWith(parts, identity, outcome, screens.openPayment());
    return 'over';
  } catch (thrown) {
    return await concludeFailure(parts, asFailure(thrown), screens);
  } finally {
    window.removeEventListener('beforeunload', askBeforeLeaving);
  }
}

/** An outcome of the flow: remembered, told to the page, shown; an unknown one is settled here while the customer stays. */
async function concludeWith(parts: WindowParts, identity: Identity, outcome: Outcome, open: OpenPayment | undefined): Promise<void> {
  const { link } = parts;
  if (outcome.kind === 'unknown') {
    const payment = open ?? { paymentId: outcome.paymentId, cardId: outcome.cardId, bill: outcome.bill, at: parts.now() };
    // The page need not wait: its receipt page learns the rest from the shop, which the settlement tells.
    link.settle(receiptOf(outcome));
    await parts.finished();
    const settled = await settleOpenPayment(payment, settleParts(parts, identity), outcome.failure.code);
    if (settled === undefined) parts.close();
    else showEnd(parts, settled, parts.close);
    return;
  }
  // The flow ends without a word where the customer declined before there was anything to show.
  if (outcome.kind !== 'not-paid' || outcome.bill !== null) return;
  await remember(parts, outcome, open);
  showEnd(parts, outcome, parts.close);
}

/** Tells the page, and has nothing left open of a payment whose outcome is known. */
async function remember({ memory, link, finished }: WindowParts, outcome: Exclude<Outcome, { kind: 'unknown' }>, open: OpenPayment | undefined): Promise<void> {
  link.settle(receiptOf(outcome));
  if (open !== undefined) await memory.removeOpenPayment(open.paymentId);
  if (outcome.kind === 'paid') await memory.rememberShop(outcome.bill.shop);
  await finished();
}

/** pay() throws only while it is certain that nothing was taken; should a bug of ours break that, the money sentence stays true. */
async function concludeFailure(parts: WindowParts, failure: Failure, screens: PaymentScreens): Promise<'again' | 'over'> {
  const { stage, link, memory, close } = parts;
  if (failure.code === 'internal/bug') console.error(failure.cause ?? failure);
  const [money, open, bill] = [screens.money(), screens.openPayment(), screens.bill()];
  const shop = bill?.shop ?? null;
  if (open !== undefined && money.kind !== 'untouched') {
    link.settle(unknownReceipt(open));
    showFailure(stage, failure, { close }, { money, shop });
    return 'over';
  }
  if (open !== undefined) await memory.removeOpenPayment(open.paymentId);
  const stopped = failure.code === 'payment/aborted';
  if (!stopped && link.isOpen && WORTH_RETRYING.includes(failure.code)) {
    return new Promise((resolve) => {
      const retry = (): void => {
        parts.watch.retry();
        resolve('again');
      };
      const giveUp = (): void => {
        link.fail(publicFailureOf(failure));
        close();
        resolve('over');
      };
      // Where a code that came with the card makes it the customer's own; that page needs the reader.
      const showCard = (): void => void parts.openCard().finally(giveUp);
      showFailure(stage, failure, { retry, close: giveUp, ...(failure.code === 'customer/card-not-linked' ? { showCard } : {}) }, { shop });
    });
  }
  link.fail(publicFailureOf(failure));
  await parts.finished();
  if (stopped) stage.show({ kind: 'not-paid', bill, reason: 'stopped', balanceMinor: null, close });
  else showFailure(stage, failure, { close }, { shop });
  return 'over';
}

function showEnd(parts: WindowParts, outcome: Outcome, close: () => void): void {
  const { stage, speech, now } = parts;
  if (outcome.kind === 'paid') {
    speech.say(t('speechPaid', formatAmount(outcome.bill.amountMinor, outcome.bill.currency)));
    const { bill, paymentId, balanceAfterMinor } = outcome;
    // Not before a payment that is still to come; and the window goes, because the page needs its reader.
    const showCard = (): void => void parts.openCard().finally(close);
    showPaid(stage, { bill, paymentId, balanceAfterMinor, at: now() }, { showCard: close === parts.close ? showCard : null, close });
  } else if (outcome.kind === 'not-paid') {
    speech.say(t('speechNotPaid'));
    stage.show({ kind: 'not-paid', bill: outcome.bill, reason: outcome.reason, balanceMinor: outcome.balanceMinor, close });
  }
}

function showPaid(stage: Stage, payment: { bill: BillView; paymentId: string; balanceAfterMinor: bigint | null; at: number }, acts: { readonly showCard: (() => void) | null; readonly close: () => void }): void {
  const showReceipt = (): void => stage.show({ kind: 'receipt', ...payment, print: () => window.print(), back: () => showPaid(stage, payment, acts) });
  stage.show({ kind: 'paid', ...payment, ...acts, showReceipt });
}

export function showFailure(
  stage: Stage,
  failure: { readonly code: FailureCode; readonly step: StepId | undefined },
  acts: { readonly close: () => void; readonly retry?: () => void; readonly setUp?: () => void; readonly showCard?: () => void },
  { money = { kind: 'untouched' }, shop = null }: { readonly money?: Money; readonly shop?: ShopView | null } = {},
): void {
  stage.show({ kind: 'error', shop, code: failure.code, step: failure.step ?? null, money, retry: acts.retry ?? null, setUp: acts.setUp ?? null, showCard: acts.showCard ?? null, close: acts.close });
}

function settleParts({ stage, watch, memory, settlement, random, openReaders }: WindowParts, identity: Identity): SettleParts {
  return { stage, watch, memory, settlement, identity, random, openReaders };
}

function publicFailureOf({ code }: Failure): { code: FailureCode; text: string } {
  return { code, text: failureText(code) };
}

/** While it is not known whether the sum was taken, the browser asks before this window goes. */
function askBeforeLeaving(event: BeforeUnloadEvent): void {
  event.preventDefault();
}
