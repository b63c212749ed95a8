/** How it ended (ST20): paid, not paid, not known yet, or something went wrong. */
import type { NotPaidReason } from '#protocol/parties.ts';
import { failureText, formatAmount, formatDateTime, t, type MessageKey } from '../language.ts';
import { cardInvitation, readerPart } from './card-screens.ts';
import { h } from './dom.ts';
import { amountHeading, button, frame, heading, plainHeader, rows, shopHeader } from './layout.ts';
import { outcomeMark } from './pictures.ts';
import type { Screen } from './screen.ts';
import { lines } from './shopping-screens.ts';

type Of<Kind extends Screen['kind']> = Extract<Screen, { kind: Kind }>;

export function paidScreen({ bill, balanceAfterMinor, at, showReceipt, showCard, close }: Of<'paid'>): HTMLElement {
  return frame('paid', {
    who: shopHeader(bill.shop),
    station: 'paid',
    body: [
      outcomeMark('paid'),
      amountHeading(t('paidLabel'), bill.amountMinor, bill.currency),
      h('p', { class: 'explanation' }, t('paidTo', bill.shop.legalName)),
      rows([
        ...(balanceAfterMinor === null ? [] : [{ name: t('newBalance'), value: formatAmount(balanceAfterMinor, bill.currency), testId: 'balance-after' }]),
        { name: t('paidAt'), value: formatDateTime(at), testId: 'paid-at' },
      ]),
      h('div', { class: 'take-card' }, h('p', { class: 'explanation' }, t('takeCard')), showCard === null ? null : button('quiet', { testId: 'my-card', label: t('myCard'), act: showCard })),
    ],
    money: { kind: 'taken', shopTold: true, amountMinor: bill.amountMinor, currency: bill.currency },
    secondary: { testId: 'receipt', label: t('receipt'), act: showReceipt },
    primary: { testId: 'close', label: t('close'), act: close },
  });
}

export function receiptScreen({ bill, paymentId, balanceAfterMinor, at, print, back }: Of<'receipt'>): HTMLElement {
  return frame('receipt', {
    who: shopHeader(bill.shop),
    station: null,
    body: [
      heading(t('receipt')),
      lines(bill),
      rows([
        { name: t('paidAt'), value: formatDateTime(at) },
        ...(balanceAfterMinor === null ? [] : [{ name: t('newBalance'), value: formatAmount(balanceAfterMinor, bill.currency) }]),
        { name: t('orderNumber'), value: bill.orderId, className: 'number' },
        { name: t('billNumber'), value: bill.billId, className: 'number' },
        { name: t('paymentNumber'), value: paymentId, className: 'number', testId: 'payment-id' },
      ]),
    ],
    money: { kind: 'taken', shopTold: true, amountMinor: bill.amountMinor, currency: bill.currency },
    secondary: { testId: 'print', label: t('print'), act: print },
    primary: { testId: 'back', label: t('back'), act: back },
  });
}

const NOT_PAID: Record<NotPaidReason | 'stopped', { readonly heading: MessageKey; readonly text: MessageKey }> = {
  'estimate-declined': { heading: 'notPaidHeading', text: 'notPaidEstimateDeclined' },
  'bill-declined': { heading: 'notPaidHeading', text: 'notPaidBillDeclined' },
  'debit-declined': { heading: 'notPaidHeading', text: 'notPaidDebitDeclined' },
  'balance-too-low': { heading: 'notPaidTooLowHeading', text: 'notPaidTooLow' },
  'not-debited': { heading: 'notPaidHeading', text: 'notPaidNotDebited' },
  stopped: { heading: 'notPaidHeading', text: 'notPaidStopped' },
};

export function notPaidScreen({ bill, reason, balanceMinor, close }: Of<'not-paid'>): HTMLElement {
  const { heading: headingKey, text } = NOT_PAID[reason];
  const figures =
    bill === null || balanceMinor === null
      ? null
      : rows([
          { name: t('amountAsked'), value: formatAmount(bill.amountMinor, bill.currency) },
          { name: t('balanceNow'), value: formatAmount(balanceMinor, bill.currency), testId: 'balance-now' },
        ]);
  return frame('not-paid', {
    who: bill === null ? plainHeader() : shopHeader(bill.shop),
    station: null,
    body: [outcomeMark('not-paid'), heading(t(headingKey)), h('p', { class: 'explanation', 'data-testid': 'reason', 'data-reason': reason }, t(text)), figures],
    money: reason === 'not-debited' || reason === 'debit-declined' ? { kind: 'not-taken' } : { kind: 'untouched' },
    secondary: null,
    primary: { testId: 'close', label: t('close'), act: close },
  });
}

export function unknownScreen(screen: Of<'unknown'>): HTMLElement {
  const { payment, failure, reader, later, retry } = screen;
  const { bill } = payment;
  const code = reader.problem ?? failure;
  return frame('unknown', {
    who: shopHeader(bill.shop),
    station: null,
    body: [
      outcomeMark('unknown'),
      heading(t('unknownHeading')),
      // That the card has gone is what the next line asks to change.
      failure === null || failure === reader.problem || failure === 'card/removed' ? null : h('p', { class: 'explanation', 'data-testid': 'again' }, failureText(failure)),
      h('p', { class: 'explanation strong' }, cardInvitation(reader)),
      ...readerPart(screen),
      h('p', { class: 'explanation' }, t('unknownIfNot')),
    ],
    money: { kind: 'unknown', amountMinor: bill.amountMinor, currency: bill.currency },
    ...(code === null ? {} : { code: { code, step: null } }),
    secondary: { testId: 'later', label: t('later'), act: later },
    // A card that was taken away is tried again by putting it back.
    primary: code === null || code === 'card/removed' ? null : { testId: 'retry', label: t('tryAgain'), act: retry },
  });
}

export function earlierScreen({ payment, settle, later }: Of<'earlier'>): HTMLElement {
  const { bill, at } = payment;
  return frame('earlier', {
    who: shopHeader(bill.shop),
    station: null,
    body: [
      outcomeMark('unknown'),
      amountHeading(t('earlierLabel'), bill.amountMinor, bill.currency),
      h('p', { class: 'explanation' }, t('earlierText', bill.shop.legalName, formatDateTime(at))),
    ],
    money: { kind: 'unknown', amountMinor: bill.amountMinor, currency: bill.currency },
    secondary: { testId: 'later', label: t('laterPayFirst'), act: later },
    primary: { testId: 'primary', label: t('settleNow'), act: settle },
  });
}

export function errorScreen({ shop, code, step, money, retry, setUp, showCard, close }: Of<'error'>): HTMLElement {
  const primary = setUp !== null ? { testId: 'set-up', label: t('setUp'), act: setUp } : retry !== null ? { testId: 'retry', label: t('tryAgain'), act: retry } : null;
  const closing = { testId: 'close', label: t('close'), act: close };
  return frame('error', {
    who: shop === null ? plainHeader() : shopHeader(shop),
    station: null,
    body: [
      outcomeMark('error'),
      heading(t('errorHeading')),
      h('p', { class: 'explanation', 'data-testid': 'failure-text' }, failureText(code)),
      ...(showCard === null ? [] : [h('p', { class: 'explanation' }, t('notLinkedHint')), button('quiet', { testId: 'my-card', label: t('myCard'), act: showCard })]),
    ],
    money,
    code: { code, step },
    secondary: primary === null ? null : closing,
    primary: primary ?? closing,
  });
}
