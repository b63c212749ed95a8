/** The page "My card" as elements: one panel for where the card is, below it the records. Rebuilt at each change; the focus stays, and each change is said aloud once. */
import { failureText, formatAmount, formatDateTime, t } from '../language.ts';
import { OPTIONS_PAGE, READERS_PAGE } from '../manifest.ts';
import { cardInvitation, readerPart } from '../screens/card-screens.ts';
import { h } from '../screens/dom.ts';
import { button, hint, largeAmount, rows } from '../screens/layout.ts';
import { cardOnReader, exclamation, shield, tick } from '../screens/pictures.ts';
import type { CardPage } from './card-page.ts';
import type { CardPageState, DecidedPayment, ShownCard } from './card-state.ts';
import { createLinkForm, linkProblem, workWords } from './link-form.ts';
import { recordsPart } from './records-view.ts';

export interface CardActs extends Pick<CardPage, 'link' | 'hide' | 'retry' | 'choose'> {
  readonly setUpBrowser: () => void;
  readonly setUpReader: () => void;
}

export interface CardView {
  show(state: CardPageState): void;
}

type Of<Kind extends CardPageState['kind']> = Extract<CardPageState, { kind: Kind }>;

/** Identify 5, authenticate 1, read 3. */
const READING_COMMANDS = 9;

export function createCardView(root: HTMLElement, acts: CardActs): CardView {
  const form = createLinkForm(acts.link);
  const place = h('div', { class: 'card-place', 'data-testid': 'card-place' });
  const live = h('div', { class: 'visually-hidden', role: 'status', 'data-testid': 'live' });
  root.replaceChildren(
    h(
      'main',
      { class: 'options card-page', 'data-testid': 'card-page' },
      h('header', { class: 'options-head' }, h('h1', { class: 'options-title' }, t('myCard')), h('p', { class: 'options-lead' }, t('myCardLead'))),
      place,
      h('footer', { class: 'card-foot' }, h('p', { class: 'privacy' }, shield(), h('span', {}, t('nothingTaken'), ' ', t('myCardOnScreen'))), links()),
    ),
    live,
  );
  let shown = '';
  return {
    show: (state) => {
      // Most news of readers change nothing that is seen.
      const next = JSON.stringify(state, (_, value: unknown) => (typeof value === 'bigint' ? String(value) : value));
      if (next === shown) return;
      shown = next;
      place.dataset.state = state.kind;
      if (state.kind === 'not-linked') {
        form.show(state);
        if (!form.element.isConnected) replaceKeepingFocus(place, [form.element]);
      } else {
        if (state.kind === 'shown') form.clear();
        replaceKeepingFocus(place, panels(state, acts));
      }
      const words = announcement(state);
      if (live.textContent !== words) live.textContent = words;
    },
  };
}

function links(): HTMLElement {
  const link = (page: string, words: string, testId: string): HTMLElement => h('a', { class: 'link', href: `/${page}`, 'data-testid': testId }, words);
  return h('nav', { class: 'card-links', 'aria-label': t('settingsTitle') }, link(READERS_PAGE, t('readersTitle'), 'readers-link'), link(OPTIONS_PAGE, t('optionsTitle'), 'options-link'));
}

/** What has the focus keeps it; where it has gone from the page, the focus goes to what stands there now. */
function replaceKeepingFocus(place: HTMLElement, next: readonly HTMLElement[]): void {
  const focused = place.contains(document.activeElement) ? document.activeElement?.getAttribute('data-testid') : undefined;
  place.replaceChildren(...next);
  if (focused === undefined) return;
  const again = [...place.querySelectorAll<HTMLElement>('[data-testid]')].find((element) => element.dataset.testid === focused);
  (again ?? place.querySelector<HTMLElement>('[data-testid="panel-heading"]'))?.focus();
}

function panels(state: Exclude<CardPageState, { kind: 'not-linked' }>, acts: CardActs): HTMLElement[] {
  switch (state.kind) {
    case 'starting':
      return [panel('screen-card', heading(t('readerStarting')), cardOnReader())];
    case 'not-enrolled':
      return [
        panel('', heading(t('stepEnrol')), h('p', { class: 'explanation', 'data-testid': 'failure-text' }, failureText('customer/not-enrolled')), h('div', { class: 'actions' }, button('primary', { testId: 'set-up', label: t('setUp'), act: acts.setUpBrowser }))),
      ];
    case 'waiting':
      return [waitingPanel(state, acts)];
    case 'reading':
      return [
        panel('screen-working', heading(t('doNotRemove')), h('p', { class: 'explanation' }, t('workingReading')), cardOnReader(), h('progress', { class: 'bar', value: Math.min(state.done, READING_COMMANDS), max: READING_COMMANDS, 'aria-label': t('workingReading'), 'data-testid': 'progress' })),
      ];
    case 'shown':
      return [shownPanel(state, acts), recordsPart(state.shown.records, state.shown.card.currency)];
  }
}

function panel(className: string, ...children: Parameters<typeof h>[2][]): HTMLElement {
  return h('section', { class: `setup panel body ${className}`, 'data-testid': 'panel' }, ...children);
}

function heading(text: string): HTMLElement {
  return h('h2', { class: 'heading', tabindex: -1, 'data-testid': 'panel-heading' }, text);
}

