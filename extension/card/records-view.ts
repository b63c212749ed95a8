/** The records of a card's log as a list: what it was, when, how much, and how it ended where that is not plain. */
import type { Currency } from '#protocol/amount.ts';
import type { CardRecords, OperationKind } from '#protocol/messages/card-record.ts';
import { formatAmount, formatDateTime, t, type MessageKey } from '../language.ts';
import { h } from '../screens/dom.ts';
import { arrowIn, arrowOut, question } from '../screens/pictures.ts';

type CardRecord = CardRecords[number];

const KIND_NAMES: Record<OperationKind, MessageKey> = { pay: 'recordPay', load: 'recordLoad', refund: 'recordRefund', issue: 'recordIssue' };
const OUTCOME_NAMES = { done: null, open: 'recordOpen', 'refund-due': 'recordRefundDue' } as const satisfies Record<NonNullable<CardRecord['known']>['outcome'], MessageKey | null>;

export function recordsPart(records: CardRecords, currency: Currency): HTMLElement {
  return h(
    'section',
    { class: 'part', 'aria-labelledby': 'records-title' },
    h('h2', { id: 'records-title' }, t('recordsTitle')),
    records.length === 0 ? h('p', { class: 'part-words', 'data-testid': 'no-records' }, t('recordsNone')) : h('ol', { class: 'setup records', 'data-testid': 'records' }, ...records.map((record) => recordRow(record, currency))),
  );
}

function recordRow(record: CardRecord, currency: Currency): HTMLElement {
  const { known, timeSeconds } = record;
  const outcome = known === null ? null : OUTCOME_NAMES[known.outcome];
  const at = timeSeconds * 1000;
  return h(
    'li',
    { class: 'record', 'data-testid': 'record', 'data-kind': known?.kind ?? 'unknown', 'data-outcome': known?.outcome },
    h('span', { class: 'record-mark' }, known === null ? question() : known.kind === 'pay' ? arrowOut() : arrowIn()),
    h(
      'div',
      { class: 'record-words' },
      h('p', { class: 'record-title', 'data-testid': 'record-title' }, recordTitle(record)),
      h('p', { class: 'record-time' }, h('time', { datetime: new Date(at).toISOString() }, formatDateTime(at))),
      known === null || known.kind === 'pay' || known.shopName === null ? null : h('p', { class: 'record-about' }, known.shopName),
      outcome === null ? null : h('p', { class: 'record-outcome', 'data-testid': 'record-outcome' }, t(outcome)),
      known === null ? h('p', { class: 'record-about' }, t('recordUnknownText')) : null,
    ),
    h('p', { class: 'record-amount', 'data-testid': 'record-amount' }, recordAmount(record, currency)),
  );
}

/** A payment is known by its shop. */
export function recordTitle({ known }: CardRecord): string {
  if (known === null) return t('recordUnknown');
  return known.kind === 'pay' && known.shopName !== null ? known.shopName : t(KIND_NAMES[known.kind]);
}

/** With its sign as far as that is known: a record that the settlement does not know may have been either. */
export function recordAmount({ known, amountMinor }: CardRecord, currency: Currency): string {
  const amount = formatAmount(amountMinor, currency);
  if (known === null || amountMinor === 0n) return amount;
  return t(known.kind === 'pay' ? 'minus' : 'plus', amount);
}
