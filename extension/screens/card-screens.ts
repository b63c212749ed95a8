/** Waiting for the card, working with it, and the balance before the debit (ST8 to ST17). */
import type { ReaderInfo } from '#bridge/reader-source.ts';
import type { FailureCode } from '#protocol/failure.ts';
import { failureText, formatAmount, formatCount, t, type MessageKey } from '../language.ts';
import type { ReaderView } from '../ports/card-watch.ts';
import { h } from './dom.ts';
import { amountHeading, button, calmHint, frame, heading, rows, shopHeader } from './layout.ts';
import { cardOnReader } from './pictures.ts';
import type { Screen, WaitingForCard } from './screen.ts';

type Of<Kind extends Screen['kind']> = Extract<Screen, { kind: Kind }>;

export function cardScreen(screen: Of<'card'>): HTMLElement {
  const { bill, again, cancel, reader } = screen;
  const blocked = reader.problem !== null && isBlocking(reader);
  return frame('card', {
    who: shopHeader(bill.shop),
    station: 'card',
    body: [
      // When the card is needed again the reason comes first; otherwise what to do.
      heading(again === null || blocked ? cardInvitation(reader) : t('cardAgainHeading')),
      again === null || blocked ? null : h('p', { class: 'explanation', 'data-testid': 'again' }, failureText(again)),
      cardOnReader(),
      ...readerPart(screen),
      h('p', { class: 'small-amount' }, t('amountToPay', formatAmount(bill.amountMinor, bill.currency))),
    ],
    money: { kind: 'untouched' },
    ...(reader.problem === null ? {} : { code: { code: reader.problem, step: null } }),
    secondary: { testId: 'cancel', label: t('cancel'), act: cancel },
    primary: blocked ? { testId: 'retry', label: t('tryAgain'), act: screen.retry } : null,
  });
}

/** Whether the customer must do something other than put a card. */
function isBlocking({ problem }: ReaderView): boolean {
  return problem !== 'card/absent';
}

export function cardInvitation(reader: ReaderView): string {
  if (reader.starting) return t('readerStarting');
  if (reader.problem !== null && isBlocking(reader)) return t('readerProblemHeading');
  const name = reader.chosen ?? (reader.readers.length === 1 ? reader.readers[0]?.name : undefined);
  return name === undefined ? t('putCardAnywhere') : t('putCardOn', name);
}

/** What stands in the way, and the readers with their states; several can be chosen from. */
export function readerPart({ reader, choose, setUpReader }: WaitingForCard): (HTMLElement | null)[] {
  const { readers, chosen, problem } = reader;
  const setUp = needsSetUp(reader) ? button('secondary', { testId: 'set-up-reader', label: t('setUpReader'), act: setUpReader }) : null;
  return [
    problem === null ? null : h('p', { class: 'problem', 'data-testid': 'reader-problem', 'data-code': problem }, failureText(problem)),
    problem === null ? null : setUp,
    readers.length === 0 ? null : h('ul', { class: 'readers', 'data-testid': 'readers' }, ...readers.map((info) => readerRow(info, reader, choose))),
    problem === null ? setUp : null,
    chosen === null || readers.length < 2 ? null : button('quiet', { testId: 'any-reader', label: t('anyReader'), act: () => choose(null) }),
  ];
}

/** Problems that waiting or trying again does not end. */
function needsSetUp({ problem, readers }: ReaderView): boolean {
  return [problem, ...readers.map((reader) => reader.problem)].some((code) => code !== null && code !== undefined && isSetUpProblem(code));
}

function isSetUpProblem(code: FailureCode): boolean {
  if (code === 'reader/in-use' || code === 'reader/refused-command') return false;
  return code.startsWith('reader/') || code.startsWith('host/') || code.startsWith('connector/');
}

const READER_STATES: Record<ReaderInfo['state'], MessageKey> = { empty: 'readerEmpty', present: 'readerPresent', 'in-use': 'readerInUse', mute: 'readerMute' };

