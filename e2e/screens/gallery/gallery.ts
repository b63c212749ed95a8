/** Shows the sample that the address names: `gallery.html#bill`. For looking at and for tests; no product build contains it. */
import type { CardPageState } from '../../../extension/card/card-state.ts';
import { createCardView, type CardView } from '../../../extension/card/card-view.ts';
import { messageLanguage } from '../../../extension/language.ts';
import { createOptionsView } from '../../../extension/options/options-view.ts';
import type { ReadersPageState } from '../../../extension/readers/page-state.ts';
import { createReadersView } from '../../../extension/readers/readers-view.ts';
import { createStage } from '../../../extension/screens/stage.ts';
import { createCardSamples } from './card-samples.ts';
import { createReadersSamples } from './readers-samples.ts';
import { createSamples, DETAILS } from './samples.ts';

document.documentElement.lang = messageLanguage();
const answered: string[] = [];
Object.assign(globalThis, { answered });

window.addEventListener('hashchange', show);
show();

function show(): void {
  const name = location.hash.slice(1);
  answered.length = 0;
  document.body.className = '';
  document.body.dataset.sample = name;
  if (name.startsWith('options')) {
    showOptions(name);
    return;
  }
  const readers = (createReadersSamples() as Partial<Record<string, ReadersPageState>>)[name];
  if (readers !== undefined) {
    showReaders(readers);
    return;
  }
  const card = (createCardSamples() as Partial<Record<string, CardPageState>>)[name];
  if (card !== undefined) {
    showCard(card);
    return;
  }
  const samples = createSamples((answer) => answered.push(answer));
  const screen = samples[name];
  if (screen === undefined) document.body.append(...Object.keys(samples).map((key) => Object.assign(document.createElement('p'), { textContent: key })));
  else createStage(document.body, () => (name === 'bill-first' ? DETAILS : null)).show(screen);
}

function showOptions(name: string): void {
  document.body.className = 'options-body';
  const isDone = name === 'options-done';
  const view = createOptionsView(document.body, {
    settings: { speech: false, readBalance: true },
    version: '0.1.0',
    enrolled: isDone,
    enrol: () => Promise.resolve(),
    saveSettings: () => Promise.resolve(),
    retry: () => answered.push('retry'),
  });
  const reader = { name: 'SONY FeliCa RC-S300/P', state: 'present' } as const;
  view.showReader(isDone ? { readers: [reader], chosen: null, problem: null, starting: false } : { readers: [], chosen: null, problem: 'host/missing', starting: false });
  view.showCard(isDone ? { kind: 'recognized', ending: 'E5F6' } : { kind: 'failed', code: 'card/unsupported' });
}

function showReaders(state: ReadersPageState): void {
  document.body.className = 'options-body';
  const act = (answer: string) => () => {
    answered.push(answer);
    return Promise.resolve();
  };
  createReadersView(document.body, {
    pair: act('pair'),
    forget: act('forget'),
    startTrial: act('test'),
    stopTrial: () => answered.push('stop'),
    lookAgain: act('look-again'),
    copyReport: act('copy-report'),
    copyCommand: act('copy-command'),
  }).show(state);
}

let cardView: CardView | undefined;

/** One page for all samples in a row, as it lives through one state after the other. */
function showCard(state: CardPageState): void {
  document.body.className = 'options-body';
  if (document.querySelector('[data-testid="card-page"]') === null) cardView = undefined;
  cardView ??= openCardView();
  cardView.show(state);
}

function openCardView(): CardView {
  const act = (answer: string) => () => void answered.push(answer);
  return createCardView(document.body, { link: (code) => void answered.push(`link ${code}`), hide: act('hide'), retry: act('retry'), choose: act('choose'), setUpBrowser: act('set-up'), setUpReader: act('set-up-reader') });
}
