/** The options page as elements: three steps with their states, then the settings. */
import { asFailure, type FailureCode } from '#protocol/failure.ts';
import type { ReaderInfo } from '#bridge/reader-source.ts';
import { failureText, t, type MessageKey } from '../language.ts';
import type { ReaderView } from '../ports/card-watch.ts';
import { CARD_PAGE, READERS_PAGE } from '../manifest.ts';
import { h } from '../screens/dom.ts';
import { exclamation, shield, tick } from '../screens/pictures.ts';
import type { Settings } from '../store/settings.ts';
import type { CardState } from './card-check.ts';

export interface OptionsParts {
  readonly settings: Settings;
  readonly version: string;
  readonly enrolled: boolean;
  readonly enrol: (code: string) => Promise<void>;
  readonly saveSettings: (settings: Settings) => Promise<void>;
  readonly retry: () => void;
}

export interface OptionsView {
  showReader(reader: ReaderView): void;
  showCard(state: CardState): void;
}

type StepState = 'done' | 'open' | 'problem';

interface Step {
  readonly element: HTMLElement;
  set(state: StepState, words: string, ...more: HTMLElement[]): void;
}

export function createOptionsView(root: HTMLElement, parts: OptionsParts): OptionsView {
  const enrolment = createStep('enrol', t('stepEnrol'));
  const reader = createStep('reader', t('stepReader'));
  const card = createStep('card', t('stepCard'));
  // Beside what changes, so that it keeps its focus.
  reader.element.querySelector('.setup-body')?.append(h('a', { class: 'link', href: `/${READERS_PAGE}`, 'data-testid': 'readers-link' }, t('readersTitle')));
  card.element.querySelector('.setup-body')?.append(h('a', { class: 'link', href: `/${CARD_PAGE}`, 'data-testid': 'card-link' }, t('myCard')));
  root.replaceChildren(
    h(
      'main',
      { class: 'options', 'data-testid': 'options' },
      h('header', { class: 'options-head' }, h('h1', { class: 'options-title' }, t('optionsTitle')), h('p', { class: 'options-lead' }, t('optionsLead'))),
      h('ol', { class: 'setup' }, enrolment.element, reader.element, card.element),
      settingsPart(parts),
      h('p', { class: 'privacy' }, shield(), h('span', {}, t('privacy'))),
      h('p', { class: 'code' }, t('versionIs', parts.version)),
    ),
  );
  showEnrolment(enrolment, parts, parts.enrolled ? 'done' : 'open');
  return {
    showReader: (view) => showReader(reader, view, parts.retry),
    showCard: (state) => showCard(card, state),
  };
}

function showCard(step: Step, state: CardState): void {
  if (state.kind === 'waiting') step.set('open', t('cardWaiting'));
  else if (state.kind === 'recognized') step.set('done', t('cardRecognized', state.ending));
  else step.set('problem', failureText(state.code), code(state.code));
}

function createStep(name: string, title: string): Step {
  const words = h('p', { class: 'setup-words', role: 'status', 'data-testid': `${name}-words` });
  const more = h('div', { class: 'setup-more' });
  const mark = h('span', { class: 'setup-mark' });
  const element = h('li', { class: 'setup-step', 'data-testid': `step-${name}` }, mark, h('div', { class: 'setup-body' }, h('h2', {}, title), words, more));
  return {
    element,
    set: (state, text, ...children) => {
      element.dataset.state = state;
      mark.replaceChildren(state === 'done' ? tick() : state === 'problem' ? exclamation() : h('span', { class: 'setup-dot' }));
      mark.append(h('span', { class: 'visually-hidden' }, t(STATE_NAMES[state])));
      if (words.textContent !== text) words.textContent = text;
      more.replaceChildren(...children);
    },
  };
}

const STATE_NAMES: Record<StepState, MessageKey> = { done: 'stateDone', open: 'stateOpen', problem: 'stateProblem' };

