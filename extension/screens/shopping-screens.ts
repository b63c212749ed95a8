/** Estimate and bill: what is bought, from whom, for how much (ST4, ST6, ST7). */
import type { EstimateView } from '#protocol/parties.ts';
import { formatAmount, formatCount, t } from '../language.ts';
import { h } from './dom.ts';
import { amountHeading, frame, heading, hint, shopHeader, unverifiedHeader } from './layout.ts';
import type { Screen } from './screen.ts';
import { shield } from './pictures.ts';

type Of<Kind extends Screen['kind']> = Extract<Screen, { kind: Kind }>;

export function openingScreen({ origin, cancel }: Of<'opening'>): HTMLElement {
  return frame('opening', {
    who: unverifiedHeader(origin),
    station: 'bill',
    body: [heading(t('openingHeading')), h('p', { class: 'explanation' }, t('openingText')), h('div', { class: 'bar bar-endless' })],
    money: { kind: 'untouched' },
    secondary: { testId: 'cancel', label: t('cancel'), act: cancel },
    primary: null,
  });
}

export function estimateScreen({ view, agree, cancel }: Of<'estimate'>): HTMLElement {
  return frame('estimate', {
    who: shopHeader(view.shop),
    station: 'bill',
    body: [
      amountHeading(t('estimateLabel'), view.totalMinor, view.currency),
      hint(t('firstPayment', view.shop.legalName), 'first-payment'),
      lines(view),
      signedLine(t('estimateSigned', view.shop.legalName)),
    ],
    money: { kind: 'untouched' },
    secondary: { testId: 'cancel', label: t('cancel'), act: cancel },
    primary: { testId: 'primary', label: t('askForBill'), act: agree },
  });
}

export function billScreen({ view, firstPayment, minutesLeft, agree, cancel }: Of<'bill'>): HTMLElement {
  const count = view.lines.reduce((sum, { quantity }) => sum + quantity, 0);
  return frame('bill', {
    who: shopHeader(view.shop),
    station: 'bill',
    body: [
      amountHeading(t('billLabel'), view.amountMinor, view.currency),
      firstPayment ? hint(t('firstPaymentBill'), 'first-payment') : null,
      h(
        'details',
        { class: 'order', 'data-testid': 'order' },
        h('summary', {}, h('span', {}, t('orderSummary', view.orderId, formatCount(count))), h('span', { class: 'show' }, t('show'))),
        lines(view),
      ),
      minutesLeft === null ? null : hint(t('minutesLeft', formatCount(minutesLeft)), 'minutes-left'),
      signedLine(t('billSigned', view.shop.legalName)),
    ],
    money: { kind: 'untouched' },
    secondary: { testId: 'cancel', label: t('cancel'), act: cancel },
    primary: { testId: 'primary', label: t('continueToCard'), act: agree },
  });
}

export function lines({ lines: ordered, totalMinor, currency }: EstimateView): HTMLElement {
  return h(
    'table',
    { class: 'lines', 'data-testid': 'lines' },
    h('caption', { class: 'visually-hidden' }, t('linesCaption')),
    h('thead', { class: 'visually-hidden' }, h('tr', {}, h('th', { scope: 'col' }, t('lineName')), h('th', { scope: 'col' }, t('lineQuantity')), h('th', { scope: 'col' }, t('lineSum')))),
    h(
      'tbody',
      {},
      ...ordered.map(({ name, quantity, lineMinor }) => h('tr', {}, h('th', { scope: 'row' }, name), h('td', { class: 'quantity' }, t('times', formatCount(quantity))), h('td', { class: 'sum' }, formatAmount(lineMinor, currency)))),
    ),
    h('tfoot', {}, h('tr', {}, h('th', { scope: 'row', colspan: 2 }, t('total')), h('td', { class: 'sum' }, formatAmount(totalMinor, currency)))),
  );
}

function signedLine(text: string): HTMLElement {
  return h('p', { class: 'signed' }, shield(), h('span', {}, text));
}
