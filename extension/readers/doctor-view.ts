/** The reader program and the doctor's findings as elements; what is in order stands behind a disclosure. */
import type { FindingState } from '#bridge/doctor-findings.ts';
import { SMART_CARD_CONNECTOR_ID } from '#bridge/smart-card-connector.ts';
import { failureText, formatCount, t, type MessageKey } from '../language.ts';
import { h } from '../screens/dom.ts';
import { exclamation, question, tick } from '../screens/pictures.ts';
import { fixKey, isProgramDispensable, titleKey, type PageFinding } from './page-doctor.ts';
import type { ReadersPageState } from './page-state.ts';
import { programOnlyTitles } from './reader-rows.ts';
import type { ReadersPage } from './readers-page.ts';
import type { System } from '../ports/system.ts';
import { seenText } from './report.ts';

export const INSTALL_COMMAND = 'npx kessai-host install';
const CONNECTOR_STORE = `https://chromewebstore.google.com/detail/${SMART_CARD_CONNECTOR_ID}`;

export function programPart(page: ReadersPageState, acts: Pick<ReadersPage, 'lookAgain' | 'copyCommand'>): HTMLElement {
  const { program, rows, environment } = page;
  const isWell = program.kind === 'running';
  const state = isWell ? 'done' : program.kind === 'starting' || isProgramDispensable(rows) ? 'open' : 'problem';
  return h(
    'section',
    { class: 'part', 'aria-labelledby': 'program-title' },
    h('h2', { id: 'program-title' }, t('programTitle')),
    h('p', { class: 'part-words' }, t(environment.system === 'chromeos' ? 'connectorText' : 'programText', programOnlyTitles().join(', '))),
    h(
      'div',
      { class: 'setup' },
      h(
        'div',
        { class: 'setup-step', 'data-state': state, 'data-testid': 'program', 'data-program': program.kind },
        h('span', { class: 'setup-mark' }, isWell ? tick() : state === 'open' ? h('span', { class: 'setup-dot' }) : exclamation()),
        h(
          'div',
          { class: 'setup-body' },
          h('p', { class: 'program-words', 'data-testid': 'program-words' }, programWords(page)),
          program.kind === 'failed' ? (environment.system === 'chromeos' ? connectorPart(program.code, acts) : installPart(program.code, page, acts)) : null,
        ),
      ),
    ),
  );
}

function programWords({ program, environment }: ReadersPageState): string {
  if (program.kind === 'starting') return t(environment.system === 'chromeos' ? 'connectorStarting' : 'programStarting');
  if (program.kind === 'failed') return failureText(program.code);
  return program.version === null ? t('seenConnector') : t('seenProgram', program.version);
}

function installPart(code: string, { copied, copyRefused }: ReadersPageState, acts: Pick<ReadersPage, 'lookAgain' | 'copyCommand'>): HTMLElement {
  return h(
    'div',
    { class: 'install' },
    h('p', {}, t('installText')),
    h('p', { class: 'command' }, h('code', { 'data-testid': 'install-command' }, INSTALL_COMMAND)),
    h(
      'div',
      { class: 'field-row row-buttons' },
      lookAgainButton(acts),
      h('button', { type: 'button', class: 'quiet', 'data-testid': 'copy-command', 'data-place': 'copy-command', onclick: () => void acts.copyCommand(INSTALL_COMMAND) }, t(copied === 'command' ? 'copied' : 'copyCommand')),
    ),
    copyRefused?.what === 'command' ? copyRefusedPart() : null,
    codePart(code),
  );
}

/** On ChromeOS nothing is typed: the Connector comes from the store. */
function connectorPart(code: string, acts: Pick<ReadersPage, 'lookAgain'>): HTMLElement {
  const isMissing = code === 'connector/missing';
  return h(
    'div',
    { class: 'install' },
    isMissing ? h('p', {}, t('connectorAsks')) : null,
    isMissing ? h('p', {}, h('a', { class: 'link', href: CONNECTOR_STORE, target: '_blank', rel: 'noreferrer', 'data-testid': 'connector-store', 'data-place': 'connector-store' }, t('connectorStore'))) : null,
    h('div', { class: 'field-row row-buttons' }, lookAgainButton(acts)),
    codePart(code),
  );
}

