/** The form that makes a card one's own; it stays in the page while its card is read, so that what was typed, and the focus, stay too. */
import { failureText, t } from '../language.ts';
import { h } from '../screens/dom.ts';
import { cardOnReader } from '../screens/pictures.ts';
import type { CardPageState, LinkWork } from './card-state.ts';

type NotLinked = Extract<CardPageState, { kind: 'not-linked' }>;

export interface LinkForm {
  readonly element: HTMLElement;
  show(state: NotLinked): void;
  /** For another card: a code is good for one. */
  clear(): void;
}

/** A code has 16 characters; people put blanks and dashes between them. */
const MAX_TYPED = 40;

export function createLinkForm(link: (typedCode: string) => void): LinkForm {
  const input = h('input', { id: 'activation-code', class: 'field', name: 'code', autocomplete: 'one-time-code', autocapitalize: 'characters', spellcheck: 'false', maxlength: MAX_TYPED, required: true, 'aria-describedby': 'activation-problem', 'data-testid': 'activation-code' });
  const problem = h('p', { class: 'field-problem', id: 'activation-problem', 'data-testid': 'activation-problem' });
  const work = h('p', { class: 'link-work', 'data-testid': 'link-work' });
  const submit = h('button', { type: 'submit', class: 'primary', 'data-testid': 'link-card' }, t('linkCard'));
  const element = h(
    'section',
    { class: 'setup panel screen-working', 'aria-labelledby': 'not-linked-title', 'data-testid': 'not-linked' },
    h('h2', { class: 'heading', id: 'not-linked-title', tabindex: -1, 'data-testid': 'panel-heading' }, t('notLinkedHeading')),
    cardOnReader(),
    h('p', { class: 'explanation' }, t('notLinkedText')),
    h(
      'form',
      {
        class: 'enrolment',
        onsubmit: (event) => {
          event.preventDefault();
          // Not disabled meanwhile: that would take the focus away.
          if (submit.getAttribute('aria-disabled') !== 'true') link(input.value);
        },
      },
      h('label', { for: 'activation-code' }, t('activationField')),
      h('div', { class: 'field-row' }, input, submit),
      problem,
      work,
    ),
  );
  return {
    element,
    show: (state) => {
      const words = linkProblem(state);
      problem.replaceChildren(...(words === null ? [] : [`${words.text} `, h('span', { class: 'code', 'data-testid': 'failure-code' }, words.code)]));
      if (state.failure === 'customer/activation-code') input.setAttribute('aria-invalid', 'true');
      else input.removeAttribute('aria-invalid');
      work.textContent = workWords(state.work);
      submit.setAttribute('aria-disabled', String(state.work === 'linking'));
    },
    clear: () => {
      input.value = '';
    },
  };
}

/** What stands in the way: of the last attempt, or of the one that waits for its card. */
export function linkProblem({ failure, reader, work }: NotLinked): { readonly text: string; readonly code: string } | null {
  const code = failure ?? (work === 'waiting' ? reader.problem : null);
  return code === null ? null : { text: failureText(code), code };
}

export function workWords(work: LinkWork): string {
  switch (work) {
    case 'none':
      return '';
    case 'waiting':
      return t('linkWaits');
    case 'reading':
      return t('workingReading');
    case 'linking':
      return t('doNotRemove');
  }
}
