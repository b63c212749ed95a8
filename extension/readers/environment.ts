/** Which system and browser this is, as far as it decides what a reader needs here. */
import { systemOf, type SystemFacts } from '../ports/system.ts';
import type { Environment } from './readers-page-ports.ts';

/** The part of `navigator` that tells; userAgentData exists in Chromium only. */
export interface NavigatorFacts extends SystemFacts {
  readonly userAgentData?: { readonly platform: string; readonly brands: readonly { readonly brand: string; readonly version: string }[] } | undefined;
  readonly usb?: unknown;
  readonly hid?: unknown;
}

export function environmentOf(facts: NavigatorFacts, version: string): Environment {
  return {
    system: systemOf(facts),
    browser: browserName(facts),
    roads: { webusb: facts.usb !== undefined, webhid: facts.hid !== undefined },
    version,
  };
}

function browserName({ userAgent, userAgentData }: NavigatorFacts): string {
  // One of the brands is made up, so that nobody relies on the list's order (Client Hints, 6.2); Chromium's own name is told beside the maker's.
  const brands = (userAgentData?.brands ?? []).filter(({ brand }) => !/not.?a.?brand/i.test(brand));
  if (brands.length > 0) return brands.map(({ brand, version }) => `${brand} ${version}`).join(', ');
  const [match] = /(?:Firefox|Version|Chrome)\/[\d.]+/.exec(userAgent) ?? [];
  return match?.replace('/', ' ').replace('Version', 'Safari') ?? 'unknown';
}
