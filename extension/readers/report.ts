/** What the page knows, as plain text for support: never a card's number, a serial number or a key. */
import { failureText, formatMilliseconds, t } from '../language.ts';
import { titleKey, type PageFinding, type ProgramState } from './page-doctor.ts';
import type { ReadersPageState, Trial } from './page-state.ts';

/** In the customer's language, with ids and codes that support knows in any. */
export function reportText({ environment, program, rows, findings, trial }: ReadersPageState): string {
  const yes = (has: boolean): string => (has ? 'yes' : 'no');
  return [
    t('reportTitle'),
    `extension: ${environment.version}`,
    `browser: ${environment.browser}`,
    `system: ${environment.system}`,
    `WebUSB: ${yes(environment.roads.webusb)}, WebHID: ${yes(environment.roads.webhid)}`,
    `reader program: ${programText(program)}`,
    '',
    `readers: ${rows.length}`,
    ...rows.map(({ name, kind, road, state, problem }) => `- ${withoutSerial(name)} | ${kind} | ${road} | ${state}${problem === null ? '' : ` | ${problem}`}`),
    '',
    'findings:',
    ...findings.map((finding) => `- [${finding.state}] ${finding.id}: ${t(titleKey(finding.id))}${finding.about === null ? '' : ` (${withoutSerial(finding.about)})`}: ${withoutSerial(seenText(finding))}`),
    ...(trial === null ? [] : ['', `test: ${trialText(trial)}`]),
    '',
  ].join('\n');
}

export function seenText({ seen }: PageFinding): string {
  return typeof seen === 'string' ? seen : t(seen.key, ...seen.values);
}

function programText(program: ProgramState): string {
  if (program.kind === 'starting') return 'starting';
  if (program.kind === 'failed') return `${program.code} (${failureText(program.code)})`;
  return `${program.version ?? 'Smart Card Connector'} (${program.platform})${program.problem === null ? '' : ` ${program.problem}`}`;
}

function trialText(trial: Trial): string {
  const on = withoutSerial(trial.readerName);
  if (trial.step === 'done') {
    const { card, uid, medianMs, rounds } = trial.result;
    return `${on}: card ${card}, UID ${uid}, median ${formatMilliseconds(medianMs)} ms of ${rounds}`;
  }
  return trial.step === 'failed' ? `${on}: ${trial.code}` : `${on}: ${trial.step}`;
}

/** PC/SC names many readers with their serial number in brackets: "... [CCID Interface] (5500120041) 00 00". */
function withoutSerial(text: string): string {
  return text.replaceAll(/\((?=[^)]*\d{4})[0-9A-Za-z._-]+\)/g, '(...)');
}
