/** The pairing page as elements: your readers, readers to add, the reader program, the doctor. Rebuilt at each change; focus and opened parts stay. */
import { t, type MessageKey } from '../language.ts';
import { h } from '../screens/dom.ts';
import { exclamation, shield, tick } from '../screens/pictures.ts';
import { doctorPart, fixOf, programPart } from './doctor-view.ts';
import { fixKey, problemKey } from './page-doctor.ts';
import { deviceTitles, type AddableFamily, type ReaderRow, type RowState } from './reader-rows.ts';
import type { ReadersPageState } from './page-state.ts';
import type { ReadersPage } from './readers-page.ts';
import type { DeviceRoad } from './readers-page-ports.ts';
import { trialPart, trialWords } from './trial-view.ts';

export type ReadersActs = Pick<ReadersPage, 'pair' | 'forget' | 'startTrial' | 'stopTrial' | 'lookAgain' | 'copyReport' | 'copyCommand'>;

export interface ReadersView {
  show(state: ReadersPageState): void;
}

export function createReadersView(root: HTMLElement, acts: ReadersActs): ReadersView {
  const place = h('div', { class: 'place' });
  const live = h('div', { class: 'visually-hidden', role: 'status', 'data-testid': 'live' });
  root.replaceChildren(place, live);
  let shown = '';
  return {
    show: (state) => {
      // Most news change nothing that is seen.
      const next = JSON.stringify(state);
      if (next === shown) return;
      shown = next;
      replaceKeeping(place, page(state, acts));
      const words = announcement(state);
      if (live.textContent !== words) live.textContent = words;
    },
  };
}

/** What has the focus keeps it, or its successor at the same place (`data-place`); what was opened stays open. */
function replaceKeeping(place: HTMLElement, next: HTMLElement): void {
  const focused = document.activeElement instanceof HTMLElement ? document.activeElement.dataset.place : undefined;
  const opened = new Set([...place.querySelectorAll<HTMLElement>('details[open]')].map((element) => element.dataset.place));
  place.replaceChildren(next);
  for (const element of next.querySelectorAll<HTMLDetailsElement>('details')) element.open = opened.has(element.dataset.place);
  if (focused !== undefined) [...next.querySelectorAll<HTMLElement>('[data-place]')].find((element) => element.dataset.place === focused)?.focus();
}

function page(state: ReadersPageState, acts: ReadersActs): HTMLElement {
  return h(
    'main',
    { class: 'options readers-page', 'data-testid': 'readers-page' },
    h('header', { class: 'options-head' }, h('h1', { class: 'options-title' }, t('readersTitle')), h('p', { class: 'options-lead' }, t('readersLead'))),
    ownPart(state, acts),
    addPart(state, acts),
    programPart(state, acts),
    doctorPart(state, acts),
    h('p', { class: 'privacy' }, shield(), h('span', {}, t('nothingTaken'))),
    h('p', { class: 'code' }, t('versionIs', state.environment.version)),
  );
}

function ownPart(state: ReadersPageState, acts: ReadersActs): HTMLElement {
  const { rows } = state;
  return h(
    'section',
    { class: 'part', 'aria-labelledby': 'own-title' },
    h('h2', { id: 'own-title' }, t('ownReaders')),
    rows.length === 0
      ? h('p', { class: 'part-words', 'data-testid': 'no-readers' }, t(state.program.kind === 'starting' ? 'readerStarting' : 'noReaders'))
      : h('ul', { class: 'setup', 'data-testid': 'own-readers' }, ...rows.map((row) => ownRow(row, state, acts))),
  );
}

type Mark = 'done' | 'open' | 'problem';
/** No words of its own: the problem's are shown. */
const ROW_STATES: Record<RowState, readonly [mark: Mark, words: MessageKey | null]> = {
  ready: ['done', 'rowReady'],
  card: ['done', 'rowCard'],
  'in-use': ['problem', null],
  mute: ['problem', null],
  blocked: ['problem', null],
  connected: ['done', 'rowConnected'],
  away: ['open', 'rowAway'],
  'away-or-forgotten': ['open', 'rowAwayOrForgotten'],
  forgotten: ['problem', 'rowForgotten'],
};

function ownRow(row: ReaderRow, state: ReadersPageState, acts: ReadersActs): HTMLElement {
  const [mark, words] = ROW_STATES[row.state];
  const trial = state.trial?.rowId === row.id ? state.trial : null;
  return h(
    'li',
    { class: 'setup-step', 'data-state': mark, 'data-testid': 'reader-row', 'data-reader': row.id, 'data-reader-state': row.state },
    markOf(mark),
    h(
      'div',
      { class: 'setup-body' },
      h('h3', { class: 'reader-title' }, row.name),
      words === null ? null : h('p', { class: 'setup-words', 'data-testid': 'reader-words' }, t(words)),
      h('p', { class: 'road' }, t(ROADS[row.road])),
      row.problem === null ? null : h('p', { class: 'problem', 'data-testid': 'reader-problem', 'data-code': row.problem }, t(problemKey(row.problem))),
      ...row.advice.map((id) => fixOf(fixKey(id, state.environment.system))),
      trial === null ? rowButtons(row, acts) : trialPart(trial, acts),
    ),
  );
}

