/** The test of a reader as elements: what to do, what is going on, what was found. */
import { failureText, formatCount, formatMilliseconds, t, type MessageKey } from '../language.ts';
import { h } from '../screens/dom.ts';
import { rows } from '../screens/layout.ts';
import { cardOnReader } from '../screens/pictures.ts';
import type { TrialResult } from './card-trial.ts';
import type { Trial } from './page-state.ts';
import type { ReadersPage } from './readers-page.ts';

const UIDS: Record<TrialResult['uid'], MessageKey> = { '7-byte': 'uidFixed', random: 'uidRandom', none: 'uidNone' };

export function trialPart(trial: Trial, acts: Pick<ReadersPage, 'startTrial' | 'stopTrial'>): HTMLElement {
  const isOver = trial.step === 'done' || trial.step === 'failed';
  return h(
    'div',
    { class: 'trial', 'data-testid': 'trial', 'data-step': trial.step },
    h('p', { class: 'trial-words', 'data-testid': 'trial-words' }, trialWords(trial)),
    isOver ? null : cardOnReader(),
    trial.step === 'done' ? resultRows(trial.result) : null,
    trial.step === 'failed' ? h('p', { class: 'code' }, `${t('codeLabel')} `, h('span', { 'data-testid': 'failure-code' }, trial.code)) : null,
    h('p', { class: 'trial-money', 'data-testid': 'trial-money' }, t('nothingTaken')),
    h(
      'div',
      { class: 'field-row row-buttons' },
      isOver ? h('button', { type: 'button', class: 'secondary', 'data-testid': 'trial-again', 'data-place': `act-${trial.rowId}`, onclick: () => void acts.startTrial(trial.rowId) }, t('trialAgain')) : null,
      h('button', { type: 'button', class: isOver ? 'quiet' : 'secondary', 'data-testid': 'trial-stop', 'data-place': isOver ? `stop-${trial.rowId}` : `act-${trial.rowId}`, onclick: () => acts.stopTrial() }, t(isOver ? 'close' : 'cancel')),
    ),
  );
}

/** The trial in one sentence. */
export function trialWords(trial: Trial): string {
  switch (trial.step) {
    case 'waiting':
      return t('trialWaiting', trial.readerName);
    case 'running':
      return t('trialRunning');
    case 'done':
      return t('trialWorks');
    case 'failed':
      // For a test of the reader that is good news.
      return trial.code === 'card/unsupported' ? t('trialOtherCard') : failureText(trial.code);
  }
}

function resultRows({ card, uid, ending, medianMs, rounds }: TrialResult): HTMLElement {
  const cardWords = card === 'payment' ? t('trialPaymentCard', ending ?? '') : t(card === 'desfire' ? 'trialDesfire' : 'trialForeign');
  return rows([
    { name: t('trialCard'), value: cardWords, testId: 'trial-card' },
    { name: t('trialUid'), value: t(UIDS[uid]), testId: 'trial-uid' },
    { name: t('trialTime'), value: t('trialMedian', formatMilliseconds(medianMs), formatCount(rounds)), testId: 'trial-time' },
  ]);
}