function lookAgainButton(acts: Pick<ReadersPage, 'lookAgain'>): HTMLElement {
  return h('button', { type: 'button', class: 'secondary', 'data-testid': 'look-again', 'data-place': 'look-again', onclick: () => void acts.lookAgain() }, t('lookAgain'));
}

function codePart(code: string): HTMLElement {
  return h('p', { class: 'code' }, `${t('codeLabel')} `, h('span', { 'data-testid': 'failure-code' }, code));
}

function copyRefusedPart(): HTMLElement {
  return h('p', { class: 'problem', 'data-testid': 'copy-refused' }, t('copyRefused'));
}

export function doctorPart({ findings, environment, copied, copyRefused }: ReadersPageState, acts: Pick<ReadersPage, 'copyReport'>): HTMLElement {
  const wanting = findings.filter(({ state }) => state !== 'ok');
  const inOrder = findings.filter(({ state }) => state === 'ok');
  const list = (chosen: readonly PageFinding[], testId: string): HTMLElement => h('ul', { class: 'findings', 'data-testid': testId }, ...chosen.map((finding) => findingItem(finding, environment.system)));
  return h(
    'section',
    { class: 'part', 'aria-labelledby': 'doctor-title' },
    h('h2', { id: 'doctor-title' }, t('doctorTitle')),
    h('p', { class: 'part-words' }, t('doctorText')),
    h(
      'div',
      { class: 'setup doctor' },
      wanting.length === 0 ? h('p', { class: 'all-well' }, tick(), h('span', {}, t('allWell'))) : list(wanting, 'findings'),
      inOrder.length === 0
        ? null
        : h('details', { class: 'more', 'data-place': 'in-order' }, h('summary', { 'data-place': 'in-order-summary' }, t('inOrder', formatCount(inOrder.length))), list(inOrder, 'findings-in-order')),
      h(
        'div',
        { class: 'field-row row-buttons' },
        h('button', { type: 'button', class: 'secondary', 'data-testid': 'copy-report', 'data-place': 'copy-report', onclick: () => void acts.copyReport() }, t(copied === 'report' ? 'copied' : 'copyReport')),
        h('p', { class: 'toggle-text report-words' }, t('reportText')),
      ),
      ...(copyRefused?.what === 'report' ? [copyRefusedPart(), reportField(copyRefused.text)] : []),
    ),
  );
}

/** To be selected by hand: it has the focus of a field, and takes no input. */
function reportField(text: string): HTMLElement {
  return h('textarea', { class: 'report-field', readonly: true, rows: text.split('\n').length, 'aria-label': t('reportTitle'), 'data-testid': 'report-field', 'data-place': 'report-field' }, text);
}

const STATES: Record<FindingState, readonly [name: MessageKey, picture: () => SVGSVGElement]> = {
  ok: ['markGood', tick],
  problem: ['stateProblem', exclamation],
  unknown: ['markUnknown', question],
};

function findingItem(finding: PageFinding, system: System): HTMLElement {
  const { id, state, about } = finding;
  const [name, picture] = STATES[state];
  return h(
    'li',
    { class: 'finding', 'data-testid': 'finding', 'data-finding': id, 'data-finding-state': state },
    h('span', { class: 'finding-mark' }, picture(), h('span', { class: 'visually-hidden' }, t(name))),
    h(
      'div',
      { class: 'finding-body' },
      h('h3', { class: 'finding-title' }, t(titleKey(id)), about === null ? null : h('span', { class: 'finding-about' }, ` - ${about}`)),
      h('p', { class: 'finding-seen' }, seenText(finding)),
      state === 'ok' ? null : fixOf(fixKey(id, system)),
    ),
  );
}

/** What to do; what stands between backticks is typed as it is. */
export function fixOf(key: MessageKey | undefined): HTMLElement | null {
  if (key === undefined) return null;
  return h('p', { class: 'fix', 'data-testid': 'fix' }, ...t(key).split('`').map((piece, at) => (at % 2 === 0 ? piece : h('code', {}, piece))));
}
