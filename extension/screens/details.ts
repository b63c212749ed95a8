/** What was checked and how long it took, for those who ask: closed until opened. */
import { formatCount, formatMilliseconds, t } from '../language.ts';
import { h } from './dom.ts';
import type { Details } from './screen.ts';

export function detailsPart({ steps, verified }: Details, open: boolean): HTMLElement {
  return h(
    'details',
    { class: 'more', open, 'data-testid': 'details' },
    h('summary', {}, t('detailsSummary')),
    h('p', {}, t('detailsVerified', formatCount(verified.length))),
    h('ul', { class: 'verified-types' }, ...[...countByType(verified)].map(([typ, count]) => h('li', {}, h('code', {}, typ), count > 1 ? ` × ${formatCount(count)}` : null))),
    h('p', {}, t('detailsSteps')),
    h(
      'ul',
      { class: 'steps' },
      ...steps.map(({ step, ms, failed }) => h('li', {}, h('span', {}, step), h('span', {}, failed ?? null), h('span', {}, t('milliseconds', formatMilliseconds(ms))))),
    ),
  );
}

function countByType(types: readonly string[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const typ of types) counts.set(typ, (counts.get(typ) ?? 0) + 1);
  return counts;
}