function waitingPanel({ reader, failure, isHidden }: Of<'waiting'>, { retry, choose, setUpBrowser, setUpReader }: CardActs): HTMLElement {
  const code = failure ?? reader.problem;
  const liesThere = reader.readers.some(({ state }) => state === 'present');
  const needsBrowser = failure === 'customer/unknown' || failure === 'customer/not-enrolled';
  const canRetry = liesThere ? failure !== null || isHidden : reader.problem !== null && reader.problem !== 'card/absent';
  return panel(
    'screen-card',
    heading(failure !== null && liesThere ? t('readerProblemHeading') : isHidden && liesThere ? t('cardHidden') : cardInvitation(reader)),
    failure === null || failure === reader.problem ? null : h('p', { class: 'problem', 'data-testid': 'failure-text', 'data-code': failure }, failureText(failure)),
    isHidden && liesThere ? h('p', { class: 'explanation' }, t('cardHiddenText')) : null,
    cardOnReader(),
    ...readerPart({ reader, choose, retry, setUpReader }),
    code === null ? null : h('p', { class: 'code' }, `${t('codeLabel')} `, h('span', { 'data-testid': 'failure-code' }, code)),
    needsBrowser || canRetry
      ? h(
          'div',
          { class: 'actions' },
          canRetry ? button(needsBrowser ? 'secondary' : 'primary', { testId: 'retry', label: t(failure === null && reader.problem === null ? 'showCardAgain' : 'tryAgain'), act: retry }) : null,
          needsBrowser ? button('primary', { testId: 'set-up', label: t('setUp'), act: setUpBrowser }) : null,
        )
      : null,
  );
}

function shownPanel({ shown, isLifted }: Of<'shown'>, { hide }: CardActs): HTMLElement {
  const { cardId, balanceMinor, card, decided, readAt, isNew } = shown;
  const isBlocked = card.state === 'blocked';
  return h(
    'section',
    { class: `setup panel shown${isBlocked ? ' shown-blocked' : ''}`, 'aria-labelledby': 'balance', 'data-testid': 'shown-card', 'data-card-state': card.state },
    ...notices(decided, shown, isNew),
    isBlocked ? hint(t('cardBlockedText'), 'blocked') : null,
    h(
      'div',
      { class: 'shown-head' },
      h('h2', { class: 'amount-heading', id: 'balance', tabindex: -1, 'data-testid': 'panel-heading' }, h('span', { class: 'amount-label' }, t('balanceNow')), ' ', largeAmount(balanceMinor, card.currency, 'balance')),
      h('p', { class: `card-state card-state-${card.state}`, 'data-testid': 'card-state' }, isBlocked ? exclamation() : tick(), t(isBlocked ? 'cardBlocked' : 'cardActive')),
    ),
    rows([
      { name: t('cardLimit'), value: formatAmount(card.limitMinor, card.currency), testId: 'card-limit' },
      { name: t('cardReadAt'), value: formatDateTime(readAt), testId: 'read-at' },
      { name: t('cardNumber'), value: groupedCardNumber(cardId), testId: 'card-number', className: 'number' },
    ]),
    h('div', { class: 'shown-foot' }, h('p', { class: 'shown-lifted', 'data-testid': 'lifted' }, t(isLifted ? 'cardLifted' : 'takeCard')), button('secondary', { testId: 'hide', label: t('hideCard'), act: hide })),
  );
}

function notices(decided: readonly DecidedPayment[], { card }: ShownCard, isNew: boolean): HTMLElement[] {
  const told = decided.map((payment) => {
    const isPaid = payment.outcome === 'paid';
    return h('p', { class: `money ${isPaid ? 'money-taken' : 'money-not-taken'}`, 'data-testid': 'decided', 'data-outcome': payment.outcome }, isPaid ? tick() : shield(), h('span', {}, decidedWords(payment, card.currency)));
  });
  return isNew ? [h('p', { class: 'money money-taken', 'data-testid': 'linked' }, tick(), h('span', {}, t('cardLinked'))), ...told] : told;
}

export function decidedWords({ amountMinor, outcome, shopName }: DecidedPayment, currency: ShownCard['card']['currency']): string {
  const amount = formatAmount(amountMinor, currency);
  if (shopName === null) return t(outcome === 'paid' ? 'decidedPaid' : 'decidedNotPaid', amount);
  return t(outcome === 'paid' ? 'decidedPaidTo' : 'decidedNotPaidTo', amount, shopName);
}

/** `04A1 B2C3 D4E5 F6`: as it can be compared and read out. */
export function groupedCardNumber(cardId: string): string {
  return cardId.match(/.{1,4}/g)?.join(' ') ?? cardId;
}

/** What has changed without the focus moving. */
export function announcement(state: CardPageState): string {
  switch (state.kind) {
    case 'starting':
      return '';
    case 'not-enrolled':
      return failureText('customer/not-enrolled');
    case 'waiting':
      if (state.failure !== null) return failureText(state.failure);
      if (state.reader.problem !== null) return failureText(state.reader.problem);
      return state.isHidden ? t('cardHidden') : cardInvitation(state.reader);
    case 'reading':
      return t('doNotRemove');
    case 'shown':
      return shownAnnouncement(state);
    case 'not-linked': {
      const problem = linkProblem(state);
      return problem?.text ?? (state.work === 'none' ? t('notLinkedHeading') : workWords(state.work));
    }
  }
}

function shownAnnouncement({ shown, isLifted }: Of<'shown'>): string {
  if (isLifted) return t('cardLifted');
  const { balanceMinor, card, decided, isNew } = shown;
  return [
    ...(isNew ? [t('cardLinked')] : []),
    ...decided.map((payment) => decidedWords(payment, card.currency)),
    `${t('balanceNow')}: ${formatAmount(balanceMinor, card.currency)}`,
    ...(card.state === 'blocked' ? [t('cardBlockedText')] : []),
  ].join(' ');
}
