/** Which operating system this browser runs on: it decides by which program PC/SC readers are reached, and what helps when one is not. */
import type { OperatingSystem } from '#bridge/reader-registry.ts';

export type System = OperatingSystem | 'other';

/** The part of `navigator` that tells; userAgentData exists in Chromium only. */
export interface SystemFacts {
  readonly userAgent: string;
  readonly platform: string;
  readonly userAgentData?: { readonly platform: string } | undefined;
}

/** `userAgentData.platform` ("Windows", "macOS", "Linux", "Chrome OS") or the older `navigator.platform` ("Win32", "MacIntel", "Linux x86_64"). */
export function systemOf({ userAgent, platform, userAgentData }: SystemFacts): System {
  // The older name of ChromeOS's platform is Linux.
  return /\bCrOS\b/.test(userAgent) ? 'chromeos' : parseSystem(userAgentData?.platform ?? platform);
}

function parseSystem(platform: string): System {
  if (/^win/i.test(platform)) return 'windows';
  if (/^mac/i.test(platform)) return 'macos';
  if (/^(chrome|chromium) ?os|^cros/i.test(platform)) return 'chromeos';
  return /^linux/i.test(platform) ? 'linux' : 'other';
}
