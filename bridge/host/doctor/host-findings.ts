/** What the host finds out about its own surroundings and may tell the extension: no path of a person's files, no serial number, nothing of a card but its answer to reset. */
import type { Finding } from '#bridge/doctor-findings.ts';
import { FINDING_LIMITS } from '#bridge/native/messages.ts';
import type { ReaderBackend } from '../backend.ts';
import type { Platform } from '../platform.ts';
import { findPcscTroubles } from './pcsc-findings.ts';
import { findUsbTroubles } from './usb-findings.ts';

/** As `engines` of the product says. */
const OLDEST_NODE = [20, 19] as const;

/** Never throws for what it finds; every look has a limit in time. */
export async function findHostTroubles(platform: Platform, backend: ReaderBackend, { askCard }: { readonly askCard: boolean } = { askCard: false }): Promise<Finding[]> {
  const usb = await findUsbTroubles(platform);
  const pcsc = await findPcscTroubles(backend, { usbReaders: usb.readers, askCard });
  return [nodeVersion(platform), ...pcsc, ...usb.findings].slice(0, FINDING_LIMITS.findings).map(clip);
}

function nodeVersion({ nodeVersion: version }: Platform): Finding {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  const isOldEnough = major > OLDEST_NODE[0] || (major === OLDEST_NODE[0] && minor >= OLDEST_NODE[1]);
  return { id: 'node-version', state: isOldEnough ? 'ok' : 'problem', seen: `Node.js ${version}` };
}

/** A reader may call itself anything. */
function clip(finding: Finding): Finding {
  const { about, seen } = finding;
  return { ...finding, ...(about === undefined ? {} : { about: about.slice(0, FINDING_LIMITS.aboutCharacters) }), seen: seen.slice(0, FINDING_LIMITS.seenCharacters) };
}
