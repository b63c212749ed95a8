/** The receipt page: what was ordered, and whether it is paid, as far as the settlement has told the shop. It updates itself. */
import type { BillStatus, ShopOrder } from '../store.ts';
import { itemsOf } from '../catalogue.ts';
import { html, type Html } from './html.ts';
import { formatMoney, formatTime, type Language } from './language.ts';
import { renderPage, type PageContext } from './layout.ts';

export type OrderState = 'paid' | 'not-paid' | 'open' | 'lapsed' | 'unbilled';

export interface Receipt {
  readonly order: ShopOrder;
  readonly bill: BillStatus | undefined;
}

/** What the page asks for again and again. */
export interface ReceiptStatus {
  readonly state: OrderState;
  /** Null until the settlement has decided. */
  readonly decidedAt: string | null;
  readonly paymentId: string | null;
}

/** The settlement decides on a bill that ran out 5 minutes later at the earliest (payment-rules 10), and its notice needs a moment. */
const LAPSED_AFTER_MS = 6 * 60_000;

export function receiptStatus({ bill }: Receipt, timeZone: string, language: Language, now: number): ReceiptStatus {
  if (bill === undefined) return { state: 'unbilled', decidedAt: null, paymentId: null };
  if (bill.outcome === null) return { state: now > bill.expiresAt + LAPSED_AFTER_MS ? 'lapsed' : 'open', decidedAt: null, paymentId: null };
  const { outcome, decidedAt, paymentId } = bill.outcome;
  return { state: outcome, decidedAt: formatTime(decidedAt, timeZone, language), paymentId };
}

export function renderReceiptPage(context: PageContext, receipt: Receipt, now: number): string {
  const { profile, language, legalName, origin, words, asset } = context;
  const { order } = receipt;
  const status = receiptStatus(receipt, profile.timeZone, language, now);
  const total = formatMoney(order.totalMinor, order.currency, language);
  const main = html`<main class="receipt" id="receipt" data-order-id="${order.orderId}" data-state="${status.state}" data-status="/orders/${order.orderId}/status">
<h1 class="unseen">${words.receipt}</h1>
<div id="order-state" role="status">${renderState(status.state, total, context)}</div>
<p class="unreachable" id="unreachable" role="status" data-text="${words.unreachable}"></p>
<table class="lines">
<thead><tr><th scope="col">${words.item}</th><th scope="col" class="number">${words.quantity}</th><th scope="col" class="number">${words.price}</th></tr></thead>
<tbody>${order.lines.map((line) => html`<tr><td>${titleOf(line, context)}</td><td class="number">${line.quantity}</td><td class="number">${formatMoney(line.lineMinor, order.currency, language)}</td></tr>`)}</tbody>
<tfoot><tr><th scope="row" colspan="2">${words.total}</th><td class="number" id="order-amount">${total}</td></tr></tfoot>
</table>
<dl class="facts">
<div id="decided" ${status.decidedAt === null && html`hidden`}><dt>${words.time}</dt><dd id="decided-at">${status.decidedAt}</dd></div>
<div id="payment" ${status.paymentId === null && html`hidden`}><dt>${words.paymentNumber}</dt><dd id="payment-number">${status.paymentId}</dd></div>
<div><dt>${words.orderNumber}</dt><dd id="order-number">${order.orderId}</dd></div>
<div><dt>${words.seller}</dt><dd>${legalName}<br>${origin}</dd></div>
</dl>
<p class="back"><a class="button" href="/">${words.backToShop}</a></p>
${(['paid', 'not-paid', 'open', 'lapsed', 'unbilled'] as const).map((state) => html`<template data-state="${state}">${renderState(state, total, context)}</template>`)}
</main>`;
  return renderPage(context, { title: `${words.receipt} - ${profile.name[language]}`, main, scripts: [asset('receipt-page.js')] });
}

/** In the reader's language while the shop sells it, afterwards as it was ordered. */
function titleOf({ productId, name }: { readonly productId: string; readonly name: string }, { profile, language }: PageContext): string {
  return itemsOf(profile).find((item) => item.productId === productId)?.title[language] ?? name;
}

function renderState(state: OrderState, total: string, { words, language }: PageContext): Html {
  const amount = html`<p class="amount money">${total}</p>`;
  const gap = language === 'ja' ? '' : ' ';
  switch (state) {
    case 'paid':
      return html`${SIGNS.tick}<h2>${words.paidTitle}</h2>${amount}<p>${total}${gap}${words.paid}</p>`;
    case 'not-paid':
      return html`${SIGNS.cross}<h2>${words.notPaidTitle}</h2>${amount}<p>${words.notPaid}</p>`;
    case 'open':
      return html`${SIGNS.question}<h2>${words.openTitle}</h2>${amount}<p>${words.open}</p>`;
    case 'lapsed':
      return html`${SIGNS.question}<h2>${words.lapsedTitle}</h2>${amount}<p>${words.lapsed}</p>`;
    case 'unbilled':
      return html`${SIGNS.cross}<h2>${words.unbilledTitle}</h2>${amount}<p>${words.unbilled}</p>`;
  }
}

const sign = (name: string, paths: Html): Html => html`<svg class="sign sign-${name}" viewBox="0 0 64 64" width="64" height="64" aria-hidden="true" focusable="false"><circle cx="32" cy="32" r="29"/>${paths}</svg>`;

const SIGNS = {
  tick: sign('tick', html`<path d="M19 33.5 28.5 43 46 22.5"/>`),
  cross: sign('cross', html`<path d="M22.5 22.5l19 19m0-19-19 19"/>`),
  question: sign('question', html`<path d="M24.5 25.5a7.5 7.5 0 1 1 11 6.6c-2.6 1.4-3.5 3-3.5 5.9M32 45.5v.5"/>`),
};