function showEnrolment(step: Step, parts: OptionsParts, state: 'done' | 'open'): void {
  if (state === 'done') {
    const again = h('button', { type: 'button', class: 'quiet', 'data-testid': 'enrol-again', onclick: () => showEnrolment(step, parts, 'open') }, t('enrolAgain'));
    step.set('done', t('enrolled'), again);
    return;
  }
  step.set('open', t('enrolText'), enrolmentForm(step, parts));
}

function enrolmentForm(step: Step, parts: OptionsParts): HTMLElement {
  const input = h('input', { id: 'code', class: 'field', name: 'code', autocomplete: 'one-time-code', autocapitalize: 'characters', spellcheck: 'false', maxlength: 40, required: true, 'aria-describedby': 'code-problem', 'data-testid': 'enrol-code' });
  const problem = h('p', { class: 'field-problem', id: 'code-problem', role: 'alert', 'data-testid': 'enrol-problem' });
  const submit = h('button', { type: 'submit', class: 'primary', 'data-testid': 'enrol' }, t('enrol'));
  const send = async (): Promise<void> => {
    submit.disabled = true;
    submit.textContent = t('enrolling');
    problem.replaceChildren();
    try {
      await parts.enrol(input.value);
      showEnrolment(step, parts, 'done');
    } catch (thrown) {
      const failure = asFailure(thrown);
      if (failure.code === 'internal/bug') console.error(failure.cause ?? failure);
      problem.replaceChildren(failureText(failure.code), ' ', code(failure.code));
      input.setAttribute('aria-invalid', 'true');
      input.focus();
    } finally {
      submit.disabled = false;
      submit.textContent = t('enrol');
    }
  };
  return h(
    'form',
    {
      class: 'enrolment',
      onsubmit: (event) => {
        event.preventDefault();
        void send();
      },
    },
    h('label', { for: 'code' }, t('codeField')),
    h('div', { class: 'field-row' }, input, submit),
    problem,
  );
}

function showReader(step: Step, view: ReaderView, retry: () => void): void {
  const { readers, problem, starting } = view;
  const names = readers.map(({ name }) => name).join(', ');
  // A card's problem is the card's step, not the reader's.
  if (starting) step.set('open', t('readerStarting'));
  else if (problem === null || problem.startsWith('card/')) step.set('done', t('readerFound', names), ...readers.flatMap(brokenReader));
  else step.set('problem', failureText(problem), h('div', { class: 'field-row' }, code(problem), h('button', { type: 'button', class: 'secondary', 'data-testid': 'reader-retry', onclick: retry }, t('tryAgain'))));
}

/** One of several may not work: it is said beside those that do. */
function brokenReader({ name, problem }: ReaderInfo): HTMLElement[] {
  return problem === undefined || problem.startsWith('card/') ? [] : [h('p', { class: 'field-problem' }, `${name}: ${failureText(problem)} `, code(problem))];
}

function settingsPart({ settings, saveSettings }: OptionsParts): HTMLElement {
  let present = settings;
  const change = (changed: Partial<Settings>): void => {
    present = { ...present, ...changed };
    void saveSettings(present);
  };
  return h(
    'section',
    { class: 'settings', 'aria-labelledby': 'settings-title' },
    h('h2', { id: 'settings-title' }, t('settingsTitle')),
    toggle('speech', t('settingSpeech'), t('settingSpeechText'), present.speech, (on) => change({ speech: on })),
    toggle('hide-balance', t('settingHideBalance'), t('settingHideBalanceText'), !present.readBalance, (on) => change({ readBalance: !on })),
  );
}

function toggle(name: string, label: string, text: string, on: boolean, change: (on: boolean) => void): HTMLElement {
  const input = h('input', { type: 'checkbox', id: name, checked: on, 'aria-describedby': `${name}-text`, 'data-testid': `setting-${name}` });
  input.addEventListener('change', () => change(input.checked));
  return h('div', { class: 'toggle' }, input, h('div', {}, h('label', { for: name }, label), h('p', { id: `${name}-text`, class: 'toggle-text' }, text)));
}

function code(value: FailureCode): HTMLElement {
  return h('span', { class: 'code', 'data-testid': 'failure-code' }, value);
}
