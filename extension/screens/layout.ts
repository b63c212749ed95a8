/** The parts that all screens share: who is paid, how far we are, the amount, the money sentence, the buttons, the code. */
import type { Currency } from '#protocol/amount.ts';
import type { FailureCode } from '#protocol/failure.ts';
import type { ShopView } from '#protocol/parties.ts';
import type { StepId } from '#protocol/steps.ts';
import { amountParts, t, type MessageKey } from '../language.ts';
import { h } from './dom.ts';
import { moneySentence, type Money } from './money.ts';
import { exclamation, hourglass, question, shield, tick } from './pictures.ts';

/** The stations of a payment as the customer walks through them. */
export type Station = 'bill' | 'card' | 'balance' | 'paid';
const STATIONS: readonly Station[] = ['bill', 'card', 'balance', 'paid'];
const STATION_NAMES: Record<Station, MessageKey> = { bill: 'stationBill', card: 'stationCard', balance: 'stationBalance', paid: 'stationPaid' };

interface Button {
  readonly testId: string;
  readonly label: string;
  readonly act: () => void;
}

export interface Frame {
  readonly who: HTMLElement;
  /** Where the customer is; null where that would say nothing. */
  readonly station: Station | null;
  readonly body: readonly (HTMLElement | SVGSVGElement | null)[];
  readonly money: Money;
  /** Small print for support: the code of a failure, and its step. */
  readonly code?: { readonly code: FailureCode; readonly step: StepId | null };
  /** Safe ones first; the primary last, so that no Enter reaches it by accident. */
  readonly secondary: Button | null;
  readonly primary: Button | null;
}

export function frame(kind: string, { who, station, body, money, code, secondary, primary }: Frame): HTMLElement {
  return h(
    'main',
    { class: `screen screen-${kind}`, 'data-testid': `screen-${kind}`, 'data-screen': kind },
    who,
    station === null ? null : path(station),
    h('div', { class: 'body' }, ...body),
    h(
      'div',
      { class: 'foot' },
      moneyLine(money),
      code === undefined ? null : h('p', { class: 'code' }, `${t('codeLabel')} `, h('span', { 'data-testid': 'failure-code' }, code.code), code.step === null ? null : [' · ', h('span', { 'data-testid': 'failure-step' }, code.step)]),
      secondary === null && primary === null ? null : h('div', { class: 'actions' }, secondary === null ? null : button('secondary', secondary), primary === null ? null : button('primary', primary)),
    ),
  );
}

/** The heading that takes the focus when the screen appears; its description is the money sentence, so that both are read at once. */
export function heading(text: string, className = 'heading'): HTMLElement {
  return h('h1', { class: className, tabindex: -1, 'data-testid': 'heading', 'aria-describedby': 'money' }, text);
}

/** The one number that cannot be missed; a heading, because it is what the screen is about. */
export function amountHeading(label: string, amountMinor: bigint, currency: Currency): HTMLElement {
  return h(
    'h1',
    { class: 'amount-heading', tabindex: -1, 'data-testid': 'heading', 'aria-describedby': 'money' },
    h('span', { class: 'amount-label' }, label),
    ' ',
    largeAmount(amountMinor, currency, 'amount'),
  );
}

export function largeAmount(amountMinor: bigint, currency: Currency, testId: string): HTMLElement {
  const parts = amountParts(amountMinor, currency);
  const amount = h('span', { class: 'amount', 'data-testid': testId }, ...parts.map(({ kind, text }) => h('span', { class: `amount-${kind}` }, text)));
  // A long sum is set smaller rather than broken.
  amount.style.setProperty('--characters', String(parts.find(({ kind }) => kind === 'figures')?.text.length ?? 1));
  return amount;
}

export function shopHeader({ legalName, origin }: ShopView): HTMLElement {
  return h(
    'header',
    { class: 'who' },
    h('p', { class: 'shop-name' }, h('span', { 'data-testid': 'shop-name' }, legalName), h('span', { class: 'verified' }, shield(), t('verified'))),
    h('p', { class: 'origin', 'data-testid': 'shop-origin' }, origin),
  );
}

/** Before the shop has proved who it is, only its address is known. */
export function unverifiedHeader(origin: string): HTMLElement {
  return h('header', { class: 'who' }, h('p', { class: 'origin', 'data-testid': 'shop-origin' }, origin));
}

export function plainHeader(): HTMLElement {
  return h('header', { class: 'who' }, h('p', { class: 'shop-name' }, t('productName')));
}

function moneyLine(money: Money): HTMLElement {
  return h('p', { class: `money money-${money.kind}`, id: 'money', 'data-testid': 'money', 'data-money': money.kind }, MONEY_PICTURES[money.kind](), h('span', {}, moneySentence(money)));
}

const MONEY_PICTURES: Record<Money['kind'], () => SVGSVGElement> = { untouched: shield, 'under-way': hourglass, taken: tick, 'not-taken': shield, unknown: question };

function path(station: Station): HTMLElement {
  const reached = STATIONS.indexOf(station);
  return h(
    'ol',
    { class: 'path', 'aria-label': t('pathLabel') },
    ...STATIONS.map((name, i) =>
      h('li', { class: i < reached ? 'done' : i === reached ? 'current' : 'ahead', 'aria-current': i === reached ? 'step' : undefined }, h('span', { class: 'dot' }, i < reached ? tick() : null), h('span', { class: 'station' }, t(STATION_NAMES[name]))),
    ),
  );
}

export function button(rank: 'primary' | 'secondary' | 'quiet', { testId, label, act }: Button): HTMLElement {
  return h('button', { type: 'button', class: rank, 'data-testid': testId, onclick: act }, label);
}

/** Something the customer should know before going on; not an error. */
export function hint(text: string, testId: string): HTMLElement {
  return h('p', { class: 'hint', 'data-testid': testId }, exclamation(), h('span', {}, text));
}

/** Something that is as the customer wished. */
export function calmHint(text: string, testId: string): HTMLElement {
  return h('p', { class: 'hint hint-calm', 'data-testid': testId }, shield(), h('span', {}, text));
}

export function rows(entries: readonly { readonly name: string; readonly value: string; readonly testId?: string; readonly className?: string }[]): HTMLElement {
  return h(
    'dl',
    { class: 'rows' },
    ...entries.map(({ name, value, testId, className }) => h('div', { class: className }, h('dt', {}, name), h('dd', { 'data-testid': testId }, value))),
  );
}
