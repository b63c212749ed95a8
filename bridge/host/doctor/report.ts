/** A doctor's report in plain text: one finding a line, and under what is not well the way out for this system. */
import { FINDINGS, fixFor, type Finding } from '#bridge/doctor-findings.ts';
import type { OperatingSystem } from '#bridge/reader-registry.ts';

const WORDS = { ok: 'ok     ', problem: 'PROBLEM', unknown: 'unknown' } as const;

export function reportText(findings: readonly Finding[], system: OperatingSystem): string {
  const lines: string[] = [];
  const advised = new Set<string>();
  for (const { id, state, about, seen } of findings) {
    lines.push(`${WORDS[state]}  ${FINDINGS[id].title}${about === undefined ? '' : ` [${about}]`}: ${seen}`);
    const fix = state === 'ok' ? undefined : fixFor(id, system);
    // Several readers or browsers with one trouble need one piece of advice.
    if (fix !== undefined && !advised.has(fix)) lines.push(`         -> ${fix}`);
    if (fix !== undefined) advised.add(fix);
  }
  const count = (state: Finding['state']) => findings.filter((finding) => finding.state === state).length;
  lines.push('', `problems: ${count('problem')}, unknown: ${count('unknown')}, ok: ${count('ok')}`);
  return `${lines.join('\n')}\n`;
}

/** The findings with their titles and ways out, for programs. */
export function reportObject(findings: readonly Finding[], system: OperatingSystem): object {
  return {
    system,
    problems: findings.filter(({ state }) => state === 'problem').length,
    findings: findings.map((finding) => {
      const fix = finding.state === 'ok' ? undefined : fixFor(finding.id, system);
      return { ...finding, title: FINDINGS[finding.id].title, ...(fix === undefined ? {} : { fix }) };
    }),
  };
}