function readerRow({ name, state, problem }: ReaderInfo, { readers, chosen, problem: told }: ReaderView, choose: WaitingForCard['choose']): HTMLElement {
  const isBroken = problem !== undefined && state !== 'in-use' && state !== 'mute';
  // What stands above the list already is not said twice.
  const stateWords = problem !== undefined && problem !== told ? failureText(problem) : t(isBroken ? 'readerBroken' : READER_STATES[state]);
  const words = [
    h('span', { class: 'reader-name' }, name),
    h('span', { class: isBroken ? 'reader-state' : `reader-state reader-${state}`, ...(problem === undefined ? {} : { 'data-code': problem }) }, stateWords),
  ];
  if (readers.length < 2) return h('li', {}, h('span', { class: 'reader-row' }, ...words));
  const isChosen = name === chosen;
  return h('li', {}, h('button', { type: 'button', class: 'reader-row', 'aria-pressed': String(isChosen), 'data-testid': `reader-${name}`, onclick: () => choose(name) }, ...words));
}

const WORKING_HEADINGS = { reading: 'workingReading', paying: 'workingPaying', settling: 'workingSettling' } as const satisfies Record<string, MessageKey>;

export function workingScreen({ bill, phase, done, of, cancel }: Of<'working'>): HTMLElement {
  const sum = { amountMinor: bill.amountMinor, currency: bill.currency };
  const label = t('progressLabel', formatCount(done), formatCount(of));
  return frame('working', {
    who: shopHeader(bill.shop),
    station: phase === 'reading' ? 'card' : 'balance',
    body: [
      heading(t('doNotRemove')),
      h('p', { class: 'explanation' }, t(WORKING_HEADINGS[phase])),
      cardOnReader(),
      h('progress', { class: 'bar', value: done, max: of, 'aria-label': label, 'data-testid': 'progress' }),
      h('p', { class: 'progress-words' }, label),
    ],
    money: phase === 'reading' ? { kind: 'untouched' } : phase === 'paying' ? { kind: 'under-way', ...sum } : { kind: 'unknown', ...sum },
    secondary: cancel === null ? null : { testId: 'cancel', label: t('cancel'), act: cancel },
    primary: null,
  });
}

export function balanceScreen({ view, agree, cancel }: Of<'balance'>): HTMLElement {
  const { bill, balance } = view;
  const amount = formatAmount(bill.amountMinor, bill.currency);
  return frame('balance', {
    who: shopHeader(bill.shop),
    station: 'balance',
    body: [
      amountHeading(t('takenLabel'), bill.amountMinor, bill.currency),
      balance === null
        ? calmHint(t('balanceNotRead'), 'balance-not-read')
        : rows([
            { name: t('balanceBefore'), value: formatAmount(balance.beforeMinor, bill.currency), testId: 'balance-before' },
            { name: t('thisPayment'), value: t('minus', amount), testId: 'balance-change' },
            { name: t('balanceAfter'), value: formatAmount(balance.afterMinor, bill.currency), testId: 'balance-after', className: 'result' },
          ]),
      h('p', { class: 'explanation' }, t('leaveCard')),
    ],
    money: { kind: 'untouched' },
    secondary: { testId: 'cancel', label: t('cancel'), act: cancel },
    primary: { testId: 'primary', label: t('pay', amount), act: agree },
  });
}

/** The words and figures of ST16 as one text: what the customer's consent is about. */
export function shownText({ view }: Pick<Of<'balance'>, 'view'>): string {
  const { bill, balance } = view;
  const amount = formatAmount(bill.amountMinor, bill.currency);
  const figures =
    balance === null
      ? [t('balanceNotRead')]
      : [`${t('balanceBefore')} ${formatAmount(balance.beforeMinor, bill.currency)}`, `${t('thisPayment')} ${t('minus', amount)}`, `${t('balanceAfter')} ${formatAmount(balance.afterMinor, bill.currency)}`];
  return [bill.shop.legalName, bill.shop.origin, `${t('takenLabel')} ${amount}`, ...figures, t('pay', amount)].join('\n');
}