const ROADS: Record<ReaderRow['road'], MessageKey> = { webusb: 'roadWebUsb', webhid: 'roadWebHid', native: 'roadProgram' };

function rowButtons(row: ReaderRow, acts: ReadersActs): HTMLElement | null {
  const { id, kind, name, act } = row;
  const main =
    act === 'test'
      ? named('secondary', 'testReader', name, { 'data-testid': 'test', 'data-place': `act-${id}`, onclick: () => void acts.startTrial(id) })
      : act === 'look-again'
        ? named('secondary', 'lookAgain', name, { 'data-testid': 'look-again-reader', 'data-place': `act-${id}`, onclick: () => void acts.lookAgain() })
      : act === 'pair' && kind !== 'pcsc'
        ? named('secondary', 'pairAgain', name, { 'data-testid': 'pair-again', 'data-place': `act-${id}`, onclick: () => void acts.pair(kind) })
        : null;
  const forget = row.canForget
    ? named('quiet', row.state.startsWith('away') || row.state === 'forgotten' ? 'takeOff' : 'forget', name, { 'data-testid': 'forget', 'data-place': `forget-${id}`, onclick: () => void acts.forget(id) })
    : null;
  return main === null && forget === null ? null : h('div', { class: 'field-row row-buttons' }, main, forget);
}

/** A short word to see, and the reader's name with it for those who hear it alone. */
function named(rank: 'secondary' | 'quiet', label: MessageKey, name: string, attributes: Record<string, string | (() => void)>): HTMLElement {
  return h('button', { type: 'button', class: rank, ...attributes }, t(label), h('span', { class: 'visually-hidden' }, ` - ${name}`));
}

function markOf(mark: Mark): HTMLElement {
  return h('span', { class: 'setup-mark' }, mark === 'done' ? tick() : mark === 'problem' ? exclamation() : h('span', { class: 'setup-dot' }), h('span', { class: 'visually-hidden' }, t(MARK_NAMES[mark])));
}

const MARK_NAMES: Record<Mark, MessageKey> = { done: 'markGood', open: 'markOpen', problem: 'stateProblem' };

function addPart(state: ReadersPageState, acts: ReadersActs): HTMLElement {
  const { families, environment, refused } = state;
  const missing = (['webusb', 'webhid'] as const).filter((road) => !environment.roads[road]);
  return h(
    'section',
    { class: 'part', 'aria-labelledby': 'add-title' },
    h('h2', { id: 'add-title' }, t('addReader')),
    families.length === 0 ? null : h('p', { class: 'part-words' }, t('addReaderText')),
    missing.length === 0 ? null : h('div', { class: 'hint hint-calm', 'data-testid': 'no-road' }, exclamation(), h('div', { class: 'no-road' }, h('p', {}, t(noRoadKey(missing))), h('p', {}, t('otherBrowser', deviceTitles().join(', '))))),
    families.length === 0 ? null : h('ul', { class: 'setup', 'data-testid': 'families' }, ...families.map((family) => familyRow(family, state, acts))),
    helpPart(state),
    refused === null ? null : h('p', { class: 'code' }, `${t('codeLabel')} `, h('span', { 'data-testid': 'failure-code' }, refused.code)),
  );
}

function noRoadKey(missing: readonly DeviceRoad[]): MessageKey {
  return missing.length === 2 ? 'noRoads' : missing[0] === 'webusb' ? 'noWebUsb' : 'noWebHid';
}

function familyRow({ kind, title, road }: AddableFamily, { refused }: ReadersPageState, acts: ReadersActs): HTMLElement {
  return h(
    'li',
    { class: 'family', 'data-testid': 'family', 'data-kind': kind },
    h(
      'div',
      { class: 'family-head' },
      h('div', { class: 'family-words' }, h('h3', { class: 'reader-title' }, title), h('p', { class: 'road' }, t(ROADS[road]))),
      named('secondary', 'pair', title, { 'data-testid': 'pair', 'data-place': `pair-${kind}`, onclick: () => void acts.pair(kind) }),
    ),
    refused?.kind === kind ? h('p', { class: 'problem', 'data-testid': 'pair-problem' }, t(problemKey(refused.code))) : null,
  );
}

/** What is known to keep readers out of the chooser, or from opening, on this system; each once, with the readers that it is about. */
function helpPart({ families, environment }: ReadersPageState): HTMLElement | null {
  const troubles = [...new Set(families.flatMap((family) => family.troubles))];
  if (troubles.length === 0) return null;
  return h(
    'details',
    { class: 'more help', 'data-place': 'help' },
    h('summary', { 'data-place': 'help-summary' }, t('notInChooser')),
    ...troubles.map((trouble) => {
      const titles = families.filter((family) => family.troubles.includes(trouble)).map(({ title }) => title);
      return h('div', { class: 'help-item' }, h('h3', { class: 'help-title' }, titles.join(', ')), fixOf(fixKey(trouble, environment.system)));
    }),
  );
}

/** What has changed without the focus moving, said aloud once. */
function announcement({ trial, copied, copyRefused, refused }: ReadersPageState): string {
  if (refused !== null) return t(problemKey(refused.code));
  if (copyRefused !== null) return t('copyRefused');
  if (trial !== null) return trialWords(trial);
  return copied === null ? '' : t('copied');
}
